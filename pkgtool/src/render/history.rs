//! Changes of the past.

use model::change::{Action, HistoryEntry};

use super::{add, local};
use crate::show::Look;

/// A line for each change, newest first, and one for each thing worth knowing of it.
pub fn history(entries: &[HistoryEntry], look: Look) -> String {
    if entries.is_empty() {
        return format!("{}\n", look.faint("nothing has been changed yet"));
    }
    entries.iter().map(|entry| shortly(entry, look)).collect()
}

/// One of many: without what processes wrote, which stands further right than who failed.
fn shortly(entry: &HistoryEntry, look: Look) -> String {
    let mut entry = entry.clone();
    if let Some(detail) = entry.report.as_mut().and_then(|one| one.detail.as_mut()) {
        let lines = detail.lines().filter(|line| !line.starts_with(' '));
        let heads: Vec<_> = lines
            .map(|line| {
                let line = line.trim_end_matches("; its last lines:");
                line.trim_end_matches("; it said:")
            })
            .collect();
        *detail = heads.join("\n");
    }
    one(&entry, look)
}

/// One change: a line, and one for each thing worth knowing of it.
pub fn one(entry: &HistoryEntry, look: Look) -> String {
    let end = match &entry.report {
        None => look.notable("running"),
        Some(report) if report.outcome == model::change::Outcome::Done => look.good(report.outcome),
        Some(report) => look.bad(report.outcome),
    };
    let to = entry
        .report
        .as_ref()
        .map_or(entry.from, |report| report.generation);
    let number = look.strong(format_args!("{:>4}", entry.change));
    let asked = asked(entry);
    let generations = if to == entry.from {
        format!("generation {to}")
    } else {
        format!("generation {} → {to}", entry.from)
    };
    let generations = look.faint(format_args!("({generations}, by {})", entry.by));
    let mut out = format!(
        "{number}  {}  {end}  {asked} {generations}\n",
        local(&entry.began)
    );
    let Some(report) = &entry.report else {
        return out;
    };
    let said = report.outcome == model::change::Outcome::Vetoed && !report.vetoes.is_empty();
    if let Some(detail) = report.detail.as_ref().filter(|_| !said) {
        add(
            &mut out,
            format_args!("      {}\n", detail.replace('\n', "\n      ")),
        );
    }
    for veto in &report.vetoes {
        let overridden = if report.outcome == model::change::Outcome::Vetoed {
            ""
        } else {
            ", overridden"
        };
        add(
            &mut out,
            format_args!(
                "      {} objected{overridden}: {}\n",
                veto.process, veto.reason
            ),
        );
    }
    out
}

/// What was asked for, as it is typed.
pub fn asked(entry: &HistoryEntry) -> String {
    let request = &entry.request;
    let asked = match request.to {
        Some(to) if to == entry.from => "commit".to_owned(),
        Some(to) => format!("rollback {to}"),
        None => actions(&request.actions),
    };
    let trial = if request.trial { " --trial" } else { "" };
    format!("{asked}{trial}")
}

/// `activate nginx libssl3=3.0.22, deactivate old`.
pub fn actions(actions: &[Action]) -> String {
    let mut out = String::new();
    let mut last = "";
    for action in actions {
        let (verb, package) = match action {
            Action::Activate(package) => ("activate", package),
            Action::Deactivate(package) => ("deactivate", package),
        };
        if verb == last {
            add(&mut out, format_args!(" {package}"));
        } else {
            let comma = if last.is_empty() { "" } else { ", " };
            add(&mut out, format_args!("{comma}{verb} {package}"));
        }
        last = verb;
    }
    out
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::change::{ChangeReport, Outcome, Request, SetChange, Veto};
    use model::{ChangeId, Generation};

    use super::*;

    #[test]
    fn a_change_is_told_with_its_generations_and_objections() {
        let report = ChangeReport {
            vetoes: vec![Veto {
                process: "router".parse().unwrap(),
                reason: "a call is up".into(),
            }],
            ..ChangeReport::new(ChangeId(4), Outcome::Done, Generation(3))
        };
        let mut entry = HistoryEntry {
            change: ChangeId(4),
            began: "at noon".into(),
            ended: None,
            by: "root (pid 7)".into(),
            from: Generation(2),
            set: SetChange::default(),
            request: Request {
                actions: vec![Action::Activate("libssl3=3".parse().unwrap())],
                force: true,
                ..Request::default()
            },
            report: Some(report),
        };
        assert_snapshot!(one(&entry, Look::plain(80)), @r"
           4  at noon  done  activate libssl3=3 (generation 2 → 3, by root (pid 7))
              router objected, overridden: a call is up
        ");
        entry.report = None;
        assert_snapshot!(one(&entry, Look::plain(80)), @"   4  at noon  running  activate libssl3=3 (generation 2, by root (pid 7))");
    }

    #[test]
    fn commits_ways_back_and_trials_read_as_they_are_typed() {
        let entry = |from, request| HistoryEntry {
            change: ChangeId(1),
            by: "root".into(),
            began: String::new(),
            ended: None,
            request,
            set: SetChange::default(),
            from: Generation(from),
            report: None,
        };
        let back = Request {
            to: Some(Generation(2)),
            ..Request::default()
        };
        assert_eq!(asked(&entry(3, back.clone())), "rollback 2");
        assert_eq!(asked(&entry(2, back)), "commit");
        let trial = Request {
            actions: vec![Action::Activate("a".parse().unwrap())],
            trial: true,
            ..Request::default()
        };
        assert_eq!(asked(&entry(2, trial)), "activate a --trial");
    }

    #[test]
    fn actions_read_as_they_are_typed() {
        let list = [
            Action::Activate("a".parse().unwrap()),
            Action::Activate("b=2".parse().unwrap()),
            Action::Deactivate("c".parse().unwrap()),
        ];
        assert_eq!(actions(&list), "activate a b=2, deactivate c");
    }
}
