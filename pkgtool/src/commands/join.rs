//! `pkgtool join` and `pkgtool leave`: the node comes into a fleet, and out of it.

use std::path::PathBuf;

use clap::Args;
use model::bus;
use model::wire::{Join, Membership, NodeName, TokenText};

use crate::node::{Address, decode};
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `join`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
With a token, which has the hash of the fleet's CA in it, the node is in at once and knows that it
speaks with the right master. Without one, name the CA's certificate: the node waits until an
operator has accepted it (`pkgtool fleet nodes accept NAME`).")]
pub struct JoinArgs {
    /// The master: https://HOST:PORT
    url: String,
    /// An enrolment token: `pkgtool fleet tokens add`
    #[arg(
        long,
        env = "CHANGEOVER_JOIN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
    /// The fleet's CA certificate, where there is no token
    #[arg(long, conflicts_with = "token", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How the node is to be called; its host name where absent
    #[arg(long, value_name = "NAME")]
    name: Option<NodeName>,
}

/// Arguments of `leave`.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs `join`.
pub fn run(args: &JoinArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    if args.token.is_none() && args.ca.is_none() {
        return Err(CommandError::usage("how is the node to know the master?")
            .hint("--token TOKEN: pkgtool fleet tokens add on the operator's machine")
            .hint("--ca FILE: the fleet's CA certificate; an operator accepts the node then"));
    }
    let ca = args.ca.as_ref().map(fs_err::read_to_string).transpose()?;
    let join = bus::encode(&Join {
        url: args.url.clone(),
        token: args.token.clone().map(TokenText),
        ca,
        name: args.name.clone(),
    })?;
    let node = node.connect()?;
    let membership: Membership = node.ask(async |installd| installd.join(&join).await)?;
    show.told(&membership, |look| {
        render::fleet::node::membership(&membership, look)
    })?;
    Ok(Outcome::Done)
}

/// Runs `leave`.
pub fn leave(args: &LeaveArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = node.connect()?;
    if !args.yes {
        let document = node.installd(async |installd| installd.fleet().await)?;
        let membership: Membership = decode(&document)?;
        let text = render::fleet::node::membership(&membership, show.look());
        if !show.json() {
            show.text(&text)?;
        }
        if !show.confirm("\nLeave the fleet? What runs runs on")? {
            show.note("nothing was changed");
            return Ok(Outcome::Done);
        }
    }
    let was = node.installd(async |installd| installd.leave().await)?;
    show.told(&was, |_| {
        let words = if was {
            "the node is in no fleet any more; what runs runs on"
        } else {
            "the node was in no fleet"
        };
        format!("{words}\n")
    })?;
    Ok(Outcome::Done)
}
