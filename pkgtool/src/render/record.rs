//! One change of the past, with all that is known of it.

use model::change::{ChangeRecord, ProcessOutcome, StepRecord, Verdict, What};
use model::transition::Votes;

use super::timeline::{gap, milliseconds};
use super::{add, heading, history, millis, plan};
use crate::show::Look;

/// Request, end, plan, votes, phases, processes and journal.
pub fn record(record: &ChangeRecord, look: Look) -> String {
    let entry = &record.entry;
    let mut out = history::one(entry, look);
    heading(look, "Plan", &mut out);
    out.push_str(&plan::plan(&record.plan, look));
    if let Some(votes) = &record.votes {
        heading(look, "Votes", &mut out);
        out.push_str(&answers(record, votes, look));
    }
    if let Some(report) = &entry.report {
        if !report.phases.is_empty() {
            heading(look, "Phases", &mut out);
            out.push_str(&phases(record, look));
        }
        let rows = report.processes.iter().filter(|one| {
            !one.moments.is_empty() || !matches!(one.verdict, Verdict::None | Verdict::Ask)
        });
        let rows: Vec<&ProcessOutcome> = rows.collect();
        if !rows.is_empty() {
            heading(look, "Processes", &mut out);
            out.push_str(&processes(&rows, milliseconds(&entry.began), look));
        }
    }
    if !record.steps.is_empty() {
        heading(look, "Journal", &mut out);
        out.push_str(&steps(&record.steps, milliseconds(&entry.began), look));
    }
    out
}

fn answers(record: &ChangeRecord, votes: &Votes, look: Look) -> String {
    let mut out = String::new();
    let overridden = record.entry.report.as_ref().map(|one| &one.overridden);
    for veto in &votes.vetoes {
        let over = overridden.is_some_and(|all| all.contains(&veto.process));
        let words = if over || record.entry.request.force {
            "objected, and was overridden"
        } else {
            "objected"
        };
        let (sign, name) = (look.notable('!'), look.strong(&veto.process));
        let reason = veto.reason.replace('\n', "\n    ");
        add(
            &mut out,
            format_args!("  {sign} {name} {words}: {reason}\n"),
        );
    }
    let mut told = |words: &str, names: &[model::ProcessName]| {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(model::ProcessName::as_str).collect();
            add(&mut out, format_args!("  {words}: {}\n", names.join(", ")));
        }
    };
    told("agreed", &votes.accepted);
    told("said that they are reached too", &votes.also_reached);
    if out.is_empty() {
        out.push_str("  nobody answered\n");
    }
    out
}

fn phases(record: &ChangeRecord, look: Look) -> String {
    let began = milliseconds(&record.entry.began);
    let phases = record.entry.report.iter().flat_map(|one| &one.phases);
    let rows: Vec<Vec<String>> = phases
        .map(|one| {
            let took = if one.took_us < 10_000 {
                format!("{}.{:02} ms", one.took_us / 1000, one.took_us % 1000 / 10)
            } else {
                millis(one.took_us / 1000)
            };
            vec![one.phase.clone(), after(began, one.began_ms), took]
        })
        .collect();
    look.table(&["phase", "at", "took"], &["at", "took"], &rows)
}

