//! Questions to processes: *may this change happen*, and *get ready and wait*.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::bus::{Error, encode};
use model::change::{Verdict, Veto};
use model::process::Kind;
use model::transition::{Announcement, Ask, Asked, Prepare, Prepared, Votes};
use model::{ChangeId, ProcessName};

use super::supervised::{Supervised, Task};
use super::told::SessionSignal;
use super::{Engine, Event, Reply, answer};
use crate::process::machine::State;

/// Those who are told of a change that does not reach them may say that it does; this long.
const OTHERS: Duration = Duration::from_millis(500);
/// The longest reason that is kept.
const LONGEST_REASON: usize = 1_000;

/// A question that is out.
#[derive(Debug)]
pub(super) struct Question {
    number: u64,
    change: ChangeId,
    timeout_ms: u64,
    /// Whose answer is waited for.
    waiting: BTreeSet<ProcessName>,
    kind: Kinds,
    /// Ends with the question.
    due: Task,
}

#[derive(Debug)]
enum Kinds {
    Ask {
        asked: BTreeSet<ProcessName>,
        votes: Votes,
        /// Whether those who are not reached have had their time.
        others_over: bool,
        reply: Reply<Votes>,
    },
    Prepare {
        announcement: String,
        levels: Vec<Vec<ProcessName>>,
        prepared: Prepared,
        reply: Reply<Prepared>,
    },
}

impl Engine {
    fn is_free(&self) -> Result<(), Error> {
        let busy = |change: ChangeId| Error::Busy(format!("change {change} is being asked about"));
        self.question
            .as_ref()
            .map_or(Ok(()), |question| Err(busy(question.change)))
    }

    pub(super) fn ask(&mut self, ask: Ask, reply: Reply<Votes>) {
        if let Err(error) = self.is_free() {
            return answer(reply, Err(error));
        }
        let Ok(announcement) = encode(&ask.announcement) else {
            return;
        };
        self.questions += 1;
        let number = self.questions;
        let asked: BTreeMap<ProcessName, Asked> = ask
            .asked
            .into_iter()
            .map(|one| (one.process.clone(), one))
            .collect();
        let mut votes = Votes::default();
        let mut waiting = BTreeSet::new();
        for (name, one) in &asked {
            match self.put_question(number, one, &announcement, &ask.announcement) {
                Put::Out => drop(waiting.insert(name.clone())),
                Put::Nobody => {}
                Put::Silent => votes.vetoes.push(no_answer(name, "it has not registered")),
            }
        }
        let others = self
            .registered()
            .into_iter()
            .filter(|name| !asked.contains_key(name));
        for name in others.collect::<Vec<_>>() {
            let none = Asked {
                process: name.clone(),
                verdict: Verdict::None,
                because: Vec::new(),
            };
            let Ok(part) = encode(&none) else { continue };
            if self.say(&name, SessionSignal::Evaluate(announcement.clone(), part)) {
                waiting.insert(name);
            }
        }
        let timeout = Duration::from_millis(ask.timeout_ms);
        let first = timeout.min(OTHERS);
        self.question = Some(Question {
            number,
            change: ask.announcement.change,
            timeout_ms: ask.timeout_ms,
            waiting,
            kind: Kinds::Ask {
                asked: asked.into_keys().collect(),
                votes,
                others_over: false,
                reply,
            },
            due: self.after(first, Event::QuestionDue(number)),
        });
        self.question_answered();
    }

    fn put_question(
        &self,
        number: u64,
        asked: &Asked,
        announcement: &str,
        document: &Announcement,
    ) -> Put {
        let name = &asked.process;
        let Some(process) = self.processes.get(name) else {
            return Put::Nobody;
        };
        if process.main.is_none() {
            return Put::Nobody;
        }
        if process.is_registered() {
            let Ok(part) = encode(asked) else {
                return Put::Silent;
            };
            let told = self.say(name, SessionSignal::Evaluate(announcement.to_owned(), part));
            return if told { Put::Out } else { Put::Silent };
        }
        if !process.spec.evaluate.is_empty() {
            self.evaluate(number, process, asked, document);
            return Put::Out;
        }
        // One that links the library and has not spoken is silent; a Simple one has no voice.
        if process.spec.kind == Kind::SelfManaging {
            Put::Silent
        } else {
            Put::Nobody
        }
    }

