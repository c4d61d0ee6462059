//! The engine's errors as callers see them: one match.

use model::bus;
use model::report::Chain;

use crate::engine::Error;
use crate::follow;
use crate::sys;

/// The error for the bus; its text says the reason and the way out.
pub(super) fn told(error: &Error) -> bus::Error {
    let text = Chain(error).to_string();
    match error {
        Error::Invalid(_) | Error::Effect(sys::Error::Envelope(_) | sys::Error::Refused(_)) => {
            bus::Error::Invalid(text)
        }
        Error::Unmet(_) => bus::Error::Unmet(text),
        Error::Busy(_) => bus::Error::Busy(text),
        Error::Effect(
            sys::Error::Os { .. }
            | sys::Error::Database { .. }
            | sys::Error::Migration(_)
            | sys::Error::Damaged(_),
        )
        | Error::Sysmgrd(_)
        | Error::Ending => bus::Error::Failed(text),
    }
}

/// The same for the follower's errors.
pub(super) fn told_of_fleet(error: &follow::Error) -> bus::Error {
    let text = Chain(error).to_string();
    match error {
        follow::Error::Invalid(_) => bus::Error::Invalid(text),
        follow::Error::Engine(error) => told(error),
        follow::Error::Master(_) | follow::Error::Effect(_) | follow::Error::Ending => {
            bus::Error::Failed(text)
        }
    }
}