fn processes(all: &[&ProcessOutcome], began: Option<i64>, look: Look) -> String {
    const COLUMNS: [(&str, &[What]); 7] = [
        ("asked", &[What::Asked]),
        ("answered", &[What::Accepted, What::Objected]),
        ("waiting", &[What::Waiting]),
        ("stopped", &[What::Stopped]),
        ("started", &[What::Started]),
        ("changed", &[What::Changed]),
        ("ready", &[What::Ready, What::Done]),
    ];
    // Of something that happened twice, as in a change and the way back, the last counts.
    let at = |one: &ProcessOutcome, wanted: &[What]| {
        let mut moments = one.moments.iter().rev();
        let found = moments.find(|moment| wanted.contains(&moment.what));
        found.map(|moment| after(began, moment.at_ms))
    };
    let used: Vec<_> = COLUMNS
        .iter()
        .filter(|(_, wanted)| all.iter().any(|one| at(one, wanted).is_some()))
        .collect();
    let mut heads = vec!["process", "verdict"];
    heads.extend(used.iter().map(|(head, _)| *head));
    heads.push("gap");
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            let mut row = vec![one.name.to_string(), one.verdict.to_string()];
            let cells = used
                .iter()
                .map(|(_, wanted)| at(one, wanted).unwrap_or_default());
            row.extend(cells);
            row.push(gap(one).map(millis).unwrap_or_default());
            row
        })
        .collect();
    let mut right = heads.clone();
    right.retain(|head| !matches!(*head, "process" | "verdict"));
    let mut out = look.table(&heads, &right, &rows);
    for one in all {
        if let Some(detail) = &one.detail {
            let detail = detail.replace('\n', "\n    ");
            add(&mut out, format_args!("  {}: {detail}\n", one.name));
        }
    }
    out
}

fn steps(all: &[StepRecord], began: Option<i64>, look: Look) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            let intended = milliseconds(&one.intended);
            let took = match one.done.as_deref() {
                None => "not done".to_owned(),
                Some(done) => milliseconds(done)
                    .zip(intended)
                    .map(|(done, intended)| millis(u64::try_from(done - intended).unwrap_or(0)))
                    .unwrap_or_default(),
            };
            let at = intended.map(|at| after(began, at)).unwrap_or_default();
            vec![one.step.clone(), at, took]
        })
        .collect();
    look.table(&["step", "at", "took"], &["at", "took"], &rows)
}

/// Seconds after the change began.
fn after(began: Option<i64>, at: i64) -> String {
    let since = at.saturating_sub(began.unwrap_or(at));
    let sign = if since < 0 { '-' } else { '+' };
    let since = since.unsigned_abs();
    format!("{sign}{}.{:03} s", since / 1000, since % 1000)
}

/// What `history --help` says of the figures, so that both stay true together.
pub const FIGURES: &str = "\
Times stand as seconds after the change began; of what happened twice, as in a change that was taken
back, the last. The gap of a process is the time from its stop signal, or its failure, to ready
again, all of it together.";

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::change::{Moment, Veto};

    use super::super::timeline::tests::{process, record as made_up, restarted};
    use super::*;

    #[test]
    fn a_change_is_shown_with_its_figures() {
        let moved = [
            (What::Preparing, 10),
            (What::Waiting, 20),
            (What::Changed, 50),
            (What::Done, 70),
        ];
        let mut change = made_up(vec![
            restarted("nginx", 100),
            process("router", Verdict::Notify, &moved),
            process("unasked", Verdict::None, &[]),
        ]);
        change.entry.began = "2026-11-23T14:34:56.000Z".to_owned();
        change.votes = Some(Votes {
            vetoes: vec![Veto {
                process: "router".parse().unwrap(),
                reason: "a call is up".to_owned(),
            }],
            accepted: vec!["nginx".parse().unwrap()],
            ..Votes::default()
        });
        if let Some(report) = &mut change.entry.report {
            report.overridden = vec!["router".parse().unwrap()];
        }
        let text = record(&change, Look::plain(100));
        let text = text.split_once("Votes\n").unwrap().1;
        assert_snapshot!(text);
    }

    #[test]
    fn the_gap_is_all_the_time_for_which_a_process_was_away() {
        let mut twice = restarted("nginx", 100);
        let again = [
            (What::Stopping, 500),
            (What::Stopped, 510),
            (What::Started, 520),
            (What::Ready, 560),
        ];
        let first = twice.moments[0].at_ms - 2;
        twice.moments.extend(again.map(|(what, after)| Moment {
            what,
            at_ms: first + after,
        }));
        let once = gap(&restarted("nginx", 100)).unwrap();
        assert_eq!(gap(&twice), Some(once + 60));
        twice.moments.pop();
        assert_eq!(gap(&twice), None, "it is not back");
    }
}
