//! `fleet plan` and `fleet update`.

use clap::Args;
use model::PackageName;
use model::change::PackageRef;
use model::wire::{FleetPlan, RolloutId, RolloutView, Update};

use super::select::SelectArgs;
use super::strategy::StrategyArgs;
use super::watch;
use crate::fleet::Master;
use crate::outcome::{CommandError, Kind, Outcome};
use crate::render;
use crate::show::Show;

/// What an update is to do.
#[derive(Debug, Clone, Args)]
pub struct WhatArgs {
    /// Packages that the nodes get besides what is assigned: NAME or NAME=VERSION
    packages: Vec<PackageRef>,
    /// A package that leaves
    #[arg(long, value_name = "NAME")]
    remove: Vec<PackageName>,
    /// An image that was imported: its packages, nodes and assignments
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    strategy: StrategyArgs,
}

/// Arguments of `fleet plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    what: WhatArgs,
}

/// Arguments of `fleet update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// How it is begun.
    #[command(flatten)]
    begin: BeginArgs,
}

/// Options of every command that begins an update.
#[derive(Debug, Clone, Args)]
pub struct BeginArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Stay until it has ended or somebody has to decide
    #[arg(short, long)]
    pub wait: bool,
    /// Only show the plan
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Why, for the audit log and for those who are asked
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub reason: String,
    /// Put this unfinished update of the same nodes aside
    #[arg(long, value_name = "UPDATE")]
    supersede: Option<u64>,
    /// A repeated command with the same key starts nothing twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl BeginArgs {
    /// The update with these.
    pub fn finish(&self, update: Update) -> Update {
        Update {
            supersede: self.supersede.map(RolloutId),
            idempotency_key: self.idempotency_key.clone(),
            reason: self.reason.clone(),
            ..update
        }
    }
}

impl WhatArgs {
    fn update(&self) -> Result<Update, CommandError> {
        Ok(Update {
            nodes: self.select.selector(),
            image: self.image.clone(),
            packages: self.packages.clone(),
            remove: self.remove.clone(),
            strategy: self.strategy.strategy()?,
            ..Update::default()
        })
    }
}

/// Runs `fleet plan`.
pub fn plan(args: &PlanArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    show_plan(&args.what.update()?, master, show)
}

fn show_plan(update: &Update, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let plan: FleetPlan = master.post("/v1/plan", update)?;
    show.answer(&plan, |look| render::fleet::plan::plan(&plan, look))?;
    if plan.discrepancies.is_empty() {
        Ok(Outcome::Done)
    } else {
        Ok(Outcome::Ended(Kind::Dependencies))
    }
}

/// Runs `fleet update`.
pub fn run(args: &UpdateArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let update = args.begin.finish(args.what.update()?);
    begin(&update, &args.begin, master, show)
}

/// Shows the plan, asks, begins the update, and stays with it where that is wanted.
pub fn begin(
    update: &Update,
    how: &BeginArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    if how.dry_run {
        return show_plan(update, master, show);
    }
    if !how.yes || !(show.json() || show.quiet()) {
        let plan: FleetPlan = master.post("/v1/plan", update)?;
        if !show.json() {
            let text = render::fleet::plan::plan(&plan, show.look());
            show.text(&text)?;
        }
        let takes_part = |node: &&model::wire::PlannedNode| node.left_out.is_none();
        let count = plan.nodes.iter().filter(takes_part).count();
        if count == 0 && plan.discrepancies.is_empty() && update.image.is_none() {
            show.note("nothing to do");
            return Ok(Outcome::Done);
        }
        if !how.yes && !show.confirm("\nAsk these nodes, and change them over if all accept?")? {
            show.note("nothing was asked");
            return Ok(Outcome::Done);
        }
    }
    let begun: RolloutView = master.post("/v1/updates", update)?;
    if !how.wait {
        let id = begun.id;
        show.told(&begun, |look| render::fleet::rollout::head(&begun, look))?;
        show.note(format_args!("pkgtool fleet watch {id} follows it"));
        return Ok(Outcome::Done);
    }
    show.note(format_args!("update {} has begun", begun.id));
    watch::stay(begun.id, master, show)
}
