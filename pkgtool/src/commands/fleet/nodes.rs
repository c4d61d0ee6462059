//! `fleet nodes`.

use clap::{Args, Subcommand};
use model::wire::{FleetName, NodeEdit, NodeName, NodeView, NodeWhy, Presence};

use super::select::{SelectArgs, label};
use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet nodes`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct NodesArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Clone, Default, Args)]
struct ListArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Only nodes that run a trial
    #[arg(long)]
    trial: bool,
    /// Only nodes that are away
    #[arg(long)]
    away: bool,
    /// Only nodes with a discrepancy
    #[arg(long)]
    discrepancies: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show one node: what is assigned, wanted, installed
    Show(ShowArgs),
    /// Let a node in that asks to be
    Accept(AcceptArgs),
    /// Its certificate does not count any more, and it is no part of the fleet
    Retire(NodeArg),
    /// Another machine takes its place: the next one that enrols under this name is it
    Replace(NodeArg),
    /// Its certificate does not count any more; the node stays in the fleet's books
    Revoke(NodeArg),
    /// Believe a node again of which two were connected
    Unquarantine(NodeArg),
    /// Set labels, or the type and location that count whatever the node says
    Label(LabelArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Which
    name: NodeName,
    /// Where each thing that holds for it was said
    #[arg(long)]
    why: bool,
}

#[derive(Debug, Args)]
struct NodeArg {
    /// Which
    name: NodeName,
}

#[derive(Debug, Args)]
struct AcceptArgs {
    /// Which
    name: NodeName,
    /// The fingerprint of its key, as it was read at the node: another key is not let in
    #[arg(long, value_name = "HASH")]
    fingerprint: Option<String>,
}

#[derive(Debug, Args)]
struct LabelArgs {
    /// Which
    name: NodeName,
    /// Labels to set; without a value the label goes
    #[arg(value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(FleetName, String)>,
    /// The type that counts; empty: what the node says
    #[arg(long = "type", value_name = "NAME")]
    node_type: Option<String>,
    /// The location that counts; empty: what the node says
    #[arg(long, value_name = "NAME")]
    location: Option<String>,
}

/// Runs it.
pub fn run(args: &NodesArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    match &args.what {
        None => list(&args.list, master, show),
        Some(What::Show(args)) => show_one(args, master, show),
        Some(What::Accept(args)) => accept(args, master, show),
        Some(What::Retire(args)) => tell(&args.name, "retire", "is retired", master, show),
        Some(What::Replace(args)) => {
            let words = "may be enrolled anew, by another machine";
            tell(&args.name, "replace", words, master, show)
        }
        Some(What::Revoke(args)) => {
            let words = "is not believed any more";
            tell(&args.name, "revoke", words, master, show)
        }
        Some(What::Unquarantine(args)) => tell(
            &args.name,
            "unquarantine",
            "is believed again",
            master,
            show,
        ),
        Some(What::Label(args)) => edit(args, master, show),
    }
}

fn list(args: &ListArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut nodes: Vec<NodeView> = master.get("/v1/nodes")?;
    nodes.retain(|node| wanted(args, node));
    let now = jiff::Timestamp::now();
    show.answer(&nodes, |look| {
        render::fleet::lists::nodes(&nodes, now, look)
    })?;
    Ok(Outcome::Done)
}

/// Whether a listed node is meant.
fn wanted(args: &ListArgs, node: &NodeView) -> bool {
    let select = &args.select;
    let of = |given: &[FleetName], has: &Option<FleetName>| {
        given.is_empty() || has.as_ref().is_some_and(|has| given.contains(has))
    };
    let facts = &node.facts;
    let class = || facts.classes.iter().any(|one| select.classes.contains(one));
    let runs_trial = || node.installed.as_ref().is_some_and(|one| one.trial);
    (select.nodes.is_empty() || select.nodes.contains(&node.name))
        && (select.classes.is_empty() || class())
        && of(&select.node_types, &facts.node_type)
        && of(&select.locations, &facts.location)
        && (select.labels.iter()).all(|(name, value)| node.labels.get(name) == Some(value))
        && (!args.trial || runs_trial())
        && (!args.away || matches!(node.presence, Presence::Away { .. }))
        && (!args.discrepancies || !node.discrepancies.is_empty())
}

fn show_one(args: &ShowArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let now = jiff::Timestamp::now();
    if args.why {
        let why: NodeWhy = master.get(&format!("/v1/nodes/{}/why", args.name))?;
        show.answer(&why, |look| render::fleet::node::why(&why, now, look))?;
    } else {
        let node: NodeView = master.get(&format!("/v1/nodes/{}", args.name))?;
        show.answer(&node, |look| render::fleet::node::node(&node, now, look))?;
    }
    Ok(Outcome::Done)
}

fn tell(
    name: &NodeName,
    verb: &str,
    became: &str,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    let answer: serde_json::Value = master.tell(&format!("/v1/nodes/{name}/{verb}"))?;
    show.told(&answer, |_| format!("{name} {became}\n"))?;
    Ok(Outcome::Done)
}

fn accept(args: &AcceptArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let name = &args.name;
    let body = match &args.fingerprint {
        Some(fingerprint) => serde_json::json!({ "fingerprint": fingerprint }),
        None => serde_json::json!({}),
    };
    let path = format!("/v1/nodes/{name}/accept");
    let answer: serde_json::Value = master.post(&path, &body)?;
    show.told(&answer, |_| format!("{name} is in the fleet\n"))?;
    Ok(Outcome::Done)
}

fn edit(args: &LabelArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let edit = NodeEdit {
        labels: args.labels.iter().cloned().collect(),
        node_type: args.node_type.clone(),
        location: args.location.clone(),
    };
    if edit == NodeEdit::default() {
        return Err(CommandError::usage("nothing to set")
            .hint("pkgtool fleet nodes label NODE rack=7 --location lab"));
    }
    let answer: serde_json::Value = master.put(&format!("/v1/nodes/{}", args.name), &edit)?;
    show.told(&answer, |_| format!("{}: set\n", args.name))?;
    Ok(Outcome::Done)
}
