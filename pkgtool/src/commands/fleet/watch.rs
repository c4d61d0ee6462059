//! `fleet watch`: one screen, drawn anew as things change.

use clap::Args;
use model::wire::{FleetView, RolloutId, RolloutView};

use crate::fleet::{Live, Master, Watched, end_of};
use crate::outcome::{CommandError, Outcome};
use crate::render::fleet::rollout;
use crate::show::{Screen, Show};

/// Arguments of `fleet watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The update's number; the newest that has not ended where absent
    id: Option<u64>,
}

/// Runs it.
pub fn run(args: &WatchArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let id = match args.id {
        Some(id) => RolloutId(id),
        None => newest(master)?,
    };
    stay(id, master, show)
}

fn newest(master: &Master) -> Result<RolloutId, CommandError> {
    let fleet: FleetView = master.get("/v1/fleet")?;
    let newest = fleet.rollouts.iter().max().copied();
    newest.ok_or_else(|| {
        CommandError::failed("no update is on its way").hint("pkgtool fleet updates --all")
    })
}

/// Stays with an update until it has ended or somebody has to decide.
pub fn stay(id: RolloutId, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut live = Live::new(master, id);
    let mut screen = show.screen().filter(|_| !show.quiet());
    let (mut told, mut away) = (String::new(), false);
    loop {
        match live.change()? {
            Watched::Changed(view) => {
                if std::mem::take(&mut away) {
                    show.note("the master is back");
                }
                if let Some(outcome) = end_of(&view) {
                    return end(&view, outcome, screen, show);
                }
                step(&view, &mut screen, &mut told, show)?;
            }
            Watched::Away(why) => {
                away = true;
                show.warn(format_args!("the master is away, waiting for it ({why})"));
            }
        }
    }
}

/// One look at an update that goes on: on a terminal the screen, for programs a document, else a
/// line where the line differs.
fn step(
    view: &RolloutView,
    screen: &mut Option<Screen>,
    told: &mut String,
    show: &mut Show,
) -> Result<(), CommandError> {
    if show.json() {
        show.document(view)?;
        return Ok(());
    }
    if let Some(screen) = screen {
        let rows = screen.rows();
        screen.draw(&rollout::live(view, rows, show.look()))?;
        return Ok(());
    }
    let line = rollout::line(view);
    if line != *told {
        show.note(&line);
        *told = line;
    }
    Ok(())
}

fn end(
    view: &RolloutView,
    outcome: Outcome,
    mut screen: Option<Screen>,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    if let Some(screen) = &mut screen {
        screen.draw("")?;
    }
    let text = |look| rollout::rollout(view, rollout::MOST_NODES, look);
    if outcome == Outcome::Done {
        show.told(view, text)?;
    } else {
        show.answer(view, text)?;
    }
    Ok(outcome)
}
