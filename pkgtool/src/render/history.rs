//! Changes of the past.

use model::change::{Action, HistoryEntry};

use super::{add, local};
use crate::show::Look;

/// A line for each change, newest first, and one for each thing worth knowing of it.
pub fn history(entries: &[HistoryEntry], look: Look) -> String {
    if entries.is_empty() {
        return format!("{}\n", look.faint("nothing has been changed yet"));
    }
    entries.iter().map(|entry| one(entry, look)).collect()
}

fn one(entry: &HistoryEntry, look: Look) -> String {
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
    let asked = actions(&entry.request.actions);
    let generations = look.faint(format_args!("({} → {to}, by {})", entry.from, entry.by));
    let mut out = format!(
        "{number}  {}  {end}  {asked} {generations}\n",
        local(&entry.began)
    );
    let Some(report) = &entry.report else {
        return out;
    };
    if let Some(detail) = &report.detail {
        add(
            &mut out,
            format_args!("      {}\n", detail.replace('\n', "\n      ")),
        );
    }
    for veto in &report.vetoes {
        let overridden = if entry.request.force {
            ", overridden"
        } else {
            ""
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
    use super::*;

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
