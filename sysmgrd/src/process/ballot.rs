//! A vote on a change: who was asked and until when, what they have said, and when it is over.
//!
//! A vote is a lease: it carries the change's number and has a deadline. What comes for another
//! change, too late, or a second time is refused, and the refusal says which of these it was. A
//! process may ask for more time once. No clock, no bus.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::change::{Moment, Veto, What};
use model::transition::Votes;
use model::{ChangeId, ProcessName};

/// The longest reason that is kept, in bytes.
const LONGEST_REASON: usize = 1_000;

/// A moment by both clocks: one to count by, one for people.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For deadlines.
    pub at: Instant,
    /// Milliseconds since 1970 in UTC.
    pub wall_ms: i64,
}

/// What a process answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vote {
    /// Why not; absent: it agrees.
    pub veto: Option<String>,
    /// Whether it says that the change reaches it.
    pub reached: bool,
}

/// Why an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody asks about that change.
    #[error("change {0} is not asked about: the vote on it is over, or there was none")]
    NoQuestion(ChangeId),
    /// Another change is asked about.
    #[error("the answer is for change {answered}, and change {asked} is asked about")]
    OtherChange {
        /// What the answer names.
        answered: ChangeId,
        /// What is asked about.
        asked: ChangeId,
    },
    /// It has answered, or its time is over.
    #[error("change {0} waits for no answer of this process: it has answered, or its time is over")]
    NotWaitedFor(ChangeId),
    /// It has had more time.
    #[error("more time is granted once, and this process has had it")]
    MoreTimeTwice,
    /// Its answer would not count.
    #[error("the change does not reach this process by the plan: nothing waits for its answer")]
    NotAsked,
}

/// How long somebody's answer is waited for.
#[derive(Debug)]
struct Lease {
    /// Whether its silence is a veto.
    counts: bool,
    until: Instant,
    within: Duration,
    extended: bool,
    /// What it has asked for, where that is more than it could get.
    wants: Option<Duration>,
}

/// A vote that is being taken.
#[derive(Debug)]
pub struct Ballot {
    change: ChangeId,
    /// What a process gets at most that asks for more time.
    more: Duration,
    /// Those whose answer is waited for.
    open: BTreeMap<ProcessName, Lease>,
    votes: Votes,
}

impl Ballot {
    /// Nobody is asked yet.
    pub fn new(change: ChangeId, more: Duration) -> Self {
        Self {
            change,
            more,
            open: BTreeMap::new(),
            votes: Votes::default(),
        }
    }

    /// The change that it is about.
    pub fn change(&self) -> ChangeId {
        self.change
    }

    /// Somebody was asked, whose silence is a veto.
    pub fn asked(&mut self, name: ProcessName, within: Duration, now: Now) {
        self.moment(&name, What::Asked, now);
        self.wait(name, within, now, true);
    }

    /// Somebody was told who may say that the change reaches it.
    pub fn told(&mut self, name: ProcessName, within: Duration, now: Now) {
        self.wait(name, within, now, false);
    }

    fn wait(&mut self, name: ProcessName, within: Duration, now: Now, counts: bool) {
        let lease = Lease {
            counts,
            until: now.at + within,
            within,
            extended: false,
            wants: None,
        };
        self.open.insert(name, lease);
    }

    /// Somebody who should have a voice cannot be asked.
    pub fn silent(&mut self, name: &ProcessName, why: &str, now: Now) {
        self.moment(name, What::Asked, now);
        self.object(name, no_answer(name, why), now);
    }

    /// The lease of `name` for an answer about `change`.
    fn lease(&mut self, name: &ProcessName, change: ChangeId) -> Result<&mut Lease, Refused> {
        if change != self.change {
            return Err(Refused::OtherChange {
                answered: change,
                asked: self.change,
            });
        }
        let lease = self.open.get_mut(name);
        lease.ok_or(Refused::NotWaitedFor(change))
    }

