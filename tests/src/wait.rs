//! Waiting for something to be true.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::poll::{PollTimeout, poll};

/// Longer than anything takes on a loaded machine, and short enough to end a test run.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Looks again and again until `look` finds something; an error that names `what` when it has
/// not by [`LIMIT`].
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(LIMIT, what, look)
}

/// The same for what takes longer by its nature.
pub fn within<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {} s in vain until {what}", limit.as_secs());
        }
        poll(&mut [], PollTimeout::from(20_u8))?;
    }
}
