//! `pkgtool pin`, `unpin` and `forget`: which generations are kept to go back to.

use clap::Args;
use serde::Serialize;

use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `pin` and `unpin`.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// The generation
    #[arg(value_name = "GENERATION")]
    generation: u64,
}

/// Arguments of `forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The generations: all of them, or none
    #[arg(required = true, value_name = "GENERATION")]
    generations: Vec<u64>,
}

#[derive(Serialize)]
struct Pinned {
    generation: u64,
    kept: bool,
    news: bool,
}

/// Runs `pin`, or `unpin` where `pinned` is `false`.
pub fn run(
    args: &PinArgs,
    pinned: bool,
    node: &Address,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    let generation = args.generation;
    let news = node
        .connect()?
        .installd(async |installd| installd.pin(generation, pinned).await)?;
    let answer = Pinned {
        generation,
        kept: pinned,
        news,
    };
    show.told(&answer, |_| {
        let already = if news { "" } else { " already" };
        let what = if pinned { "pinned" } else { "not pinned" };
        format!("generation {generation} is {what}{already}\n")
    })?;
    Ok(Outcome::Done)
}

/// Runs `forget`.
pub fn forget(args: &ForgetArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let numbers = args.generations.clone();
    let gone = node
        .connect()?
        .installd(async |installd| installd.forget(numbers).await)?;
    show.told(&gone, |_| {
        let all: Vec<String> = gone.iter().map(ToString::to_string).collect();
        let all = all.join(", ");
        format!("generation {all} cannot be gone back to any more\n")
    })?;
    Ok(Outcome::Done)
}