    /// Counts an answer.
    pub fn vote(
        &mut self,
        name: &ProcessName,
        change: ChangeId,
        vote: Vote,
        now: Now,
    ) -> Result<(), Refused> {
        let counts = self.lease(name, change)?.counts;
        self.open.remove(name);
        if !counts && !vote.reached {
            // One whom the change does not reach, by its own word too, has nothing to object to.
            return Ok(());
        }
        if !counts {
            self.votes.also_reached.push(name.clone());
        }
        if let Some(reason) = vote.veto {
            self.object(name, short(reason), now);
        } else {
            self.votes.accepted.push(name.clone());
            self.moment(name, What::Accepted, now);
        }
        Ok(())
    }

    /// Gives somebody more time, once; answers how much.
    pub fn more_time(
        &mut self,
        name: &ProcessName,
        change: ChangeId,
        wanted: Duration,
    ) -> Result<Duration, Refused> {
        let granted = wanted.min(self.more);
        let lease = self.lease(name, change)?;
        if !lease.counts {
            return Err(Refused::NotAsked);
        }
        if lease.extended {
            return Err(Refused::MoreTimeTwice);
        }
        lease.extended = true;
        lease.wants = (wanted > granted).then_some(wanted);
        lease.until += granted;
        lease.within += granted;
        Ok(granted)
    }

    /// Somebody has gone; whether it was waited for.
    pub fn left(&mut self, name: &ProcessName, why: &str, now: Now) -> bool {
        let lease = self.open.remove(name);
        if lease.as_ref().is_some_and(|lease| lease.counts) {
            self.object(name, no_answer(name, why), now);
        }
        lease.is_some()
    }

    /// Whoever has not answered by now is silent.
    pub fn expire(&mut self, now: Now) {
        let over = |lease: &Lease| lease.until <= now.at;
        let late: Vec<ProcessName> = (self.open.iter())
            .filter(|(_, lease)| over(lease))
            .map(|(name, _)| name.clone())
            .collect();
        for name in late {
            let Some(lease) = self.open.remove(&name).filter(|lease| lease.counts) else {
                continue;
            };
            if let Some(wants) = lease.wants {
                let millis = u64::try_from(wants.as_millis()).unwrap_or(u64::MAX);
                let why = format!(
                    "it asks for {} s, and {} s is what it may have; --force-process {name} goes on \
                     without it",
                    wants.as_secs(),
                    self.more.as_secs()
                );
                self.object(&name, why, now);
                self.votes.later.push((name, millis));
            } else {
                let why = format!("nothing within {} ms", lease.within.as_millis());
                self.object(&name, no_answer(&name, &why), now);
            }
        }
    }

    /// When the next one's time is over; nothing: nobody is waited for, it is over.
    pub fn due(&self) -> Option<Instant> {
        self.open.values().map(|lease| lease.until).min()
    }

    /// What was said.
    pub fn into_votes(self) -> Votes {
        self.votes
    }

    fn object(&mut self, name: &ProcessName, reason: String, now: Now) {
        self.moment(name, What::Objected, now);
        self.votes.vetoes.push(Veto {
            process: name.clone(),
            reason,
        });
    }

    fn moment(&mut self, name: &ProcessName, what: What, now: Now) {
        let moment = Moment {
            what,
            at_ms: now.wall_ms,
        };
        self.votes.moments.push((name.clone(), moment));
    }
}

/// The objection of one who says nothing, with the way round it.
pub fn no_answer(name: &ProcessName, why: &str) -> String {
    format!("no answer: {why}; --force-process {name} goes on without it")
}

