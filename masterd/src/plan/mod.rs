//! Everything that the master decides, as functions of their arguments.
//!
//! **Architecture invariant:** no async, no clock, no file, no log: time comes in as a number, and
//! what is to be done goes out as a list.

pub mod assigned;
pub mod goback;
pub mod image;
pub mod negotiate;
pub mod overlap;
pub mod release;
pub mod rollout;
pub mod select;
pub mod tally;
pub mod waves;
