//! A process's state between its old program's end and its new one's start: copied, put back, or
//! rewritten by a program of its package. All of it can be taken twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::report::Chain;
use model::transition::{StateAct, Wanted};
use model::{ProcessName, ProcessSpec};

use super::views::Views;
use super::{Engine, Event, Tools};
use crate::sys::cgroup::Group;
use crate::sys::launch::{Order, identity};
use crate::sys::logs::Log;
use crate::sys::spawn::Spawned;
use crate::sys::{reap, state_data};

/// Lines of a failed program that are quoted.
const QUOTED: usize = 5;
/// The kernel lets go of a group's last member a moment after it has ended.
const LET_GO: Duration = Duration::from_millis(1);

impl Engine {
    /// Begins what is to be done to the state of `name` before it starts; `false`: nothing is.
    pub(super) fn begin_state(&mut self, name: &ProcessName, wanted: &Wanted) -> bool {
        let Some(run) = &mut self.run else {
            return false;
        };
        let Some(act) = run.state.remove(name) else {
            return false;
        };
        let work = Work {
            tools: self.tools.clone(),
            views: self.views.clone(),
            spec: Arc::new(wanted.spec.clone()),
            group: self.tools.cgroups.group(name, "state"),
            act,
        };
        let (handle, name) = (self.handle.clone(), name.clone());
        tokio::spawn(async move {
            let result = work.carry_out().await;
            handle.send(Event::StateReady(name, result)).await;
        });
        true
    }

    /// The state is as the new program wants it, or could not be made so.
    pub(super) fn state_ready(&mut self, name: &ProcessName, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.start_wanted(name);
                self.advance(name);
            }
            Err(why) => {
                let what = format!("the state of {name} could not be changed over");
                self.done(name, Some(format!("was not started: {why}")), what);
            }
        }
    }
}

/// What belongs to it, beside the engine.
struct Work {
    tools: Tools,
    views: Views,
    spec: Arc<ProcessSpec>,
    group: Group,
    act: StateAct,
}

impl Work {
    async fn carry_out(self) -> Result<(), String> {
        let (tools, spec, act) = (self.tools.clone(), Arc::clone(&self.spec), self.act.clone());
        let copies = move || {
            let text = |error: state_data::StateError| Chain(&error).to_string();
            if let Some(to) = &act.snapshot {
                state_data::snapshot(&tools.places, &spec, to).map_err(text)?;
            }
            let made = act.take_back.iter().filter(|copy| copy.exists());
            for from in act.restore.iter().chain(made) {
                state_data::restore(&tools.places, &spec, from).map_err(text)?;
            }
            Ok(())
        };
        blocking(copies).await?;
        if self.act.command.is_empty() {
            return Ok(());
        }
        self.run_program().await
    }

    async fn run_program(self) -> Result<(), String> {
        let program = self.act.command.first().cloned().unwrap_or_default();
        let places = &self.tools.places;
        let log = Log::open(&places.run_dir.join("state"), self.spec.name.as_str());
        let log = log.map_err(|error| format!("cannot keep the output of {program}: {error}"))?;
        let limit = Duration::from_millis(self.act.timeout_ms);
        let (children, group) = (self.tools.children.clone(), self.group.clone());
        let writer = log.clone();
        let spawned = blocking(move || self.launch(&writer)).await?;
        let exit = children.exit_of(spawned.pid, spawned.pidfd);
        let exit = tokio::time::timeout(limit, exit).await;
        // Whatever it left behind must not write while the process runs. The group goes with it:
        // the kernel kills whoever is started in one that was ever killed.
        while !group.remove() {
            group.kill(None);
            reap::emptied(&group, None).await;
            tokio::time::sleep(LET_GO).await;
        }
        log.flush().await;
        let quoted = log.last(QUOTED).join("\n");
        log.remove();
        let why = match exit {
            Ok(exit) if exit.is_success() => return Ok(()),
            Ok(exit) => format!("{program} {exit}"),
            Err(_) => format!("{program} was not done after {limit:?}"),
        };
        if quoted.is_empty() {
            return Err(why);
        }
        Err(format!("{why}; its last lines:\n{quoted}"))
    }

    fn launch(self, log: &Log) -> Result<Spawned, String> {
        let places = &self.tools.places;
        let view = self.views.get(&self.act.tree, places)?;
        let (owner, _) = identity(places, &self.spec).map_err(|error| Chain(&error).to_string())?;
        let output = log
            .writer(owner.map(|user| (user.uid, user.gid)))
            .map_err(|error| Chain(&error).to_string())?;
        let group = self
            .group
            .join()
            .map_err(|error| Chain(&error).to_string())?;
        let order = Order {
            words: self.act.command,
            spec: self.spec,
            view,
            own_view: false,
            namespace: None,
            group,
            output: Arc::new(output),
            variables: BTreeMap::from([
                ("STATE_FROM".to_owned(), self.act.from.to_string()),
                ("STATE_TO".to_owned(), self.act.to.to_string()),
            ]),
            listen: Vec::new(),
            session: None,
            notification: None,
        };
        let spawned = self.tools.children.launch(&order, places);
        spawned.map_err(|error| Chain(&error).to_string())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(error.to_string()))
}
