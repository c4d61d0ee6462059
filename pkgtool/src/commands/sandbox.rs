//! `pkgtool sandbox`: a private node in a directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::outcome::{CommandError, Outcome};
use crate::sandbox::fleet;
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
    /// A master and the nodes that FILE names, each with a network of its own; CMD runs beside them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["net", "keep", "restart_daemons", "require_signatures"])]
    fleet: Option<PathBuf>,
    /// What the node is, where its fleet's packages differ by it.
    #[command(flatten)]
    facts: NodeFacts,
    /// What to run in it; your shell where absent
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs it.
pub fn run(args: &SandboxArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    if let Some(file) = &args.fleet {
        return run_fleet(file, args, show);
    }
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

fn run_fleet(file: &Path, args: &SandboxArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let text = fs_err::read_to_string(file)?;
    let spec: fleet::Spec = toml::from_str(&text).map_err(|error| {
        CommandError::from(error)
            .context(format!("{} is not readable", file.display()))
            .hint("[[node]] with name, and where wanted type, class = [], location, features = []")
    })?;
    if let Some(root) = &args.root {
        return fleet::run(&spec, root, &args.command, show);
    }
    let dir = tempfile::Builder::new().prefix("fleet-").tempdir()?;
    fleet::run(&spec, dir.path(), &args.command, show)
}
