//! Asking the reached processes, and having them get ready.

use std::collections::BTreeSet;

use model::ProcessName;
use model::change::{ChangeReport, Request, Verdict, Veto};
use model::transition::{Announcement, Ask, Prepare, Prepared, Votes};

use super::change::{Changeover, Stop};
use super::lists::{self, Standing};
use crate::config::Config;

/// What objections mean for a change.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    /// Whoever stops it.
    stopped_by: Vec<ProcessName>,
    /// Whoever objects and is not heard.
    overridden: BTreeSet<ProcessName>,
}

/// Any objection stops the change, but for those that the request goes over.
fn judge(vetoes: &[Veto], request: &Request) -> Judged {
    let mut judged = Judged::default();
    for veto in vetoes {
        if request.force || request.force_processes.contains(&veto.process) {
            judged.overridden.insert(veto.process.clone());
        } else {
            judged.stopped_by.push(veto.process.clone());
        }
    }
    judged
}

/// Asks. Objections are recorded whether they are overridden or not.
pub(super) async fn ask(
    change: &mut Changeover,
    report: &mut ChangeReport,
    standing: &mut Standing,
    announcement: Announcement,
) -> Result<(), Stop> {
    known(change)?;
    let asked: Vec<_> = (lists::asked(&change.plan).into_iter())
        .filter(|one| standing.alive.contains(&one.process))
        .collect();
    let objections = change.plan.objections.clone();
    let nobody = asked.is_empty() && standing.registered.is_empty();
    if nobody && objections.is_empty() {
        return Ok(());
    }
    let mut votes = if nobody {
        Votes::default()
    } else {
        let what = match asked.len() {
            1 => "asking 1 process".to_owned(),
            more => format!("asking {more} processes"),
        };
        change.context.progress("ask", what, None);
        let timeouts = change.context.config.timeouts;
        let ask = Ask {
            announcement,
            timeout_ms: Config::millis(timeouts.ask),
            more_time_ms: Config::millis(timeouts.more_time),
            asked,
        };
        change.sysmgr.ask(&ask).await?
    };
    // What stands in a package counts as an answer, though nobody had to be asked.
    votes.vetoes.splice(0..0, objections);
    change.db.note_votes(change.id, &votes)?;
    for veto in &votes.vetoes {
        tracing::info!(change = change.id.0, process = %veto.process, "veto: {}", veto.reason);
    }
    standing.also_reached = votes.also_reached.into_iter().collect();
    change.moments.extend(votes.moments);
    change.later = votes.later;
    let judged = judge(&votes.vetoes, &change.request);
    report.vetoes = votes.vetoes;
    report.overridden.extend(judged.overridden);
    if judged.stopped_by.is_empty() {
        Ok(())
    } else {
        Err(Stop::Vetoed)
    }
}

/// Whoever is to be gone over by name is somebody: a slip must not look like consent.
fn known(change: &Changeover) -> Result<(), Stop> {
    let is_there = |name: &&ProcessName| change.plan.processes.iter().any(|one| one.name == **name);
    match (change.request.force_processes.iter()).find(|name| !is_there(name)) {
        Some(name) => Err(Stop::Failed(format!(
            "no process {name} whose objection could be overridden; `pkgtool ps` lists them"
        ))),
        None => Ok(()),
    }
}

/// *Going to change*: reached processes that handle it themselves get ready and wait. One that
/// does not aborts the change, or, where it is forced, is stopped and started instead.
pub(super) async fn prepare(
    change: &mut Changeover,
    report: &mut ChangeReport,
    standing: &mut Standing,
    announcement: Announcement,
) -> Result<(), Stop> {
    if standing.registered.is_empty() {
        return Ok(());
    }
    let reached = (change.plan.processes.iter())
        .filter(|one| one.verdict == Verdict::Notify && one.reached)
        .map(|one| one.name.clone());
    let holding: BTreeSet<_> = reached
        .chain(standing.also_reached.iter().cloned())
        .filter(|name| standing.registered.contains(name))
        .collect();
    let what = format!("waiting for {} processes to be ready", holding.len());
    change.context.progress("prepare", what, None);
    let levels = lists::levels(&change.plan, &holding);
    let timeout_ms = Config::millis(change.context.config.timeouts.prepare);
    let prepare = Prepare {
        announcement,
        timeout_ms,
        levels,
    };
    let Prepared { not_ready, moments } = change.sysmgr.prepare(&prepare).await?;
    change.moments.extend(moments);
    let judged = judge(&not_ready, &change.request);
    if judged.stopped_by.is_empty() {
        report.vetoes.extend(not_ready);
        report.overridden.extend(judged.overridden.iter().cloned());
        standing.not_ready = judged.overridden;
        return Ok(());
    }
    let stops = |veto: &&Veto| judged.stopped_by.contains(&veto.process);
    let one = |veto: &Veto| format!("{}: {}", veto.process, veto.reason);
    let all: Vec<String> = not_ready.iter().filter(stops).map(one).collect();
    Err(Stop::Failed(format!(
        "not ready for the change: {}",
        all.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProcessName {
        text.parse().unwrap()
    }

    fn vetoes(names: &[&str]) -> Vec<Veto> {
        let one = |text: &&str| Veto {
            process: name(text),
            reason: "busy".to_owned(),
        };
        names.iter().map(one).collect()
    }

    /// A request, who objects, who then stands in the way, and who is overridden.
    type Case<'a> = (&'a Request, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn one_objection_stops_a_change_and_force_goes_over_all_or_over_those_named() {
        let plain = Request::default();
        let one = Request {
            force_processes: vec![name("a")],
            ..Request::default()
        };
        let all = Request {
            force: true,
            ..Request::default()
        };
        let table: [Case<'_>; 6] = [
            (&plain, &[], &[], &[]),
            (&plain, &["a", "b"], &["a", "b"], &[]),
            (&one, &["a"], &[], &["a"]),
            (&one, &["a", "b"], &["b"], &["a"]),
            (&one, &["b"], &["b"], &[]),
            (&all, &["a", "a", "b"], &[], &["a", "b"]),
        ];
        for (request, objecting, stopping, overridden) in table {
            let judged = judge(&vetoes(objecting), request);
            let expected = Judged {
                stopped_by: stopping.iter().map(|one| name(one)).collect(),
                overridden: overridden.iter().map(|one| name(one)).collect(),
            };
            assert_eq!(judged, expected, "{objecting:?}");
        }
    }
}