/// A reason as it is kept.
pub fn short(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const CHANGE: ChangeId = ChangeId(7);

    fn name(text: &str) -> ProcessName {
        text.parse().unwrap()
    }

    fn now() -> Now {
        Now {
            at: Instant::now(),
            wall_ms: 5,
        }
    }

    fn later(now: Now, by: Duration) -> Now {
        Now {
            at: now.at + by,
            wall_ms: now.wall_ms + i64::try_from(by.as_millis()).unwrap(),
        }
    }

    fn ballot(now: Now) -> Ballot {
        let mut ballot = Ballot::new(CHANGE, 3 * SECOND);
        ballot.asked(name("a"), SECOND, now);
        ballot.told(name("z"), SECOND / 2, now);
        ballot
    }

    fn veto(reason: &str) -> Vote {
        Vote {
            veto: Some(reason.to_owned()),
            reached: false,
        }
    }

    #[test]
    fn an_answer_for_another_change_a_second_one_and_a_late_one_are_refused_and_say_so() {
        let now = now();
        let mut ballot = ballot(now);
        let other = ChangeId(6);
        assert_eq!(
            ballot.vote(&name("a"), other, Vote::default(), now),
            Err(Refused::OtherChange {
                answered: other,
                asked: CHANGE
            })
        );
        ballot.vote(&name("a"), CHANGE, veto("no"), now).unwrap();
        let again = ballot.vote(&name("a"), CHANGE, Vote::default(), now);
        assert_eq!(again, Err(Refused::NotWaitedFor(CHANGE)));
        ballot.asked(name("b"), SECOND, now);
        ballot.expire(later(now, SECOND));
        let late = ballot.vote(&name("b"), CHANGE, Vote::default(), now);
        assert_eq!(late, Err(Refused::NotWaitedFor(CHANGE)));
        assert_eq!(ballot.due(), None);
        let votes = ballot.into_votes();
        let reasons: Vec<&str> = votes.vetoes.iter().map(|one| &one.reason[..]).collect();
        assert_eq!(reasons[0], "no");
        assert!(reasons[1].starts_with("no answer: nothing within 1000 ms"));
        assert_eq!(votes.accepted, []);
    }

    #[test]
    fn more_time_is_given_once_and_up_to_the_limit() {
        let now = now();
        let mut ballot = ballot(now);
        let (a, z) = (name("a"), name("z"));
        assert_eq!(ballot.more_time(&z, CHANGE, SECOND), Err(Refused::NotAsked));
        assert_eq!(ballot.more_time(&a, CHANGE, 60 * SECOND), Ok(3 * SECOND));
        assert_eq!(
            ballot.more_time(&a, CHANGE, SECOND),
            Err(Refused::MoreTimeTwice)
        );
        ballot.expire(later(now, 2 * SECOND));
        assert_eq!(ballot.due(), Some(now.at + 4 * SECOND));
        let end = later(now, 4 * SECOND);
        ballot.expire(end);
        let votes = ballot.into_votes();
        assert!(votes.vetoes[0].reason.contains("asks for 60 s"));
        assert_eq!(votes.later, [(a, 60_000)]);
        assert_eq!(votes.moments.last().unwrap().1.at_ms, end.wall_ms);
    }

    #[test]
    fn one_that_the_plan_does_not_reach_counts_only_by_its_own_word() {
        let now = now();
        let mut ballot = ballot(now);
        ballot.told(name("y"), SECOND, now);
        ballot.told(name("x"), SECOND, now);
        ballot.vote(&name("z"), CHANGE, veto("no"), now).unwrap();
        let reached = Vote {
            reached: true,
            ..veto("in a call")
        };
        ballot.vote(&name("y"), CHANGE, reached, now).unwrap();
        assert!(ballot.left(&name("x"), "gone", now));
        assert!(!ballot.left(&name("x"), "gone", now));
        assert!(ballot.left(&name("a"), "it left while it was asked", now));
        let votes = ballot.into_votes();
        assert_eq!(votes.also_reached, [name("y")]);
        let objectors: Vec<&str> = (votes.vetoes.iter())
            .map(|one| one.process.as_str())
            .collect();
        assert_eq!(objectors, ["y", "a"]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(short("ä".repeat(600)).len(), 1_000);
        assert_eq!(short(format!("x{}", "ä".repeat(600))).len(), 999);
    }
}
