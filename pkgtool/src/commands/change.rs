//! What `plan`, `activate`, `deactivate` and `apply` share: show the plan, ask, carry it out,
//! say how it ended.

use clap::{Args, ValueEnum};
use model::bus;
use model::change::{
    Action, ChangeReport, Failure, Outcome as End, PackageRef, PlanReport, Request,
};

use crate::node::{Address, Node};
use crate::outcome::{CommandError, Kind, Outcome};
use crate::render;
use crate::show::Show;

/// Options of every command that changes the software set.
#[derive(Debug, Clone, Default, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of a command line"
)]
pub struct ChangeArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only show the plan
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Override vetoes; they are asked for, shown and recorded all the same
    #[arg(long)]
    force: bool,
    /// What to do when the new software does not come up
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_failure: OnFailure,
    /// With --json: a line for each step before the last one
    #[arg(long)]
    progress: bool,
}

/// What to do when the new software does not come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OnFailure {
    /// Go back to the old set.
    #[default]
    RollBack,
    /// Keep the new set.
    Keep,
}

impl ChangeArgs {
    /// The request for these actions.
    pub fn request(&self, actions: Vec<Action>) -> Request {
        let keep_on_failure = self.on_failure == OnFailure::Keep;
        Request {
            actions,
            force: self.force,
            keep_on_failure,
            ..Request::default()
        }
    }
}

/// `activate` or `deactivate` of each of these.
pub fn actions(packages: &[PackageRef], action: fn(PackageRef) -> Action) -> Vec<Action> {
    packages.iter().cloned().map(action).collect()
}

/// Shows what the request would do. Unmet dependencies are exit code 4, as they would be when
/// carried out.
pub fn plan(request: &Request, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let report = ask_for_plan(&node.connect()?, request, show)?;
    show.answer(&report, |look| render::plan::plan(&report, look))?;
    if report.unmet.is_empty() {
        Ok(Outcome::Done)
    } else {
        Ok(Outcome::Ended(Kind::Dependencies))
    }
}

/// Shows the plan, asks, and carries it out.
pub fn carry_out(
    actions: Vec<Action>,
    args: &ChangeArgs,
    node: &Address,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    // Not `requires`: clap does not see a global option that stands before the command.
    if args.progress && !show.json() {
        let text = "--progress is for programs and goes with --json; people see it anyway";
        return Err(CommandError::usage(text));
    }
    let request = args.request(actions);
    if args.dry_run {
        return plan(&request, node, show);
    }
    let node = node.connect()?;
    if !show.json() || !args.yes {
        let report = ask_for_plan(&node, &request, show)?;
        if !report.unmet.is_empty() {
            show.answer(&report, |look| render::plan::plan(&report, look))?;
            return Ok(Outcome::Ended(Kind::Dependencies));
        }
        let silent = show.json() || (show.quiet() && args.yes);
        if !silent {
            let text = render::plan::plan(&report, show.look());
            show.text(&text)?;
        }
        if !args.yes && render::plan::does_something(&report) && !show.confirm("\nGo on?")? {
            show.note("nothing was changed");
            return Ok(Outcome::Done);
        }
        if !silent {
            show.line("")?;
        }
    }
    let report = apply(&node, &request, args, show)?;
    let text = |look| render::change::report(&report, look);
    if report.outcome == End::Done {
        show.told(&report, text)?;
    } else {
        show.answer(&report, text)?;
    }
    if report.outcome == End::Vetoed {
        show.note("--force overrides objections; they are recorded all the same");
    }
    Ok(outcome(&report))
}

fn ask_for_plan(node: &Node, request: &Request, show: &Show) -> Result<PlanReport, CommandError> {
    let document = bus::encode(request)?;
    let mut line = show.progress();
    node.ask_showing(async |installd| installd.plan(&document).await, &mut line)
}

fn apply(
    node: &Node,
    request: &Request,
    args: &ChangeArgs,
    show: &mut Show,
) -> Result<ChangeReport, CommandError> {
    let document = bus::encode(request)?;
    let call = async |installd: &bus::installd::ManagerProxy<'_>| installd.apply(&document).await;
    if !args.progress {
        let mut line = show.progress();
        return node.ask_showing(call, &mut line);
    }
    let mut printed = Ok(());
    let answer = node.ask_with_progress(call, |step| {
        if printed.is_ok() {
            printed = show.document(&serde_json::json!({ "progress": step }));
        }
    });
    printed?;
    answer
}

/// The exit code for the end of a change.
fn outcome(report: &ChangeReport) -> Outcome {
    match (report.outcome, report.failure) {
        (End::Done, _) => Outcome::Done,
        (End::RolledBack, _) => Outcome::Ended(Kind::RolledBack),
        (End::Vetoed, _) => Outcome::Ended(Kind::Vetoed),
        (End::Failed, Some(Failure::Kept)) => Outcome::Ended(Kind::Kept),
        (End::Failed, Some(Failure::RollbackFailed)) => Outcome::Ended(Kind::RollbackFailed),
        (End::Failed, Some(Failure::Unchanged) | None) => Outcome::Ended(Kind::Failed),
    }
}

#[cfg(test)]
mod tests {
    use model::{ChangeId, Generation};

    use super::*;

    #[test]
    fn every_end_has_its_exit_code() {
        let report = |outcome, failure| ChangeReport {
            failure,
            ..ChangeReport::new(ChangeId(1), outcome, Generation(1))
        };
        let cases = [
            (report(End::Done, None), Outcome::Done),
            (
                report(End::RolledBack, None),
                Outcome::Ended(Kind::RolledBack),
            ),
            (report(End::Vetoed, None), Outcome::Ended(Kind::Vetoed)),
            (
                report(End::Failed, Some(Failure::Unchanged)),
                Outcome::Ended(Kind::Failed),
            ),
            (
                report(End::Failed, Some(Failure::Kept)),
                Outcome::Ended(Kind::Kept),
            ),
            (
                report(End::Failed, Some(Failure::RollbackFailed)),
                Outcome::Ended(Kind::RollbackFailed),
            ),
        ];
        for (report, expected) in cases {
            assert_eq!(outcome(&report), expected, "{report:?}");
        }
    }
}
