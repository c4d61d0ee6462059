//! Updates from the question to the end.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::struct_excessive_bools,
    reason = "a test looks at what it is about"
)]

mod decisions;
mod fleet;
mod flows;
mod random;
mod together;
