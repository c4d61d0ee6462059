//! Debian packages, read and turned into ours.
