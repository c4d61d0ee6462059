//! `package.toml`, read and checked.
