//! The end of a transition: what became of every process, and the proof that nobody runs on old
//! files.

use std::collections::BTreeSet;
use std::time::Duration;

use model::ProcessName;
use model::change::{ProcessOutcome, Verdict, Veto};
use model::transition::TransitionReport;

use super::supervised::Supervised;
use super::transition::{Part, Run};
use super::{Engine, answer};
use crate::process::machine::State;
use crate::sys::logs::Log;
use crate::sys::{clock, maps};

/// How many of its last lines a failure quotes.
const QUOTED: usize = 10;

impl Engine {
    pub(super) fn finish(&mut self, run: Run) {
        self.held.clear();
        let mut report = TransitionReport::default();
        let mut quotes = Vec::new();
        for (name, part) in &run.parts {
            let process = self.processes.get(name);
            let failed = part.failed.clone().or_else(|| fallen(part, process));
            if let Some(reason) = failed {
                quotes.push((name.clone(), reason, process.and_then(|p| p.log.clone())));
            }
            report.processes.push(outcome(name, part, process));
        }
        let looked_at = self.to_look_at(&run);
        for name in run
            .parts
            .iter()
            .filter(|(_, part)| part.wanted.is_none())
            .map(|(name, _)| name)
        {
            self.forget(name);
        }
        self.drop_views();
        let reply = run.reply;
        tokio::spawn(async move {
            for (process, reason, log) in quotes {
                let reason = format!("{reason}{}", quote(log).await);
                report.failed.push(Veto { process, reason });
            }
            let looked = tokio::task::spawn_blocking(move || looked_at.look()).await;
            for (name, left) in looked.unwrap_or_default() {
                let outcome = report
                    .processes
                    .iter_mut()
                    .find(|outcome| outcome.name == name);
                if let Some(outcome) = outcome {
                    outcome.detail = Some(format!("still maps {left} of the old generation"));
                }
            }
            answer(reply, Ok(report));
        });
    }

    /// What the proof after a transition looks at.
    fn to_look_at(&self, run: &Run) -> LookAt {
        let old = self.old_files();
        let part = |name| {
            run.parts
                .get(name)
                .is_some_and(|part| part.wanted.is_some())
        };
        let groups = self
            .processes
            .values()
            .filter(|process| !old.is_empty() && part(process.name()));
        let groups = groups
            .map(|process| (process.name().clone(), process.members()))
            .collect();
        LookAt { old, groups }
    }

    /// Devices and inodes that the running change replaces.
    pub(super) fn old_files(&self) -> BTreeSet<(u64, u64)> {
        let files = self
            .announcement
            .iter()
            .flat_map(|announcement| &announcement.files);
        files
            .filter(|file| file.old != file.new)
            .filter_map(|file| file.old)
            .collect()
    }

    pub(super) fn forget(&mut self, name: &ProcessName) {
        if self
            .processes
            .get(name)
            .is_none_or(|process| !process.is_up())
        {
            let gone = self.processes.remove(name);
            if let Some(log) = gone.and_then(|process| process.log) {
                log.remove();
            }
            // The kernel may not have let go of the last member when its group was to be removed.
            let group = self.tools.cgroups.group(name, "");
            tokio::spawn(async move {
                for _ in 0..50 {
                    if group.remove() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            self.tools.files.forget(&super::handover::file_name(name));
        }
    }

    pub(super) fn drop_views(&self) {
        let used = self
            .processes
            .values()
            .map(|process| process.tree.generation);
        let used = used
            .chain(self.tree.iter().map(|tree| tree.generation))
            .collect();
        self.views.keep(&used);
    }
}

/// Files that must not be mapped any more, and who might.
struct LookAt {
    old: BTreeSet<(u64, u64)>,
    groups: Vec<(ProcessName, Vec<u32>)>,
}

impl LookAt {
    pub(super) fn look(self) -> Vec<(ProcessName, String)> {
        let mut found = Vec::new();
        for (name, pids) in self.groups {
            let mut files = pids.into_iter().flat_map(maps::of);
            if let Some(file) = files.find(|file| self.old.contains(&(file.dev, file.inode))) {
                found.push((name, file.path));
            }
        }
        found
    }
}

/// Why a process is not where its part wanted it, though its step was done.
fn fallen(part: &Part, process: Option<&Supervised>) -> Option<String> {
    part.wanted.as_ref()?;
    match process.map(|process| &process.state) {
        Some(State::Failed(why)) => Some(format!("{why} after it was ready")),
        Some(State::Stopped) | None if part.verdict != Verdict::Notify => {
            Some("does not run".to_owned())
        }
        _ => None,
    }
}

fn outcome(name: &ProcessName, part: &Part, process: Option<&Supervised>) -> ProcessOutcome {
    let times = process.map(|process| process.times).unwrap_or_default();
    let told = part.verdict == Verdict::Notify;
    let started = matches!(part.verdict, Verdict::Start | Verdict::Restart);
    let down_ms = if part.verdict == Verdict::Restart {
        clock::millis(times.stop, times.start)
    } else {
        0
    };
    let ready_ms = match (told, started) {
        (true, _) => clock::millis(part.told_at, part.done_at),
        (false, true) => clock::millis(times.start, times.ready),
        (false, false) => 0,
    };
    let detail = part.failed.clone().or_else(|| part.detail.clone());
    ProcessOutcome {
        name: name.clone(),
        verdict: part.verdict,
        down_ms,
        ready_ms,
        detail,
    }
}

async fn quote(log: Option<Log>) -> String {
    let Some(log) = log else { return String::new() };
    log.flush().await;
    let lines = log.last(QUOTED);
    if lines.is_empty() {
        return "; it wrote nothing".to_owned();
    }
    format!("; its last lines:\n{}", lines.join("\n"))
}
