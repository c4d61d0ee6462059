//! `pkgtool status`: the node in one document.

use clap::Args;
use model::change::StatusReport;
use model::wire::{MemberState, Membership};
use serde::Serialize;

use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {}

/// Runs it.
pub fn run(_args: &StatusArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = node.connect()?;
    let report: StatusReport = node.ask(async |installd| installd.status().await)?;
    let fleet: Membership = node.ask(async |installd| installd.fleet().await)?;
    let answer = NodeStatus {
        report,
        fleet: (fleet.state != MemberState::Alone).then_some(fleet),
    };
    show.answer(&answer, |look| {
        let now = jiff::Timestamp::now();
        let mut text = render::lists::status(&answer.report, now, look);
        if let Some(fleet) = &answer.fleet {
            text.push_str(&render::fleet::node::fleet_part(fleet, now, look));
        }
        text
    })?;
    Ok(Outcome::Done)
}

/// The node, and how it stands to its fleet.
#[derive(Debug, Serialize)]
struct NodeStatus {
    #[serde(flatten)]
    report: StatusReport,
    /// Absent: it is in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<Membership>,
}
