//! A node that says of itself what is not so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use installd::follow::kept::Kept;
use installd::sys::master::{link, tls};
use model::Digest;
use model::wire::{Ask, Ballot, Facts, FromNode, Hello, Installed, PROTOCOL, ToNode, Vote};
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, phase, runs};
use tests::wait;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// Somebody who has a node's key, and says what it likes; gone with the value.
struct Liar {
    runtime: Option<Runtime>,
    /// It was offered something to run.
    wanted: Arc<AtomicBool>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What it says at first, and to each question.
#[derive(Clone)]
struct Lie {
    hello: Hello,
    target: Option<Digest>,
}

impl Lie {
    /// `software` runs; to questions it accepts, and computes `target`.
    fn new(fleet: &Fleet, node: &str, software: Digest, target: Option<Digest>) -> Result<Self> {
        let view = fleet.view(node)?;
        let facts: Facts = serde_json::from_value(view["facts"].clone())?;
        let installed: Installed = serde_json::from_value(view["installed"].clone())?;
        let hello = Hello {
            protocol: PROTOCOL,
            facts,
            installed: Installed {
                software: Some(software),
                committed: Some(software),
                ..installed
            },
            boot: "a liar's".to_owned(),
            boot_gate: false,
        };
        Ok(Self { hello, target })
    }

    fn ballot(&self, ask: &Ask) -> Option<Ballot> {
        Some(Ballot {
            rollout: ask.rollout,
            round: ask.round,
            base: self.hello.installed.software?,
            target: self.target.unwrap_or(ask.target),
            expires: std::time::UNIX_EPOCH.elapsed().ok()?.as_secs() + 600,
            vote: Vote::Accept,
            reached: 0,
            restarts: 0,
            bytes: 0,
            reboot: None,
        })
    }

    /// Opens the node's link in its place.
    fn tell(self, fleet: &Fleet, node: &str) -> Result<Liar> {
        let state = fleet.node(node)?.root().join("var/lib/changeover/fleet");
        let (member, identity) = Kept::open(&state)?.member()?.context("no member")?;
        let anchor = tls::Anchor::Certificate(member.ca.clone());
        let tls = Arc::new(tls::client(&anchor, Some(&identity))?);
        let address = member.url.parse()?;
        let runtime = Runtime::new()?;
        let wanted = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&wanted);
        let (events, mut heard) = mpsc::channel(16);
        let settings = watch::channel(link::AT_FIRST).1;
        runtime.spawn(link::hold(address, tls, settings, events));
        runtime.spawn(async move {
            let mut master: Option<mpsc::Sender<FromNode>> = None;
            while let Some(event) = heard.recv().await {
                let say = match event {
                    link::Event::Opened(opened) => {
                        master = Some(opened);
                        Some(FromNode::Hello(Box::new(self.hello.clone())))
                    }
                    link::Event::Message(message) => match *message {
                        ToNode::Ask(ask) => self.ballot(&ask).map(Box::new).map(FromNode::Ballot),
                        ToNode::Wanted(_) => {
                            seen.store(true, Ordering::Relaxed);
                            None
                        }
                        ToNode::Welcome { .. }
                        | ToNode::List
                        | ToNode::Withdraw { .. }
                        | ToNode::Go { .. }
                        | ToNode::Abort { .. }
                        | ToNode::Commit { .. } => None,
                    },
                    link::Event::Alive | link::Event::Closed(_) => None,
                };
                if let (Some(master), Some(say)) = (&master, say) {
                    drop(master.send(say).await);
                }
            }
        });
        Ok(Liar {
            runtime: Some(runtime),
            wanted,
        })
    }
}

/// The master knows that the node claims this.
fn claims(fleet: &Fleet, node: &str, software: Digest) -> Result<()> {
    wait::until(&format!("{node} claims {software}"), || {
        let view = fleet.view(node)?;
        let claimed = view["installed"]["software"] == software.to_string();
        Ok((claimed && view["presence"]["state"] == "connected").then_some(()))
    })
}

#[test]
fn a_node_that_claims_what_it_does_not_run_is_shown_as_claiming_and_gains_nothing() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.ok(&["update", "--node", "one", "--yes", "--wait"])?;
    let target = fleet.view("one")?["wanted"].clone();
    let target: Digest = target.as_str().context("no hash")?.parse()?;
    fleet.stop_node("two")?;
    let liar = Lie::new(&fleet, "two", target, None)?.tell(&fleet, "two")?;
    claims(&fleet, "two", target)?;
    // Nothing was decided for it: what it says differs from that, and it is told what was.
    wait::until("it is told what was decided", || {
        Ok(liar.wanted.load(Ordering::Relaxed).then_some(()))
    })?;
    let status = fleet.json(&["status"])?;
    ensure!(status["as-wanted"] == 1, "{status}");
    let shown = fleet.ok(&["nodes", "show", "two"])?;
    ensure!(shown.contains("differs"), "{shown}");
    drop(liar);
    fleet.await_presence("two", "away")?;
    // The node itself comes back, and is found as it is.
    fleet.wake_node("two")?;
    ensure!(runs(&fleet, "two", "g=1")?, "two");
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one", "two"], "g=2")
}

#[test]
fn a_node_that_computes_another_set_than_its_master_holds_the_update() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    let pid = fleet.node("one")?.pid("app")?;
    fleet.stop_node("two")?;
    let (own, other) = (Digest::of(b"own"), Digest::of(b"other"));
    let _liar = Lie::new(&fleet, "two", own, Some(other))?.tell(&fleet, "two")?;
    claims(&fleet, "two", own)?;
    let id = fleet.begin(&["--all"])?;
    let view = fleet.await_phase(id, "held")?;
    ensure!(phase(&view, "one")? == "accepted", "{view}");
    let shown = fleet.ok(&["show", &id.to_string()])?;
    ensure!(shown.contains("other software"), "{shown}");
    ensure!(runs(&fleet, "one", "g=1")?, "one was touched");
    ensure!(fleet.node("one")?.pid("app")? == pid, "app was restarted");
    // Whoever decides goes on without it.
    fleet.run(&["decide", &id.to_string(), "--accepting", "--wait"])?;
    all_run(&fleet, &["one"], "g=2")?;
    let view = fleet.update(id)?;
    ensure!(phase(&view, "two")? != "done", "{view}");
    Ok(())
}

#[test]
fn a_node_that_says_that_it_changed_and_does_not_run_the_set_is_not_done() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    // It accepts, and then says nothing, running what it says that it runs.
    let base = fleet.view("two")?["installed"]["software"].clone();
    let base: Digest = base.as_str().context("no hash")?.parse()?;
    let liar = Lie::new(&fleet, "two", base, None)?.tell(&fleet, "two")?;
    claims(&fleet, "two", base)?;
    let id = fleet.begin(&["--all", "--max-failed", "2"])?;
    wait::until("one is done", || {
        Ok((phase(&fleet.update(id)?, "one")? == "done").then_some(()))
    })?;
    ensure!(phase(&fleet.update(id)?, "two")? == "changing", "two");
    drop(liar);
    fleet.await_presence("two", "away")?;
    fleet.wake_node("two")?;
    // The node itself is told, and does it.
    fleet.await_phase(id, "done")?;
    all_run(&fleet, &["one", "two"], "g=2")
}
