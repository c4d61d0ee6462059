//! The question to processes whether a change may happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::bus::{Error, encode};
use model::change::Verdict;
use model::process::Kind;
use model::transition::{Announcement, Ask, Asked, Votes};
use model::{ChangeId, ProcessName};

use super::beside::Leash;
use super::supervised::Task;
use super::told::SessionSignal;
use super::{Engine, Event, Reply, answer};
use crate::process::ballot::{Ballot, Refused, Vote};
use crate::process::machine::State;
use crate::sys::clock;

/// Those who are told of a change that does not reach them may say that it does; this long.
const OTHERS: Duration = Duration::from_millis(500);
/// This long where they have to come back first to a daemon that was restarted.
const RETURNING: Duration = Duration::from_secs(3);

/// A question that is out.
#[derive(Debug)]
pub(super) struct Question {
    number: u64,
    ballot: Ballot,
    reply: Reply<Votes>,
    /// Evaluate programs that run; they end with the question.
    programs: BTreeMap<ProcessName, Leash>,
    due: Option<Task>,
}

/// An announcement, for programs and for sessions.
#[derive(Debug)]
struct Announced<'a> {
    number: u64,
    document: &'a Announcement,
    text: String,
}

impl Engine {
    /// Whether nothing is asked.
    pub(super) fn is_free(&self) -> Result<(), Error> {
        let asked = self.question.as_ref().map(|one| one.ballot.change());
        let preparing = self
            .readying
            .as_ref()
            .map(super::readying::Readying::change);
        match asked.or(preparing) {
            Some(change) => Err(Error::Busy(format!("change {change} is being asked about"))),
            None => Ok(()),
        }
    }

    pub(super) fn ask(&mut self, ask: &Ask, reply: Reply<Votes>) {
        if let Err(error) = self.is_free() {
            return answer(reply, Err(error));
        }
        let text = match encode(&ask.announcement) {
            Ok(text) => text,
            Err(error) => return answer(reply, Err(error)),
        };
        self.questions += 1;
        let announced = Announced {
            number: self.questions,
            document: &ask.announcement,
            text,
        };
        let more = Duration::from_millis(ask.more_time_ms);
        let mut question = Question {
            number: self.questions,
            ballot: Ballot::new(ask.announcement.change, more),
            reply,
            programs: BTreeMap::new(),
            due: None,
        };
        let timeout = Duration::from_millis(ask.timeout_ms);
        for one in &ask.asked {
            self.put_question(&mut question, one, &announced, timeout);
        }
        let asked: BTreeSet<&ProcessName> = ask.asked.iter().map(|one| &one.process).collect();
        for name in self.registered() {
            if !asked.contains(&name) && self.mention(&name, &announced) {
                let within = timeout.min(self.patience(&name));
                question.ballot.told(name, within, clock::both());
            }
        }
        self.question = Some(question);
        self.go_on_asking();
    }

    /// Puts the question to one of those whose answer counts.
    fn put_question(
        &self,
        question: &mut Question,
        asked: &Asked,
        announced: &Announced<'_>,
        timeout: Duration,
    ) {
        let (name, now) = (&asked.process, clock::both());
        let Some(process) = (self.processes.get(name)).filter(|process| process.main.is_some())
        else {
            return;
        };
        let ballot = &mut question.ballot;
        if process.is_registered() {
            let told = encode(asked).is_ok_and(|part| {
                self.say(name, SessionSignal::Evaluate(announced.text.clone(), part))
            });
            if told {
                ballot.asked(name.clone(), timeout, now);
            } else {
                ballot.silent(name, "it does not take what it is told", now);
            }
        } else if !process.spec.evaluate.is_empty() {
            let leash = self.evaluate(announced.number, process, asked, announced.document);
            question.programs.insert(name.clone(), leash);
            ballot.asked(name.clone(), timeout, now);
        } else if process.spec.kind == Kind::SelfManaging {
            // One that links the library and has not spoken is silent; a Simple one has no voice.
            ballot.silent(name, "it has not registered", now);
        }
    }

    /// Tells one whom the change does not reach of it; whether it could be told.
    fn mention(&self, name: &ProcessName, announced: &Announced<'_>) -> bool {
        let none = Asked {
            process: name.clone(),
            verdict: Verdict::None,
            because: Vec::new(),
        };
        encode(&none)
            .is_ok_and(|part| self.say(name, SessionSignal::Evaluate(announced.text.clone(), part)))
    }

