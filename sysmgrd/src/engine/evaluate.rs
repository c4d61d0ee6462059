//! Evaluate programs: the vote of a process that links nothing, by a program of its package.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::report::Chain;
use model::transition::{Announcement, Asked};

use super::supervised::Supervised;
use super::{Engine, Event, Tools};
use crate::process::Exit;
use crate::sys::cgroup::Join;
use crate::sys::launch::{Order, identity};
use crate::sys::logs::Log;
use crate::sys::spawn::Spawned;

impl Engine {
    /// Runs a process's evaluate program in the view that the process runs in.
    pub(super) fn evaluate(
        &self,
        number: u64,
        process: &Supervised,
        asked: &Asked,
        document: &Announcement,
    ) {
        let (handle, tools, views) = (self.handle.clone(), self.tools.clone(), self.views.clone());
        let (spec, tree, main) = (
            Arc::clone(&process.spec),
            process.tree.clone(),
            process.main,
        );
        let variables = part_of(asked, document, main);
        // In the process's own group: whatever it leaves behind ends with the process.
        let group = process
            .group
            .as_ref()
            .and_then(|group| group.join().ok())
            .unwrap_or(Join::Nothing);
        let order = move |output, view| Order {
            words: spec.evaluate.clone(),
            spec: Arc::clone(&spec),
            view,
            own_view: false,
            namespace: None,
            group,
            output: Arc::new(output),
            variables,
            listen: Vec::new(),
            session: None,
            notification: None,
        };
        let owner = identity(&tools.places, &process.spec)
            .ok()
            .and_then(|(user, _)| user);
        let owner = owner.map(|user| (user.uid, user.gid));
        let name = process.name().clone();
        let log = Log::open(&tools.places.run_dir.join("evaluate"), name.as_str());
        tokio::spawn(async move {
            let vote = match log {
                Ok(log) => {
                    let (writer, launching) = (log.clone(), tools.clone());
                    let work = move || {
                        let output = writer.writer(owner).map_err(|error| error.to_string())?;
                        let view = views.get(&tree, &launching.places)?;
                        let spawned = launching
                            .children
                            .launch(&order(output, view), &launching.places);
                        spawned.map_err(|error| Chain(&error).to_string())
                    };
                    let spawned = tokio::task::spawn_blocking(work).await;
                    heard(
                        spawned.unwrap_or_else(|error| Err(error.to_string())),
                        &tools,
                        &log,
                    )
                    .await
                }
                Err(error) => Err(format!("no answer: its evaluate program: {error}")),
            };
            handle.send(Event::Evaluated(number, name, vote)).await;
        });
    }
}

/// What an evaluate program is told of its process's part in a change.
fn part_of(asked: &Asked, document: &Announcement, main: Option<u32>) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("CHANGEOVER_CHANGE".to_owned(), document.change.to_string()),
        ("CHANGEOVER_VERDICT".to_owned(), asked.verdict.to_string()),
        (
            "CHANGEOVER_ENTERING".to_owned(),
            document.entering.join(" "),
        ),
        ("CHANGEOVER_LEAVING".to_owned(), document.leaving.join(" ")),
        ("MAINPID".to_owned(), main.unwrap_or_default().to_string()),
    ])
}

/// The vote of an evaluate program that was started, or not.
async fn heard(spawned: Result<Spawned, String>, tools: &Tools, log: &Log) -> Result<(), String> {
    match spawned {
        Ok(spawned) => {
            let exit = tools.children.exit_of(spawned.pid, spawned.pidfd).await;
            verdict(exit, log).await
        }
        Err(why) => Err(format!("no answer: its evaluate program: {why}")),
    }
}

async fn verdict(exit: Exit, log: &Log) -> Result<(), String> {
    log.flush().await;
    log.remove();
    match exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(_) => Err(log
            .last(1)
            .pop()
            .unwrap_or_else(|| format!("its evaluate program {exit}"))),
        Exit::Signal(_) | Exit::Unknown => Err(format!("no answer: its evaluate program {exit}")),
    }
}
