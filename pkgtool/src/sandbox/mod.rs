//! A private node in a directory: its own bus, daemons, state and views.
//!
//! ```text
//! pkgtool sandbox (outer) ── unshare user* pid ──► sandbox-init (pid 1 of the node)
//!   holds the lock, the cgroup        own mounts, own network*; dies with the outer
//!   waits, cleans up                    ├── dbus-daemon
//!        ▲                              ├── sysmgrd ──► the node's processes
//!        │ exit status                  ├── installd
//!        └──────────────────────────────└── CMD, or a shell
//! a second `pkgtool sandbox --root DIR` finds the lock held and enters instead
//! ```
//!
//! The node's files stay in the directory and are used again by its next start, as after a
//! reboot; `/run` is gone then. Invariant: nothing outlives the outer process, however it ends:
//! the inner init dies with it, and with the init its whole pid namespace and every mount.

pub mod cgroup;
pub mod config;
pub mod daemon;
pub mod enter;
pub mod fleet;
pub mod init;
pub mod layout;
pub mod mounts;
pub mod network;
pub mod outer;
pub mod signals;
pub mod store;
pub mod users;

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Which network a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Net {
    /// A network of its own with nothing but the loopback device.
    #[default]
    Own,
    /// The machine's.
    Host,
}

/// What to do when one of the node's daemons ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDeath {
    /// Say so and end the node.
    End,
    /// Start it again, as a service manager would.
    Restart,
}

/// What the outer process tells the inner init; its one argument, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The node's directory; absolute.
    pub root: PathBuf,
    /// Its network.
    pub net: Net,
    /// Whether it lives in a user namespace that the outer process made.
    pub user_namespace: bool,
    /// The control group directory for its processes, where one could be made.
    pub cgroup: Option<PathBuf>,
    /// Where sysmgrd and installd are.
    pub binaries: PathBuf,
    /// Whether the directory goes away at the end.
    pub temporary: bool,
    /// What to do when a daemon ends.
    pub on_death: OnDeath,
    /// Whether packages must be signed.
    pub signatures: bool,
    /// What the node is; absent: what it was said to be last.
    pub facts: Option<NodeFacts>,
}

/// What a node is, by which files and dependencies are chosen for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct NodeFacts {
    /// Its ELF machine name; this machine's where absent
    #[arg(long, value_name = "ARCH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// What kind of node it is
    #[arg(long = "type", value_name = "NAME")]
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<String>,
    /// A class that it is in; may be repeated
    #[arg(long, value_name = "NAME")]
    pub class: Vec<String>,
    /// What it has; may be repeated
    #[arg(long = "feature", value_name = "NAME")]
    pub features: Vec<String>,
    /// Where it is
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}
