//! Updates from the question to the end.
