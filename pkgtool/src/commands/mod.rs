//! The commands, one a file.

pub mod activate;
pub mod add;
pub mod apply;
pub mod build;
pub mod change;
pub mod commit;
pub mod completions;
pub mod deactivate;
pub mod drift;
pub mod exec;
pub mod fleet;
pub mod history;
pub mod image;
pub mod import_deb;
pub mod inspect;
pub mod join;
pub mod keygen;
pub mod list;
pub mod locally;
pub mod logs;
pub mod man;
pub mod pin;
pub mod plan;
pub mod ps;
pub mod remove;
pub mod restart;
pub mod rollback;
pub mod sandbox;
pub mod sandbox_init;
pub mod sign;
pub mod status;
pub mod verify;
pub mod why;

use clap::Subcommand;

use crate::args::Cli;
use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a package from a package.toml
    Build(build::BuildArgs),
    /// Make packages of Debian packages
    ImportDeb(import_deb::ImportDebArgs),
    /// Make a composite image: packages, boot images, nodes and assignments of a fleet
    Image(image::ImageArgs),
    /// Show what is in a package, or what differs between two
    Inspect(inspect::InspectArgs),
    /// Make a key to sign packages with
    Keygen(keygen::KeygenArgs),
    /// Sign packages
    Sign(sign::SignArgs),
    /// Check who has signed packages and whether they are whole, or whether the node is as it should be
    Verify(verify::VerifyArgs),
    /// Add packages to the node's store; nothing is activated
    Add(add::AddArgs),
    /// Remove packages from the node's store
    Remove(remove::RemoveArgs),
    /// Show what a change would do, and why
    Plan(plan::PlanArgs),
    /// Put packages into the software set
    Activate(activate::ActivateArgs),
    /// Take packages out of the software set
    Deactivate(deactivate::DeactivateArgs),
    /// Carry out a batch of activations and deactivations, as one change
    Apply(apply::ApplyArgs),
    /// Make the trial that runs what the next boot runs
    Commit(commit::CommitArgs),
    /// Go back to an earlier generation, or out of a trial
    Rollback(rollback::RollbackArgs),
    /// Keep a generation to go back to until it is unpinned
    Pin(pin::PinArgs),
    /// Let a pinned generation go when newer ones have taken its place
    Unpin(pin::PinArgs),
    /// Give up generations that could be gone back to
    Forget(pin::ForgetArgs),
    /// Show the node on one screen
    Status(status::StatusArgs),
    /// List the packages in the node's store
    List(list::ListArgs),
    /// List the supervised processes
    Ps(ps::PsArgs),
    /// Show why a process, path or package is as it is
    Why(why::WhyArgs),
    /// Show what processes wrote
    Logs(logs::LogsArgs),
    /// Stop and start processes, in order
    Restart(restart::RestartArgs),
    /// Run a command in the view of the newest generation
    Exec(exec::ExecArgs),
    /// Show changes of the past
    History(history::HistoryArgs),
    /// Show processes of this machine that run something else than what is on the disk now
    Drift(drift::DriftArgs),
    /// Bring the node into a fleet
    Join(join::JoinArgs),
    /// Take the node out of its fleet; what runs runs on
    Leave(join::LeaveArgs),
    /// Speak with a fleet's master: nodes, packages, updates
    Fleet(Box<fleet::FleetArgs>),
    /// Run a command, or a shell, on a private node in a directory
    Sandbox(sandbox::SandboxArgs),
    /// The inner init of a sandbox
    #[command(hide = true)]
    SandboxInit(sandbox_init::SandboxInitArgs),
    /// Write a completion script for a shell
    #[command(hide = true)]
    Completions(completions::CompletionsArgs),
    /// Write manual pages
    #[command(hide = true)]
    Man(man::ManArgs),
}

/// Runs the command.
pub fn run(cli: &Cli, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = Address::new(cli.global.bus.as_deref());
    match &cli.command {
        Command::Build(args) => build::run(args, show),
        Command::ImportDeb(args) => import_deb::run(args, show),
        Command::Image(args) => image::run(args, show),
        Command::Inspect(args) => inspect::run(args, show),
        Command::Keygen(args) => keygen::run(args, show),
        Command::Sign(args) => sign::run(args, show),
        Command::Verify(args) => verify::run(args, &node, show),
        Command::Add(args) => add::run(args, &node, show),
        Command::Remove(args) => remove::run(args, &node, show),
        Command::Plan(args) => plan::run(args, &node, show),
        Command::Activate(args) => activate::run(args, &node, show),
        Command::Deactivate(args) => deactivate::run(args, &node, show),
        Command::Apply(args) => apply::run(args, &node, show),
        Command::Commit(args) => commit::run(args, &node, show),
        Command::Rollback(args) => rollback::run(args, &node, show),
        Command::Pin(args) => pin::run(args, true, &node, show),
        Command::Unpin(args) => pin::run(args, false, &node, show),
        Command::Forget(args) => pin::forget(args, &node, show),
        Command::Status(args) => status::run(args, &node, show),
        Command::List(args) => list::run(args, &node, show),
        Command::Ps(args) => ps::run(args, &node, show),
        Command::Why(args) => why::run(args, &node, show),
        Command::Logs(args) => logs::run(args, &node, show),
        Command::Restart(args) => restart::run(args, &node, show),
        Command::Exec(args) => exec::run(args, &node, show),
        Command::History(args) => history::run(args, &node, show),
        Command::Drift(args) => drift::run(args, show),
        Command::Join(args) => join::run(args, &node, show),
        Command::Leave(args) => join::leave(args, &node, show),
        Command::Fleet(args) => fleet::run(args, show),
        Command::Sandbox(args) => sandbox::run(args, show),
        Command::SandboxInit(args) => sandbox_init::run(args, show),
        Command::Completions(args) => completions::run(args, show),
        Command::Man(args) => man::run(args, show),
    }
}