    /// How long one is waited for whom the change does not reach.
    fn patience(&self, name: &ProcessName) -> Duration {
        let process = self.processes.get(name);
        let session = process.and_then(|process| process.session.as_ref());
        let away = session.is_some_and(|session| session.away);
        if away { RETURNING } else { OTHERS }
    }

    /// A process votes over its session.
    pub(super) fn voted(
        &mut self,
        name: &ProcessName,
        change: ChangeId,
        vote: Vote,
    ) -> Result<(), Refused> {
        let question = self.question.as_mut().ok_or(Refused::NoQuestion(change))?;
        question.ballot.vote(name, change, vote, clock::both())?;
        self.go_on_asking();
        Ok(())
    }

    /// A process asks for more time; answers how much it gets.
    pub(super) fn more_time(
        &mut self,
        name: &ProcessName,
        change: ChangeId,
        wanted: Duration,
    ) -> Result<Duration, Refused> {
        let question = self.question.as_mut().ok_or(Refused::NoQuestion(change))?;
        let granted = question.ballot.more_time(name, change, wanted)?;
        tracing::info!(process = %name, change = change.0, ms = granted.as_millis(), "more time to answer");
        self.go_on_asking();
        Ok(granted)
    }

    /// The evaluate program of a process votes.
    pub(super) fn evaluated(&mut self, number: u64, name: &ProcessName, vote: Result<(), String>) {
        let Some(question) = (self.question.as_mut()).filter(|one| one.number == number) else {
            return;
        };
        question.programs.remove(name);
        let (change, veto) = (question.ballot.change(), vote.err());
        let vote = Vote {
            veto,
            reached: false,
        };
        // It may have been too slow: then its silence has been counted.
        drop(question.ballot.vote(name, change, vote, clock::both()));
        self.go_on_asking();
    }

    /// An evaluate program asks for more time.
    pub(super) fn program_wants_time(&mut self, number: u64, name: &ProcessName, wanted: Duration) {
        let change = (self.question.as_ref())
            .filter(|one| one.number == number)
            .map(|one| one.ballot.change());
        let Some(change) = change else { return };
        if let Err(refused) = self.more_time(name, change, wanted) {
            tracing::info!(process = %name, "no more time for its evaluate program: {refused}");
        }
    }

    /// Somebody's time is over.
    pub(super) fn question_due(&mut self, number: u64) {
        if let Some(question) = (self.question.as_mut()).filter(|one| one.number == number) {
            question.ballot.expire(clock::both());
            self.go_on_asking();
        }
    }

    /// Ends the question where nobody is waited for any more, else waits for whose time is over
    /// first.
    fn go_on_asking(&mut self) {
        let Some(question) = &self.question else {
            return;
        };
        let Some(due) = question.ballot.due() else {
            if let Some(question) = self.question.take() {
                answer(question.reply, Ok(question.ballot.into_votes()));
            }
            return;
        };
        let delay = due.saturating_duration_since(clock::now());
        let due = self.after(delay, Event::QuestionDue(question.number));
        if let Some(question) = &mut self.question {
            question.due = Some(due);
        }
    }

    /// A process that a question may wait for has ended, closed its session, or does not want to
    /// be told any more.
    pub(super) fn note_end_for_question(&mut self, name: &ProcessName) {
        let by_program = |question: &Question| question.programs.contains_key(name);
        let by_program = self.question.as_ref().is_some_and(by_program);
        let gone = self.processes.get(name).is_none_or(|process| {
            !process.is_registered() && !by_program
                || matches!(
                    process.state,
                    State::StopCommand(..)
                        | State::Stopping(_)
                        | State::Killing(_)
                        | State::Failed(_)
                        | State::Stopped
                )
        });
        if !gone {
            return;
        }
        self.left_while_readying(name);
        if let Some(question) = &mut self.question {
            let why = "it left while it was asked";
            if question.ballot.left(name, why, clock::both()) {
                question.programs.remove(name);
                self.go_on_asking();
            }
        }
    }

    /// The change has ended: nobody waits for answers about it any more, as when whoever asked was
    /// killed.
    pub(super) fn call_off(&mut self, change: ChangeId) {
        let over = || Error::Failed(format!("change {change} was called off"));
        if let Some(question) = self.question.take_if(|one| one.ballot.change() == change) {
            answer(question.reply, Err(over()));
        }
        if let Some(readying) = self.readying.take_if(|one| one.change() == change) {
            readying.give_up(over());
        }
    }
}
