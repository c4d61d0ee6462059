//! The one container format: holds one component, one package, or a set of packages.
