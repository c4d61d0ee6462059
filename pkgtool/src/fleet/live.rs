//! An update as it goes on.

use std::time::{Duration, Instant};

use model::wire::{Phase, RolloutId, RolloutView};

use super::Master;
use crate::outcome::{CommandError, Kind, Outcome};

/// Between two looks: what people take for at once.
const LOOK: Duration = Duration::from_millis(250);

/// How long a master may be away while somebody watches: it is being restarted.
const AWAY: Duration = Duration::from_mins(2);

/// What was seen of an update.
#[derive(Debug)]
pub enum Watched {
    /// It stands otherwise than at the look before.
    Changed(Box<RolloutView>),
    /// The master does not answer; it is asked on.
    Away(String),
}

/// Looks at an update again and again.
#[derive(Debug)]
pub struct Live<'a> {
    master: &'a Master,
    path: String,
    last: Option<RolloutView>,
    away: Option<Instant>,
}

impl<'a> Live<'a> {
    /// Of this update.
    pub fn new(master: &'a Master, id: RolloutId) -> Self {
        Self {
            master,
            path: format!("/v1/rollouts/{id}"),
            last: None,
            away: None,
        }
    }

    /// Waits until it stands otherwise than when this was called last.
    pub fn change(&mut self) -> Result<Watched, CommandError> {
        loop {
            match self.master.get::<RolloutView>(&self.path) {
                Ok(now) => {
                    self.away = None;
                    if self.last.as_ref() != Some(&now) {
                        self.last = Some(now.clone());
                        return Ok(Watched::Changed(Box::new(now)));
                    }
                }
                Err(error) => {
                    if let Some(told) = self.bear(error)? {
                        return Ok(told);
                    }
                }
            }
            self.master.pause(LOOK);
        }
    }

    /// Only a master that cannot be reached is waited for; what it refuses is refused.
    fn bear(&mut self, error: CommandError) -> Result<Option<Watched>, CommandError> {
        let down = error
            .error
            .chain()
            .any(|cause| cause.downcast_ref::<reqwest::Error>().is_some());
        // Told once for each time that it goes.
        let first = self.away.is_none();
        let since = *self.away.get_or_insert_with(Instant::now);
        if !down || since.elapsed() > AWAY {
            return Err(error.hint(format!("pkgtool fleet watch {}", self.number())));
        }
        Ok(first.then(|| Watched::Away(format!("{:#}", error.error))))
    }

    fn number(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// The exit code for where an update is, or none while more comes by itself.
pub fn end_of(view: &RolloutView) -> Option<Outcome> {
    let ended = |kind| Some(Outcome::Ended(kind));
    match view.phase {
        Phase::Done | Phase::Trial => Some(Outcome::Done),
        Phase::Held | Phase::Aborted => ended(Kind::Vetoed),
        Phase::Stopped | Phase::Partial => ended(Kind::Kept),
        Phase::TakenBack => ended(Kind::RolledBack),
        Phase::Superseded => ended(Kind::Busy),
        Phase::Approval | Phase::Asking | Phase::Rolling | Phase::Soaking | Phase::TakingBack => {
            None
        }
    }
}
