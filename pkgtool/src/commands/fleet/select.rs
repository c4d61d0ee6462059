//! Which nodes are meant.

use clap::Args;
use model::wire::{ClassName, FleetName, NodeName, Selector};

/// Options that say which nodes are meant; a node must match each kind that is given.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which nodes (each kind given narrows)")]
pub struct SelectArgs {
    /// This node; may be repeated
    #[arg(long = "node", value_name = "NAME")]
    pub nodes: Vec<NodeName>,
    /// Nodes of this class; may be repeated
    #[arg(long = "class", value_name = "NAME")]
    pub classes: Vec<ClassName>,
    /// Nodes of this type; may be repeated
    #[arg(long = "type", value_name = "NAME")]
    pub node_types: Vec<FleetName>,
    /// Nodes at this location; may be repeated
    #[arg(long = "location", value_name = "NAME")]
    pub locations: Vec<FleetName>,
    /// Nodes with this label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(FleetName, String)>,
    /// Nodes of this saved group
    #[arg(long, value_name = "NAME")]
    pub group: Option<FleetName>,
    /// Every node
    #[arg(long)]
    pub all: bool,
}

impl SelectArgs {
    /// The selector that they mean.
    pub fn selector(&self) -> Selector {
        Selector {
            nodes: self.nodes.clone(),
            classes: self.classes.clone(),
            node_types: self.node_types.clone(),
            locations: self.locations.clone(),
            labels: self.labels.iter().cloned().collect(),
            group: self.group.clone(),
            all: self.all,
        }
    }
}

/// `NAME=VALUE`.
pub fn label(text: &str) -> Result<(FleetName, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    Ok((name, value.to_owned()))
}
