//! What a change, or a restart of processes, has done.

use model::change::{ChangeReport, Failure, Outcome, ProcessOutcome, Verdict, Veto};
use model::transition::TransitionReport;

use super::plan::verdict;
use super::timeline::gap;
use super::{add, millis, padded, widest};
use crate::show::Look;

/// The end of a change.
pub fn report(report: &ChangeReport, look: Look) -> String {
    let (change, generation) = (report.change, report.generation);
    let mut out = match report.outcome {
        Outcome::Done => {
            let head = look.good("done:");
            format!("{head} change {change}, generation {generation} runs\n")
        }
        Outcome::RolledBack => {
            let head = look.bad("rolled back:");
            format!("{head} change {change} failed, generation {generation} runs again\n")
        }
        Outcome::Vetoed => {
            let head = look.bad("vetoed:");
            format!("{head} change {change}, nothing was touched\n")
        }
        Outcome::Failed => {
            let head = look.bad("failed:");
            let left = match report.failure {
                Some(Failure::Unchanged) | None => "nothing was touched",
                Some(Failure::Kept) => "the new set is kept",
                Some(Failure::RollbackFailed) if report.unfinished => {
                    "the way back is not done yet"
                }
                Some(Failure::RollbackFailed) => "and the way back failed too",
            };
            format!("{head} change {change}, {left}; generation {generation} runs\n")
        }
    };
    let said = report.outcome == Outcome::Vetoed && !report.vetoes.is_empty();
    if let Some(detail) = report.detail.as_ref().filter(|_| !said) {
        add(
            &mut out,
            format_args!("  {}\n", detail.replace('\n', "\n  ")),
        );
    }
    out.push_str(&vetoes(&report.vetoes, report.outcome, look));
    let forward = match report.outcome {
        Outcome::Done | Outcome::Vetoed => true,
        Outcome::Failed => report.failure != Some(Failure::RollbackFailed),
        Outcome::RolledBack => false,
    };
    let told = if forward {
        what_happened
    } else {
        what_was_lost
    };
    out.push_str(&processes(&report.processes, told, look));
    for discrepancy in &report.discrepancies {
        let text = discrepancy.replace('\n', "\n  ");
        add(
            &mut out,
            format_args!("{} {text}\n", look.notable("discrepancy:")),
        );
    }
    out
}

/// The end of `pkgtool restart`.
pub fn transition(report: &TransitionReport, look: Look) -> String {
    let mut out = processes(&report.processes, what_happened, look);
    for failed in &report.failed {
        let reason = failed.reason.replace('\n', "\n    ");
        add(
            &mut out,
            format_args!("  {} {}: {reason}\n", look.bad('✗'), failed.process),
        );
    }
    out
}

fn vetoes(vetoes: &[Veto], outcome: Outcome, look: Look) -> String {
    let mut out = String::new();
    for veto in vetoes {
        let word = match outcome {
            Outcome::Vetoed => "objects",
            Outcome::Done | Outcome::RolledBack | Outcome::Failed => "objected, and was overridden",
        };
        let (sign, process) = (look.notable('!'), look.strong(&veto.process));
        add(
            &mut out,
            format_args!("  {sign} {process} {word}: {}\n", veto.reason),
        );
    }
    out
}

fn processes(all: &[ProcessOutcome], told: fn(&ProcessOutcome) -> String, look: Look) -> String {
    let touched = || {
        all.iter()
            .filter(|one| !matches!(one.verdict, Verdict::None | Verdict::Ask))
    };
    let width = widest(touched().map(|one| one.name.as_str()));
    let mut out = String::new();
    for one in touched() {
        let word = verdict(one.verdict, look);
        let name = padded(one.name.as_str(), width);
        let line = format!("  {word}  {name}  {}", told(one));
        out.push_str(line.trim_end());
        out.push('\n');
        if let Some(detail) = &one.detail {
            add(
                &mut out,
                format_args!("           {}\n", detail.replace('\n', "\n           ")),
            );
        }
    }
    out
}

fn what_happened(one: &ProcessOutcome) -> String {
    let ready = millis(one.ready_ms);
    match one.verdict {
        Verdict::Restart => format!("down {}, ready after {ready}", millis(one.down_ms)),
        Verdict::Start => format!("ready after {ready}"),
        Verdict::Notify => format!("changed over in {ready}, kept running"),
        Verdict::Stop | Verdict::Ask | Verdict::None => String::new(),
    }
}

/// The same of a change that was taken back: how long it cost the process its service.
fn what_was_lost(one: &ProcessOutcome) -> String {
    match (one.verdict, gap(one)) {
        (Verdict::Restart, Some(gap)) => format!("away for {}, then as before", millis(gap)),
        (Verdict::Restart, None) => "is not back".to_owned(),
        (Verdict::Start, _) => "started and stopped again".to_owned(),
        (Verdict::Stop, Some(gap)) => {
            format!("stopped and started again, away for {}", millis(gap))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::{ChangeId, Generation};

    use super::*;

    fn touched(name: &str, verdict: Verdict, detail: Option<&str>) -> ProcessOutcome {
        ProcessOutcome {
            name: name.parse().unwrap(),
            verdict,
            down_ms: 12,
            ready_ms: 1_340,
            detail: detail.map(str::to_owned),
            moments: Vec::new(),
        }
    }

    fn ended(outcome: Outcome) -> ChangeReport {
        ChangeReport {
            processes: vec![
                touched("nginx", Verdict::Restart, None),
                touched("router", Verdict::Notify, None),
                touched("old", Verdict::Stop, None),
                touched("asked", Verdict::Ask, None),
            ],
            ..ChangeReport::new(ChangeId(7), outcome, Generation(3))
        }
    }

    #[test]
    fn a_change_that_went_well_says_what_it_cost_each_process() {
        assert_snapshot!(report(&ended(Outcome::Done), Look::plain(80)), @r"
        done: change 7, generation 3 runs
          restart  nginx   down 12 ms, ready after 1.3 s
          notify   router  changed over in 1.3 s, kept running
          stop     old
        ");
    }

    #[test]
    fn a_veto_names_who_objects_and_why() {
        let mut veto = ended(Outcome::Vetoed);
        veto.processes.clear();
        veto.vetoes = vec![Veto {
            process: "router".parse().unwrap(),
            reason: "a call is running".into(),
        }];
        assert_snapshot!(report(&veto, Look::plain(80)), @r"
        vetoed: change 7, nothing was touched
          ! router objects: a call is running
        ");
    }

    #[test]
    fn a_rollback_says_why() {
        let mut back = ended(Outcome::RolledBack);
        back.detail = Some("nginx was not ready within 90 s\nlast line: bind() failed".into());
        back.processes = vec![touched("nginx", Verdict::Restart, Some("started twice"))];
        assert_snapshot!(report(&back, Look::plain(80)), @r"
        rolled back: change 7 failed, generation 3 runs again
          nginx was not ready within 90 s
          last line: bind() failed
          restart  nginx  away for 1.3 s, then as before
                   started twice
        ");
    }
}
