//! `pkgtool remove`: packages out of the node's store.

use clap::Args;
use model::change::PackageRef;

use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::render::lists;
use crate::show::Show;

/// Arguments of `remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Packages; without a version, all versions of that name
    #[arg(required = true, value_name = "NAME[=VERSION]")]
    packages: Vec<PackageRef>,
}

/// Runs it.
pub fn run(args: &RemoveArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let names = args.packages.iter().map(ToString::to_string).collect();
    let removed = node
        .connect()?
        .installd(async |installd| installd.remove(names).await)?;
    show.told(&removed, |look| lists::removed(&removed, look))?;
    Ok(Outcome::Done)
}
