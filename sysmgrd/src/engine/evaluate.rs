//! Evaluate programs: the vote of a process that links nothing, by a program of its package.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Span;
use model::transition::{Announcement, Asked};

use super::beside::{Ended, Leash};
use super::supervised::Supervised;
use super::{Engine, Event};
use crate::process::Exit;

/// A line that begins so asks for more time: `MORE_TIME=20s`.
const MORE_TIME: &str = "MORE_TIME=";

impl Engine {
    /// Runs a process's evaluate program in the view that the process runs in, until the leash is
    /// dropped.
    pub(super) fn evaluate(
        &self,
        number: u64,
        process: &Supervised,
        asked: &Asked,
        document: &Announcement,
    ) -> Leash {
        let words = process.spec.evaluate.clone();
        let (program, leash) = self.beside(process, words, part_of(asked, document));
        let (name, handle) = (process.name().clone(), self.handle.clone());
        let (teller, speaker) = (handle.clone(), name.clone());
        tokio::spawn(async move {
            let heard = move |line: &str| {
                let Some(wanted) = more_time(line) else {
                    return;
                };
                let event = Event::ProgramWantsTime(number, speaker.clone(), wanted);
                let teller = teller.clone();
                tokio::spawn(async move { teller.send(event).await });
            };
            let vote = verdict(program.run(None, heard).await);
            handle.send(Event::Evaluated(number, name, vote)).await;
        });
        leash
    }
}

/// What an evaluate program is told of its process's part in a change.
fn part_of(asked: &Asked, document: &Announcement) -> BTreeMap<String, String> {
    let pairs = [
        ("CHANGEOVER_CHANGE", document.change.to_string()),
        ("CHANGEOVER_VERDICT", asked.verdict.to_string()),
        ("CHANGEOVER_ENTERING", document.entering.join(" ")),
        ("CHANGEOVER_LEAVING", document.leaving.join(" ")),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The time that a line asks for.
fn more_time(line: &str) -> Option<Duration> {
    line.strip_prefix(MORE_TIME)?.parse::<Span>().ok()?.limit()
}

/// The vote of an evaluate program that ended, or was not started.
fn verdict(ended: Result<Ended, String>) -> Result<(), String> {
    let no_answer = |why: &dyn std::fmt::Display| format!("no answer: its evaluate program: {why}");
    let Ended { exit, mut said, .. } = ended.map_err(|why| no_answer(&why))?;
    said.retain(|line| !line.trim().is_empty() && !line.starts_with(MORE_TIME));
    match exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(_) => {
            Err((said.pop()).unwrap_or_else(|| format!("its evaluate program {exit}")))
        }
        Exit::Signal(_) | Exit::Unknown => Err(no_answer(&exit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit: Exit, said: &[&str]) -> Ended {
        let said = said.iter().map(|&line| line.to_owned()).collect();
        let late = false;
        Ended { exit, late, said }
    }

    #[test]
    fn a_program_votes_by_its_exit_and_the_last_line_that_says_something() {
        let veto = |said| verdict(Ok(ended(Exit::Code(3), said))).unwrap_err();
        verdict(Ok(ended(Exit::Code(0), &["not now"]))).unwrap();
        assert_eq!(veto(&["looking", "7 calls", " "]), "7 calls");
        assert_eq!(
            veto(&["MORE_TIME=20s"]),
            "its evaluate program ended with exit code 3"
        );
        let crashed = verdict(Ok(ended(Exit::Signal(11), &["x"]))).unwrap_err();
        assert!(crashed.starts_with("no answer: "), "{crashed}");
    }

    #[test]
    fn more_time_is_asked_for_by_a_line() {
        assert_eq!(more_time("MORE_TIME=20s"), Some(Duration::from_secs(20)));
        assert_eq!(more_time("MORE_TIME=infinity"), None);
        assert_eq!(more_time("MORE_TIME=soon"), None);
        assert_eq!(more_time("20s"), None);
    }
}
