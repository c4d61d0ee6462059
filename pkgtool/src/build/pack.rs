//! The envelope, written.
