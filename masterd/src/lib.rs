//! The master of a fleet.
