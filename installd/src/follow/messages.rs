//! What comes to the follower, and what it leads to.

use model::wire::{FromNode, Hello, Hold, PROTOCOL, ToNode, Verdict};

use super::handle::Command;
use super::{Error, Follower, now};
use crate::sys::clock;
use crate::sys::master::link::Event;

/// The longest reason that is kept.
const LONGEST: usize = 500;

impl Follower {
    /// People's wishes.
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Join(join, reply) => {
                let joined = self.join(*join).await;
                self.refresh();
                let _gone = reply.send(joined);
            }
            Command::Leave(reply) => {
                let left = self.leave().await;
                self.refresh();
                let _gone = reply.send(left);
            }
            Command::Hold(reason, until, reply) => {
                let held = self.hold(&reason, until);
                self.refresh();
                let _gone = reply.send(held);
            }
        }
    }

    fn hold(&mut self, reason: &str, until: u64) -> Result<(), Error> {
        if self.member.is_none() {
            return Err(Error::Invalid(
                "this node is in no fleet: it can be changed here as it is".to_owned(),
            ));
        }
        let refuse = |why: &str| Err(Error::Invalid(why.to_owned()));
        if until != 0 && reason.trim().is_empty() {
            return refuse("a hold needs a reason, which the fleet shows");
        }
        if until != 0 && until <= now() {
            return refuse("a hold ends in the future");
        }
        let reason = reason.chars().take(LONGEST).collect();
        self.state.hold = (until != 0).then_some(Hold { reason, until });
        self.save()?;
        self.tell_installed();
        Ok(())
    }

    /// While somebody holds the node, the fleet changes nothing.
    pub(super) fn refuse_held(&self) -> Result<(), Error> {
        let hold = self.state.hold.as_ref().filter(|hold| hold.until > now());
        hold.map_or(Ok(()), |hold| {
            let until = i64::try_from(hold.until.saturating_mul(1000)).unwrap_or(i64::MAX);
            Err(Error::Invalid(format!(
                "somebody at the node holds it until {}: {}",
                clock::Time(until).rfc3339(),
                hold.reason
            )))
        })
    }

    pub(super) async fn link_event(&mut self, event: Event) {
        match event {
            Event::Opened(master) => {
                self.master = Some(master);
                self.opened = Some(clock::Time::now());
                self.closed = None;
                self.probe().await;
                self.hello().await;
            }
            Event::Message(message) => {
                self.heard();
                self.told_by_master(*message).await;
            }
            Event::Alive => self.heard(),
            Event::Closed(why) => {
                tracing::info!("no link to the master: {why}");
                self.master = None;
                self.closed = Some(why);
                // Nobody is left to hear the answer; whoever asks again asks anew.
                self.withdraw("the link was lost");
            }
        }
    }

    async fn hello(&mut self) {
        self.look().await;
        let installed = self.installed();
        let boot = clock::boot_id(&self.config.boot_id_file);
        let hello = Hello {
            protocol: PROTOCOL,
            facts: self.facts(),
            installed: installed.clone(),
            boot: boot.unwrap_or_default(),
            boot_gate: self.gated,
        };
        self.say(FromNode::Hello(Box::new(hello)));
        self.told = Some(installed);
    }

    async fn told_by_master(&mut self, message: ToNode) {
        match message {
            ToNode::Welcome { verdict, settings } => {
                self.settings.send_replace(settings);
                self.heard_at_gate(verdict).await;
                if verdict == Verdict::Quarantined {
                    self.problems = vec![
                        "another machine has this node's identity: an operator has to decide"
                            .to_owned(),
                    ];
                }
                if self.state.end.is_some() {
                    self.tell_end();
                }
            }
            ToNode::List => {
                let have = self.have().await;
                self.say(FromNode::Have(have));
            }
            ToNode::Ask(ask) => self.ask(*ask).await,
            ToNode::Withdraw { rollout, reason } => {
                if self
                    .asking
                    .as_ref()
                    .is_some_and(|(asked, ..)| *asked == rollout)
                {
                    self.withdraw(&reason);
                }
            }
            ToNode::Wanted(signed) => {
                self.wanted(signed).await;
                if self.carrying.is_none() {
                    self.open_gate("nothing else is begun").await;
                }
            }
            ToNode::Go {
                rollout,
                epoch,
                counter,
            } => self.go(rollout, (epoch, counter)),
            ToNode::Abort { rollout, reason } => self.abort(rollout, &reason),
            ToNode::Commit { rollout } => self.commit(rollout).await,
        }
    }
}
