//! `fleet updates` and `fleet show`.

use clap::Args;
use model::wire::RolloutView;

use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet updates`.
#[derive(Debug, Args)]
pub struct UpdatesArgs {
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
}

/// Arguments of `fleet show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The update's number
    id: u64,
    /// Every node, also where there are many alike
    #[arg(short, long)]
    all: bool,
}

/// Runs `fleet updates`.
pub fn list(args: &UpdatesArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut all: Vec<RolloutView> = master.get("/v1/rollouts")?;
    if !args.all {
        all.retain(|one| !one.phase.is_end());
    }
    let now = jiff::Timestamp::now();
    show.answer(&all, |look| render::fleet::rollout::list(&all, now, look))?;
    if all.is_empty() && !args.all {
        show.note("no update is on its way; --all lists those that have ended");
    }
    Ok(Outcome::Done)
}

/// Runs `fleet show`.
pub fn run(args: &ShowArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let view: RolloutView = master.get(&format!("/v1/rollouts/{}", args.id))?;
    let most = if args.all {
        usize::MAX
    } else {
        render::fleet::rollout::MOST_NODES
    };
    show.answer(&view, |look| {
        render::fleet::rollout::rollout(&view, most, look)
    })?;
    Ok(Outcome::Done)
}
