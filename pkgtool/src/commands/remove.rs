//! `pkgtool remove`: packages out of the node's store.

use clap::Args;
use model::change::{PackageRef, StatusReport};

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
    /// Do not ask, though generations cannot be gone back to afterwards
    #[arg(short, long)]
    yes: bool,
}

/// Runs it: says which generations cannot be gone back to afterwards, and asks.
pub fn run(args: &RemoveArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = node.connect()?;
    let status: StatusReport = node.ask(async |installd| installd.status().await)?;
    let lost = lost(&args.packages, &status);
    if !lost.is_empty() {
        let all: Vec<String> = lost.iter().map(ToString::to_string).collect();
        show.note(format!(
            "generation {} cannot be gone back to without it",
            all.join(", ")
        ));
        if !args.yes && !show.confirm("Go on?")? {
            show.note("nothing was removed");
            return Ok(Outcome::Done);
        }
        node.installd(async |installd| installd.forget(lost).await)?;
    }
    let names = args.packages.iter().map(ToString::to_string).collect();
    let removed = node.installd(async |installd| installd.remove(names).await)?;
    show.told(&removed, |look| lists::removed(&removed, look))?;
    Ok(Outcome::Done)
}

/// The generations that have one of these packages; none where the running one has, which the
/// daemon refuses.
fn lost(packages: &[PackageRef], status: &StatusReport) -> Vec<u64> {
    let meant = |one: &String| {
        let (name, version) = one.split_once('=').unwrap_or((one, ""));
        packages.iter().any(|package| {
            package.name.as_str() == name
                && (package.version.as_ref()).is_none_or(|wanted| wanted.to_string() == version)
        })
    };
    if status.active.iter().any(meant) {
        return Vec::new();
    }
    let all = status.generations.iter();
    let having = all.filter(|one| one.set.iter().any(meant));
    having.map(|one| one.generation.0).collect()
}

#[cfg(test)]
mod tests {
    use model::Generation;
    use model::change::GenerationStatus;

    use super::*;

    #[test]
    fn a_package_takes_the_generations_with_it_that_have_it() {
        let generation = |number, set: &[&str]| GenerationStatus {
            generation: Generation(number),
            created: String::new(),
            set: set.iter().map(ToString::to_string).collect(),
            processes: Vec::new(),
            pinned: false,
            trial: false,
        };
        let status = StatusReport {
            active: vec!["b=1".to_owned()],
            generations: vec![generation(2, &["b=1"]), generation(1, &["a=1", "b=1"])],
            ..StatusReport::default()
        };
        let parse = |text: &str| vec![text.parse().unwrap()];
        assert_eq!(lost(&parse("a"), &status), [1]);
        assert_eq!(lost(&parse("a=1"), &status), [1]);
        assert!(lost(&parse("a=2"), &status).is_empty());
        assert!(lost(&parse("b"), &status).is_empty(), "it is active");
    }
}
