//! `fleet goback`.

use clap::Args;
use model::change::PackageRef;
use model::wire::{GoBack, GoBackQuestion};

use super::select::SelectArgs;
use crate::fleet::Master;
use crate::outcome::{CommandError, Kind, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet goback`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Looks at what the nodes run, what their stores and the master have, and at the dependencies of the
whole fleet as if all that can went back at once. Processes vote only when the update is begun.

Ends with:
  0  every node that runs another version can go back now
  1  none of the nodes runs any version of it
  4  some cannot")]
pub struct GoBackArgs {
    /// To what: NAME=VERSION
    #[arg(value_name = "NAME=VERSION")]
    to: PackageRef,
    /// Name every node, also where there are many alike
    #[arg(short = 'l', long)]
    long: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// Runs it; without a selection the whole fleet is meant.
pub fn run(args: &GoBackArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    if args.to.version.is_none() {
        let to = &args.to;
        return Err(CommandError::usage(format!("{to} names no version"))
            .hint(format!("pkgtool fleet goback {to}=VERSION"))
            .hint(format!("pkgtool fleet packages {to} lists versions")));
    }
    let mut nodes = args.select.selector();
    if nodes.is_empty() {
        nodes.all = true;
    }
    let question = GoBackQuestion {
        nodes,
        to: args.to.clone(),
    };
    let answer: GoBack = master.post("/v1/goback", &question)?;
    if answer.nodes.is_empty() {
        return Err(CommandError::failed("no node is meant").hint("pkgtool fleet nodes"));
    }
    let most = if args.long {
        usize::MAX
    } else {
        render::fleet::rollout::MOST_NODES
    };
    show.answer(&answer, |look| {
        render::fleet::goback::answer(&answer, most, look)
    })?;
    Ok(end(&answer))
}

fn end(answer: &GoBack) -> Outcome {
    if answer.cannot > 0 {
        return Outcome::Ended(Kind::Dependencies);
    }
    if answer.can == 0 && answer.run_it == 0 {
        return Outcome::Ended(Kind::Failed);
    }
    Outcome::Done
}
