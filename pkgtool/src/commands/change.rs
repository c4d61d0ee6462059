//! What `plan`, `activate`, `deactivate` and `apply` share: show the plan, ask, carry it out,
//! say how it ended.

use std::time::Duration;

use clap::{Args, ValueEnum};
use model::bus;
use model::change::{
    Action, ChangeReport, Failure, Outcome as End, PackageRef, PlanReport, Request,
};
use model::{ProcessName, Span};

use super::locally::LocallyArgs;
use crate::node::{Address, Node};
use crate::outcome::{CommandError, Kind, Outcome};
use crate::render;
use crate::show::Show;

/// Options of every command that changes the software set.
#[derive(Debug, Clone, Default, Args)]
pub struct ChangeArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only show the plan
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// What else the change is asked with.
    #[command(flatten)]
    how: HowArgs,
    /// What to do when the new software does not come up
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_failure: OnFailure,
    /// With --json: a line for each step before the last one
    #[arg(long)]
    progress: bool,
    /// On a node that a fleet manages.
    #[command(flatten)]
    locally: LocallyArgs,
}

/// How a change is carried out; a plan of it takes these too.
#[derive(Debug, Clone, Default, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of a command line"
)]
pub struct HowArgs {
    /// Override vetoes; they are asked for, shown and recorded all the same
    #[arg(long)]
    force: bool,
    /// Override the vetoes of this process only
    #[arg(long, value_name = "PROCESS")]
    force_process: Vec<ProcessName>,
    /// Run it from memory: gone after a reboot unless it is committed
    #[arg(long)]
    trial: bool,
    /// With --trial: let it change files below /etc; the next boot undoes that
    #[arg(long, requires = "trial")]
    with_config: bool,
    /// Go on though a process's state cannot be taken back
    #[arg(long)]
    one_way: bool,
    /// How long what is started must stay up before the change is done (5s, 1min, 0)
    #[arg(long, value_name = "SPAN")]
    settle: Option<Span>,
}

impl HowArgs {
    /// The request for these actions.
    pub fn request(&self, actions: Vec<Action>) -> Request {
        let millis = |span: Span| {
            let limit = span.limit().unwrap_or(Duration::from_hours(1));
            u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
        };
        Request {
            actions,
            force: self.force,
            force_processes: self.force_process.clone(),
            trial: self.trial,
            with_config: self.with_config,
            one_way: self.one_way,
            settling_ms: self.settle.map(millis),
            ..Request::default()
        }
    }
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
            keep_on_failure,
            ..self.how.request(actions)
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
    carry_out_request(&args.request(actions), args, node, show)
}

/// The same for a request that is put together already.
pub fn carry_out_request(
    request: &Request,
    args: &ChangeArgs,
    node: &Address,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    // Not `requires`: clap does not see a global option that stands before the command.
    if args.progress && !show.json() {
        let text = "--progress is for programs and goes with --json; people see it anyway";
        return Err(CommandError::usage(text));
    }
    if args.dry_run {
        return plan(request, node, show);
    }
    let node = node.connect()?;
    if !show.json() || !args.yes {
        let report = ask_for_plan(&node, request, show)?;
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
    args.locally.hold(&node, show)?;
    let report = apply(&node, request, args, show)?;
    finish(&report, show)
}

/// Says how a change ended.
pub fn finish(report: &ChangeReport, show: &mut Show) -> Result<Outcome, CommandError> {
    let text = |look| render::change::report(report, look);
    if report.outcome == End::Done {
        show.told(report, text)?;
    } else {
        show.answer(report, text)?;
    }
    if let Some(next) = next_step(report) {
        show.note(next);
    }
    if report.trial {
        show.note("a reboot ends it: pkgtool commit keeps it, pkgtool rollback ends it now");
    }
    Ok(outcome(report))
}

/// What can be typed after a change that did not end as it should.
fn next_step(report: &ChangeReport) -> Option<String> {
    let number = report.change;
    match (report.outcome, report.failure) {
        (End::Vetoed, _) if !report.vetoes.is_empty() => {
            let mut options: Vec<String> = (report.vetoes.iter())
                .map(|veto| format!("--force-process {}", veto.process))
                .collect();
            options.dedup();
            let each = options.join(" ");
            Some(format!(
                "{each} goes on all the same, --force whoever objects; it is recorded"
            ))
        }
        (End::Failed, _) if report.unfinished => Some(format!(
            "installd tries again by itself until it is done: pkgtool status says when. All of it: \
             pkgtool history show {number}"
        )),
        (End::Failed, Some(Failure::Kept)) => {
            Some("pkgtool rollback goes back to what ran before".to_owned())
        }
        (End::Failed, Some(Failure::RollbackFailed)) => Some(format!(
            "pkgtool ps shows what is down; when the reason is gone: pkgtool restart NAME. \
             All of it: pkgtool history show {number}"
        )),
        (End::RolledBack, _) => Some(format!("all of it: pkgtool history show {number}")),
        _ => None,
    }
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
