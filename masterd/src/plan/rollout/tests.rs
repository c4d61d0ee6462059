//! Updates from the question to the end.

mod decisions;
mod fleet;
mod flows;
mod random;
mod together;