    pub(super) fn evaluated(&mut self, number: u64, name: &ProcessName, vote: Result<(), String>) {
        if self
            .question
            .as_ref()
            .is_some_and(|question| question.number == number)
        {
            self.take_vote(name, vote.err(), false);
        }
    }

    pub(super) fn voted(
        &mut self,
        name: &ProcessName,
        change: ChangeId,
        veto: String,
        reached: bool,
    ) {
        if self
            .question
            .as_ref()
            .is_some_and(|question| question.change == change)
        {
            self.take_vote(name, Some(veto).filter(|veto| !veto.is_empty()), reached);
        }
    }

    fn take_vote(&mut self, name: &ProcessName, veto: Option<String>, reached: bool) {
        let Some(question) = &mut self.question else {
            return;
        };
        let Kinds::Ask { asked, votes, .. } = &mut question.kind else {
            return;
        };
        if !question.waiting.remove(name) {
            return;
        }
        let was_asked = asked.contains(name);
        if reached && !was_asked {
            votes.also_reached.push(name.clone());
        }
        // One whom the change does not reach, by its own word too, has nothing to object to.
        if was_asked || reached {
            match veto {
                Some(reason) => votes.vetoes.push(Veto {
                    process: name.clone(),
                    reason: short(reason),
                }),
                None => votes.accepted.push(name.clone()),
            }
        }
        self.question_answered();
    }

    pub(super) fn prepare(&mut self, prepare: Prepare, reply: Reply<Prepared>) {
        if let Err(error) = self.is_free() {
            return answer(reply, Err(error));
        }
        let Ok(announcement) = encode(&prepare.announcement) else {
            return;
        };
        let in_levels: BTreeSet<ProcessName> = prepare.levels.iter().flatten().cloned().collect();
        self.held.extend(in_levels.iter().cloned());
        for name in self
            .registered()
            .into_iter()
            .filter(|name| !in_levels.contains(name))
        {
            self.say(&name, SessionSignal::Prepare(announcement.clone()));
        }
        self.announcement = Some(prepare.announcement.clone());
        self.questions += 1;
        let number = self.questions;
        let mut levels = prepare.levels;
        levels.reverse();
        self.question = Some(Question {
            number,
            change: prepare.announcement.change,
            timeout_ms: prepare.timeout_ms,
            waiting: BTreeSet::new(),
            kind: Kinds::Prepare {
                announcement,
                levels,
                prepared: Prepared::default(),
                reply,
            },
            due: self.after(
                Duration::from_millis(prepare.timeout_ms),
                Event::QuestionDue(number),
            ),
        });
        self.question_answered();
    }

    pub(super) fn prepared(&mut self, name: &ProcessName, change: ChangeId, reason: String) {
        let Some(question) = self
            .question
            .as_mut()
            .filter(|question| question.change == change)
        else {
            return;
        };
        let Kinds::Prepare { prepared, .. } = &mut question.kind else {
            return;
        };
        if !question.waiting.remove(name) {
            return;
        }
        if !reason.is_empty() {
            prepared.not_ready.push(Veto {
                process: name.clone(),
                reason: short(reason),
            });
        }
        self.question_answered();
    }

    /// Goes on with the question where nobody is waited for any more.
    fn question_answered(&mut self) {
        let Some(question) = &mut self.question else {
            return;
        };
        match &mut question.kind {
            Kinds::Ask {
                asked, others_over, ..
            } => {
                let open = question
                    .waiting
                    .iter()
                    .any(|name| !*others_over || asked.contains(name));
                if !open {
                    self.close_question();
                }
            }
            Kinds::Prepare { levels, .. } if question.waiting.is_empty() => match levels.pop() {
                Some(level) => self.next_level(level),
                None => self.close_question(),
            },
            Kinds::Prepare { .. } => {}
        }
    }

