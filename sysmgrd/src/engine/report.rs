//! The end of a transition: what became of every process, and the proof that nobody runs on old
//! files.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::change::{Moment, ProcessOutcome, Verdict, Veto, What};
use model::transition::{ChangedFile, StillMapped, TransitionReport, Tree};
use model::{ProcessName, fault};

use super::settling::fallen;
use super::supervised::{Supervised, Times};
use super::transition::{Part, Run};
use super::{Engine, Members, answer};
use crate::sys::logs::Log;
use crate::sys::parallel::in_parts;
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
            let fell = || fallen(part, process, run.settles());
            let failed = part.failed.clone().or_else(fell);
            if let Some(reason) = failed {
                quotes.push((name.clone(), reason, process.and_then(|p| p.log.clone())));
            }
            report
                .processes
                .push(outcome(name, part, process, run.began));
        }
        let to_look_at = self.to_look_at(&run);
        for name in run
            .parts
            .iter()
            .filter(|(_, part)| part.wanted.is_none())
            .map(|(name, _)| name)
        {
            self.forget(name);
        }
        self.drop_views();
        let replies = run.replies;
        tokio::spawn(async move {
            for (process, reason, log) in quotes {
                let reason = format!("{reason}{}", quote(log).await);
                report.failed.push(Veto { process, reason });
            }
            if let Some(look) = to_look_at
                && let Ok(found) = tokio::task::spawn_blocking(move || look.look()).await
            {
                found.tell(&mut report);
            }
            for reply in replies {
                fault::point("answer a transition");
                answer(reply, Ok(report.clone()));
            }
        });
    }

    /// What the proof after a transition looks at; nothing where no file was replaced.
    fn to_look_at(&self, run: &Run) -> Option<LookAt> {
        let replaced = self.replaced(&run.tree);
        let named: BTreeSet<(u64, u64)> = run.stale.iter().copied().collect();
        if replaced.files.is_empty() && named.is_empty() {
            return None;
        }
        let wanted = run.parts.iter().filter(|(_, part)| part.wanted.is_some());
        let groups = wanted.filter_map(|(name, _)| Some(self.processes.get(name)?.group_of()));
        Some(LookAt {
            replaced,
            named,
            groups: groups.collect(),
        })
    }

    /// The files that the running change replaces, for those who are moved into `tree`.
    pub(super) fn replaced(&self, tree: &Tree) -> Replaced {
        let files = self
            .announcement
            .iter()
            .flat_map(|announcement| &announcement.files);
        Replaced {
            root: tree.root.clone(),
            files: files.filter(|file| file.old != file.new).cloned().collect(),
        }
    }

    pub(super) fn forget(&mut self, name: &ProcessName) {
        if self
            .processes
            .get(name)
            .is_none_or(|process| !process.is_up())
        {
            let gone = self.processes.remove(name);
            self.tell_all(super::Signal::ProcessGone(name.clone()));
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

/// The files that differ between the two sides of a change, and the tree of one side.
#[derive(Debug)]
pub(super) struct Replaced {
    root: PathBuf,
    files: Vec<ChangedFile>,
}

impl Replaced {
    /// Devices and inodes of the other side. Which one that is, the tree itself says: on the way
    /// back the files of the new set are the stale ones. Looks at the disk.
    pub(super) fn stale(&self) -> BTreeSet<(u64, u64)> {
        let standing: BTreeSet<(u64, u64)> = self
            .files
            .iter()
            .filter_map(|file| {
                let data = fs_err::symlink_metadata(self.root.join(file.path.relative())).ok()?;
                Some((data.dev(), data.ino()))
            })
            .collect();
        let both = self.files.iter().flat_map(|file| [file.old, file.new]);
        both.flatten()
            .filter(|file| !standing.contains(file))
            .collect()
    }
}

/// Files that must not be mapped any more, and who might.
struct LookAt {
    replaced: Replaced,
    /// Those that the transition names: whether they are mapped is a part of its answer.
    named: BTreeSet<(u64, u64)>,
    groups: Vec<Members>,
}

/// What was found mapped, and a path of it.
struct Found {
    still: Vec<(StillMapped, String)>,
    named: BTreeSet<(u64, u64)>,
}

impl LookAt {
    fn look(self) -> Found {
        let mut stale = self.replaced.stale();
        stale.extend(&self.named);
        let still = in_parts(&self.groups, |_, groups| {
            let all = groups.iter().flat_map(|group| left_in(group, &stale));
            all.collect::<Vec<_>>()
        });
        Found {
            still: still.concat(),
            named: self.named,
        }
    }
}

/// The stale files that a group has mapped.
fn left_in(group: &Members, stale: &BTreeSet<(u64, u64)>) -> Vec<(StillMapped, String)> {
    let files = group.pids().into_iter().flat_map(|pid| {
        let files = maps::of(pid).into_iter();
        files.map(move |file| (pid, file))
    });
    let left = files.filter(|(_, file)| stale.contains(&(file.dev, file.inode)));
    let found = left.map(|(pid, file)| {
        let still = StillMapped {
            process: group.process.clone(),
            pid,
            file: (file.dev, file.inode),
        };
        (still, file.path)
    });
    found.collect()
}

impl Found {
    fn tell(self, report: &mut TransitionReport) {
        for (still, path) in self.still.iter().rev() {
            let mut outcomes = report.processes.iter_mut();
            if let Some(outcome) = outcomes.find(|outcome| outcome.name == still.process) {
                outcome.detail = Some(format!("still maps {path} of the old generation"));
            }
        }
        let named = self.named;
        let all = self.still.into_iter().map(|(still, _)| still);
        let of_named = all.filter(|still| named.contains(&still.file)).collect();
        report.still_mapped = (!named.is_empty()).then_some(of_named);
    }
}

/// `began`: what lies before it belongs to an earlier change.
fn outcome(
    name: &ProcessName,
    part: &Part,
    process: Option<&Supervised>,
    began: Instant,
) -> ProcessOutcome {
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
        moments: moments(part, times, began),
    }
}

/// What happened to a process in a transition, in order of time.
fn moments(part: &Part, times: Times, began: Instant) -> Vec<Moment> {
    let timed = [
        (What::Changed, part.told_at),
        (What::Done, part.done_at),
        (What::Stopping, times.stop),
        (What::Started, times.start),
        (What::Ready, times.ready),
    ];
    let of_this = |at: &Instant| *at >= began;
    let timed = timed.into_iter().filter_map(|(what, at)| {
        let at_ms = clock::wall_of(at.filter(of_this)?);
        Some(Moment { what, at_ms })
    });
    let mut moments: Vec<Moment> = part.moments.iter().copied().chain(timed).collect();
    moments.sort_by_key(|moment| (moment.at_ms, moment.what));
    moments
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
