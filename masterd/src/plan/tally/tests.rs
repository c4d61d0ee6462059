//! Sums of votes.
