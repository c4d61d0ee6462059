//! The files that `package.toml` names, found and checked.
