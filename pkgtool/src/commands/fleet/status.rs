//! `fleet status` and `fleet classes`.

use clap::Args;
use model::wire::{ClassView, FleetView, RolloutView};

use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet status`.
#[derive(Debug, Args)]
pub struct StatusArgs {}

/// Arguments of `fleet classes`.
#[derive(Debug, Args)]
pub struct ClassesArgs {}

/// Runs `fleet status`.
pub fn run(_: &StatusArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let fleet: FleetView = master.get("/v1/fleet")?;
    let mut rollouts: Vec<RolloutView> = Vec::new();
    if !show.json() {
        for id in &fleet.rollouts {
            rollouts.push(master.get(&format!("/v1/rollouts/{id}"))?);
        }
    }
    show.answer(&fleet, |look| {
        render::fleet::lists::status(&fleet, &rollouts, look)
    })?;
    Ok(Outcome::Done)
}

/// Runs `fleet classes`.
pub fn classes(_: &ClassesArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let classes: Vec<ClassView> = master.get("/v1/classes")?;
    show.answer(&classes, |look| {
        render::fleet::lists::classes(&classes, look)
    })?;
    Ok(Outcome::Done)
}
