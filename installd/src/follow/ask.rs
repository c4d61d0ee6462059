//! A question of the master's: planned from manifests alone, put to the processes, withdrawn there.

use model::Digest;
use model::change::{ProcessImpact, Verdict};
use model::envelope::ReadPackage;
use model::wire::{Ask, Ballot, Facts, FromNode, RolloutId, StorePolicy, Vote};
use resolve::Characteristics;
use resolve::fleet::{characteristics, merged, software_hash};

use super::allowed::{Asked, Rules};
use super::fetch::Fetch;
use super::judge;
use super::{Error, Follower, Message, now};
use crate::engine::{self, Question};

/// Seconds for which a ballot is good.
const GOOD_FOR: u64 = 600;

/// The answer to a question.
pub(super) struct Answered {
    rollout: RolloutId,
    round: u32,
    ballot: Ballot,
}

/// A question on its way to an answer.
struct Asking {
    ask: Ask,
    engine: engine::Handle,
    fetch: Fetch,
    node: Characteristics,
    rules: Rules,
    current: Vec<resolve::Package>,
    /// What runs, with the node's present characteristics.
    base: Digest,
}

impl Follower {
    pub(super) async fn ask(&mut self, ask: Ask) {
        self.withdraw("another question came");
        let (rollout, round) = (ask.rollout, ask.round);
        match self.asking(ask.clone()).await {
            Err(error) => {
                let reason = model::report::Chain(&error).to_string();
                let ballot = ballot(&ask, Digest::of(b""), Vote::Failed { reason });
                self.say(FromNode::Ballot(Box::new(ballot)));
            }
            Ok(asking) => {
                let mailbox = self.mailbox.clone();
                let within = std::time::Duration::from_millis(ask.within_ms.max(1));
                let task = tokio::spawn(async move {
                    let (ask, base) = (asking.ask.clone(), asking.base);
                    let answered = tokio::time::timeout(within, asking.answer()).await;
                    let said = match answered {
                        Ok(Ok(ballot)) => ballot,
                        Ok(Err(error)) => {
                            let reason = model::report::Chain(&error).to_string();
                            ballot(&ask, base, Vote::Failed { reason })
                        }
                        Err(_) => {
                            let reason = "no answer was ready in time".to_owned();
                            ballot(&ask, base, Vote::Failed { reason })
                        }
                    };
                    let answered = Answered {
                        rollout: ask.rollout,
                        round: ask.round,
                        ballot: said,
                    };
                    drop(mailbox.send(Message::Answered(answered)).await);
                });
                self.asking = Some((rollout, round, task.abort_handle()));
            }
        }
    }

    async fn asking(&mut self, ask: Ask) -> Result<Asking, Error> {
        self.refuse_held()?;
        let node = self.become_for(&ask.selected_for).await?;
        self.make_room(ask.store).await?;
        let software = self.engine.software().await?;
        Ok(Asking {
            fetch: self.fetch(ask.list, Some(ask.rollout), ask.store)?,
            engine: self.engine.clone(),
            rules: self.rules(),
            base: software_hash(&software.active, &node),
            current: software.active,
            node,
            ask,
        })
    }

    /// The engine chooses for a node with what the master adds.
    pub(super) async fn become_for(&mut self, added: &Facts) -> Result<Characteristics, Error> {
        let node = characteristics(&merged(&self.facts(), added));
        self.engine.become_another(node.clone()).await?;
        Ok(node)
    }

    /// A question that is void is not answered. Processes that were asked hear at the end of their
    /// own question that nothing came of it.
    pub(super) fn withdraw(&mut self, reason: &str) {
        if let Some((rollout, ..)) = self.asking.take() {
            tracing::info!(rollout = rollout.0, "the question is withdrawn: {reason}");
        }
    }

    pub(super) fn answered(&mut self, answered: Answered) {
        let open = self
            .asking
            .as_ref()
            .map(|(rollout, round, _)| (*rollout, *round));
        if open != Some((answered.rollout, answered.round)) {
            return;
        }
        self.asking = None;
        self.say(FromNode::Ballot(Box::new(answered.ballot)));
    }
}

impl Asking {
    async fn answer(self) -> Result<Ballot, Error> {
        let packages = self.fetch.packages().await?;
        let loaded = self.ask.store == StorePolicy::Memory;
        let lacking = self.engine.lacking(packages.clone(), loaded).await?;
        let bytes = lacking.iter().map(|(_, size)| size).sum();
        if self.ask.prefetch {
            self.fetch.objects(&lacking, &|_| None).await?;
        }
        let mut ballot = self.evaluated(packages).await?;
        ballot.bytes = bytes;
        Ok(ballot)
    }

    async fn evaluated(&self, packages: Vec<ReadPackage>) -> Result<Ballot, Error> {
        // A question before this one, which is void, may still be among the processes.
        engine::free(&self.engine).await;
        let evaluation = self.engine.evaluate(Question { packages }).await?;
        let own = software_hash(&evaluation.order, &self.node);
        let mut vote = judge::vote(&evaluation, own, self.ask.target, now());
        let asked = Asked {
            node: &self.node,
            current: &self.current,
            target: &evaluation.order,
            software: own,
        };
        if let Err(reason) = self.rules.released(asked) {
            vote = Vote::Failed { reason };
        }
        let count = |counts: &dyn Fn(&ProcessImpact) -> bool| {
            let all = evaluation.report.processes.iter();
            u32::try_from(all.filter(|one| counts(one)).count()).unwrap_or(u32::MAX)
        };
        let mut ballot = ballot(&self.ask, self.base, vote);
        ballot.target = own;
        ballot.reached = count(&|one| !matches!(one.verdict, Verdict::None | Verdict::Ask));
        ballot.reboot = judge::reboot(&self.current, &evaluation.order);
        ballot.restarts = count(&|one| matches!(one.verdict, Verdict::Restart | Verdict::Stop));
        Ok(ballot)
    }
}

fn ballot(ask: &Ask, base: Digest, vote: Vote) -> Ballot {
    Ballot {
        rollout: ask.rollout,
        round: ask.round,
        base,
        target: ask.target,
        expires: now() + GOOD_FOR,
        vote,
        reached: 0,
        restarts: 0,
        bytes: 0,
        reboot: None,
    }
}