    fn next_level(&mut self, level: Vec<ProcessName>) {
        self.questions += 1;
        let number = self.questions;
        let Some(question) = &self.question else {
            return;
        };
        let Kinds::Prepare { announcement, .. } = &question.kind else {
            return;
        };
        let (announcement, timeout_ms) = (announcement.clone(), question.timeout_ms);
        let mut waiting = BTreeSet::new();
        let mut silent = Vec::new();
        for name in level {
            let managing = |process: &Supervised| {
                process.spec.kind == Kind::SelfManaging && process.main.is_some()
            };
            if self.say(&name, SessionSignal::Prepare(announcement.clone())) {
                waiting.insert(name);
            } else if self.processes.get(&name).is_some_and(managing) {
                silent.push(no_answer(&name, "it has not registered"));
            }
        }
        let due = self.after(
            Duration::from_millis(timeout_ms),
            Event::QuestionDue(number),
        );
        if let Some(question) = &mut self.question {
            question.number = number;
            question.waiting = waiting;
            question.due = due;
            if let Kinds::Prepare { prepared, .. } = &mut question.kind {
                prepared.not_ready.extend(silent);
            }
        }
        self.question_answered();
    }

    /// The time is over: whoever has not answered is silent.
    pub(super) fn question_due(&mut self, number: u64) {
        let Some(question) = self
            .question
            .as_mut()
            .filter(|question| question.number == number)
        else {
            return;
        };
        let limit = format!("nothing within {} ms", question.timeout_ms);
        match &mut question.kind {
            Kinds::Ask {
                others_over: others_over @ false,
                ..
            } => {
                *others_over = true;
                let rest = Duration::from_millis(question.timeout_ms).saturating_sub(OTHERS);
                let due = self.after(rest, Event::QuestionDue(number));
                if let Some(question) = &mut self.question {
                    question.due = due;
                }
            }
            Kinds::Ask { asked, votes, .. } => {
                let silent = question.waiting.iter().filter(|name| asked.contains(*name));
                votes
                    .vetoes
                    .extend(silent.map(|name| no_answer(name, &limit)));
                question.waiting.clear();
            }
            Kinds::Prepare { prepared, .. } => {
                prepared
                    .not_ready
                    .extend(question.waiting.iter().map(|name| no_answer(name, &limit)));
                question.waiting.clear();
            }
        }
        self.question_answered();
    }

    /// A process that a question waits for has ended or closed its session.
    pub(super) fn note_end_for_question(&mut self, name: &ProcessName) {
        let gone = self.processes.get(name).is_none_or(|process| {
            process.session.is_none() && process.spec.evaluate.is_empty()
                || matches!(
                    process.state,
                    State::Stopping(_) | State::Killing(_) | State::Failed(_) | State::Stopped
                )
        });
        let Some(question) = self
            .question
            .as_mut()
            .filter(|question| gone && question.waiting.contains(name))
        else {
            return;
        };
        question.waiting.remove(name);
        match &mut question.kind {
            Kinds::Ask { asked, votes, .. } if asked.contains(name) => {
                votes
                    .vetoes
                    .push(no_answer(name, "it ended while it was asked"));
            }
            Kinds::Ask { .. } => {}
            Kinds::Prepare { prepared, .. } => {
                let reason = "it ended while it was getting ready".to_owned();
                prepared.not_ready.push(Veto {
                    process: name.clone(),
                    reason,
                });
            }
        }
        self.question_answered();
    }

    /// The change has ended: nobody waits for answers about it any more, as when whoever asked was
    /// killed.
    pub(super) fn call_off(&mut self, change: ChangeId) {
        drop(self.question.take_if(|question| question.change == change));
    }

    fn close_question(&mut self) {
        match self.question.take().map(|question| question.kind) {
            Some(Kinds::Ask { votes, reply, .. }) => answer(reply, Ok(votes)),
            Some(Kinds::Prepare {
                prepared, reply, ..
            }) => answer(reply, Ok(prepared)),
            None => {}
        }
    }
}

/// Whether a question could be put.
enum Put {
    /// Its answer is waited for.
    Out,
    /// There is nobody to ask: it agrees by having no voice.
    Nobody,
    /// It should have a voice and does not raise it.
    Silent,
}

fn no_answer(name: &ProcessName, why: &str) -> Veto {
    let reason = format!("no answer: {why}; --force overrides");
    Veto {
        process: name.clone(),
        reason,
    }
}

fn short(mut reason: String) -> String {
    let mut end = reason.len().min(LONGEST_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
