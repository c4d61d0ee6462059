//! `pkgtool sandbox`: a private node in a directory.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::outcome::{CommandError, Outcome};
use crate::sandbox::outer::{self, Wish};
use crate::sandbox::{Net, NodeFacts, OnDeath};
use crate::show::Show;

/// Arguments of `sandbox`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Everything ends with CMD: daemons, processes, mounts; nothing of the machine is changed. What the
node stored stays in DIR and is used again by its next start, as after a reboot. A second
`pkgtool sandbox --root DIR` enters the node that runs there.

The exit status is CMD's.")]
pub struct SandboxArgs {
    /// The node's directory; a temporary one, removed at the end, where absent
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Its network: a private loopback, or the machine's
    #[arg(long, value_enum, default_value_t)]
    net: Net,
    /// Keep the temporary directory
    #[arg(long)]
    keep: bool,
    /// Start a daemon that dies again instead of ending the node
    #[arg(long)]
    restart_daemons: bool,
    /// Take only packages that a key in DIR/etc/changeover/trust.d trusts, as a real node does
    #[arg(long)]
    require_signatures: bool,
    /// What the node is, where its fleet's packages differ by it.
    #[command(flatten)]
    facts: NodeFacts,
    /// What to run in it; your shell where absent
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs it.
pub fn run(args: &SandboxArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let wish = Wish {
        root: args.root.clone(),
        net: args.net,
        keep: args.keep,
        on_death: if args.restart_daemons {
            OnDeath::Restart
        } else {
            OnDeath::End
        },
        signatures: args.require_signatures,
        facts: args.facts.clone(),
    };
    outer::run(&wish, &args.command, show)
}
