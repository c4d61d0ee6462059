//! What the ELF files of a package are and use.
