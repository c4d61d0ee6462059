//! `pkgtool fleet`: a master and its nodes.

pub mod assign;
pub mod decide;
pub mod goback;
pub mod groups;
pub mod images;
pub mod import;
pub mod nodes;
pub mod people;
pub mod select;
pub mod show;
pub mod status;
pub mod strategy;
pub mod update;
pub mod watch;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::fleet::ProfileFile;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `fleet`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
With --wait, of an update:
  0  done
  3  vetoed or held: nothing was touched, or an operator is to decide
  4  dependencies unmet
  5  another update has these nodes, or took its place
  6  not allowed
  7  taken back
  8  stopped or partial: some nodes run it, some do not")]
pub struct FleetArgs {
    /// The operator's profile; ~/.config/changeover/fleet.toml where absent
    #[arg(
        long,
        global = true,
        env = "CHANGEOVER_FLEET",
        hide_env_values = true,
        value_name = "FILE"
    )]
    profile: Option<PathBuf>,
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// Show the fleet on one screen
    Status(status::StatusArgs),
    /// List nodes, show one and why it is as it is, or change what the master knows of one
    Nodes(nodes::NodesArgs),
    /// List classes, and whether their nodes run the same software
    Classes(status::ClassesArgs),
    /// Show or edit what is intended for the fleet, a type, class, location or node
    Assign(assign::AssignArgs),
    /// Bring packages or a composite image to the master
    Import(import::ImportArgs),
    /// List the master's packages, all versions
    Packages(import::PackagesArgs),
    /// List composite images, or take a version away
    Images(images::ImagesArgs),
    /// Free the master's disk of what nothing names any more
    Collect(images::CollectArgs),
    /// List, save and forget groups of nodes, for --group
    Groups(groups::GroupsArgs),
    /// Show whether nodes can go back to a version now; nobody is asked
    Goback(goback::GoBackArgs),
    /// Show what an update would do; nobody is asked
    Plan(update::PlanArgs),
    /// Ask the nodes, and change them over when all accept
    Update(update::UpdateArgs),
    /// List updates
    Updates(show::UpdatesArgs),
    /// Show an update: votes, reasons, every node
    Show(show::ShowArgs),
    /// Watch an update, or the fleet, live
    Watch(watch::WatchArgs),
    /// Decide about an update that is held
    Decide(decide::DecideArgs),
    /// Begin nothing new in an update
    Pause(decide::NumberArgs),
    /// Go on with a paused update
    Resume(decide::NumberArgs),
    /// Agree, as another operator, that an update begins
    Approve(decide::NumberArgs),
    /// Take an update back: its nodes go to what they ran before
    Rollback(decide::RollbackArgs),
    /// Keep what an update runs as a trial
    Commit(decide::NumberArgs),
    /// List, make and end enrolment tokens for nodes
    Tokens(people::TokensArgs),
    /// List, add and remove operators
    Operators(people::OperatorsArgs),
    /// Show who did what, and why
    Audit(people::AuditArgs),
}

/// Runs it.
pub fn run(args: &FleetArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let profile = ProfileFile::new(args.profile.as_deref());
    let master = profile.connect()?;
    match &args.command {
        FleetCommand::Status(args) => status::run(args, &master, show),
        FleetCommand::Nodes(args) => nodes::run(args, &master, show),
        FleetCommand::Classes(args) => status::classes(args, &master, show),
        FleetCommand::Assign(args) => assign::run(args, &master, show),
        FleetCommand::Import(args) => import::run(args, &master, show),
        FleetCommand::Packages(args) => import::packages(args, &master, show),
        FleetCommand::Images(args) => images::run(args, &master, show),
        FleetCommand::Collect(args) => images::collect(args, &master, show),
        FleetCommand::Groups(args) => groups::run(args, &master, show),
        FleetCommand::Goback(args) => goback::run(args, &master, show),
        FleetCommand::Plan(args) => update::plan(args, &master, show),
        FleetCommand::Update(args) => update::run(args, &master, show),
        FleetCommand::Updates(args) => show::list(args, &master, show),
        FleetCommand::Show(args) => show::run(args, &master, show),
        FleetCommand::Watch(args) => watch::run(args, &master, show),
        FleetCommand::Decide(args) => decide::run(args, &master, show),
        FleetCommand::Pause(args) => decide::pause(args, &master, show),
        FleetCommand::Resume(args) => decide::resume(args, &master, show),
        FleetCommand::Approve(args) => decide::approve(args, &master, show),
        FleetCommand::Rollback(args) => decide::rollback(args, &master, show),
        FleetCommand::Commit(args) => decide::commit(args, &master, show),
        FleetCommand::Tokens(args) => people::tokens(args, &master, show),
        FleetCommand::Operators(args) => people::operators(args, &master, show),
        FleetCommand::Audit(args) => people::audit(args, &master, show),
    }
}
