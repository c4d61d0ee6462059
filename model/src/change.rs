//! A change as it is told to people and programs: the plan, its verdicts, the outcome.
//!
//! These are the documents behind `--json` and on the bus; programs rely on their fields.

mod history;
mod plan;
mod report;
mod request;
mod status;
mod verify;
mod why;

pub use history::*;
pub use plan::*;
pub use report::*;
pub use request::*;
pub use status::*;
pub use verify::*;
pub use why::*;
