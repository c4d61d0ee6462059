//! `fleet groups`: selections under a name, for `--group NAME`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use model::wire::{FleetName, Selector};

use super::select::SelectArgs;
use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet groups`.
#[derive(Debug, Args)]
pub struct GroupsArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Save a selection, in the place of one of that name
    Save(SaveArgs),
    /// Forget one
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
struct SaveArgs {
    /// Under this name
    name: FleetName,
    #[command(flatten)]
    select: SelectArgs,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Which
    name: FleetName,
}

/// Runs it.
pub fn run(args: &GroupsArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    match &args.what {
        None => {
            let groups: BTreeMap<FleetName, Selector> = master.get("/v1/groups")?;
            show.answer(&groups, |look| render::fleet::images::groups(&groups, look))?;
        }
        Some(What::Save(args)) => {
            let selector = args.select.selector();
            if selector.is_empty() {
                let name = &args.name;
                return Err(CommandError::usage("no node is named")
                    .hint(format!("pkgtool fleet groups save {name} --class edge")));
            }
            put(&args.name, &selector, master)?;
            let said = render::fleet::images::said(&selector);
            let name = &args.name;
            show.told(&selector, |_| format!("--group {name} means {said}\n"))?;
        }
        Some(What::Remove(args)) => {
            put(&args.name, &Selector::default(), master)?;
            let gone = serde_json::json!({ "removed": args.name });
            show.told(&gone, |_| format!("group {} is gone\n", args.name))?;
        }
    }
    Ok(Outcome::Done)
}

/// An empty selection takes the group away.
fn put(name: &FleetName, selector: &Selector, master: &Master) -> Result<(), CommandError> {
    let path = format!("/v1/groups/{name}");
    master.put::<serde_json::Value>(&path, selector).map(drop)
}
