//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use model::change::PackageRef;

/// Simulates a fleet and prints what it cost the master.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Where masterd listens
    #[arg(long)]
    pub(crate) master: SocketAddr,
    /// The name in the master's certificate
    #[arg(long, default_value = "localhost")]
    pub(crate) server_name: String,
    /// The fleet's CA, PEM
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// An enrolment token that is good for all of them
    #[arg(long)]
    pub(crate) enrol_token: String,
    /// An operator's token
    #[arg(long)]
    pub(crate) operator_token: String,
    /// Process id of masterd
    #[arg(long)]
    pub(crate) pid: u32,
    /// How many nodes
    #[arg(long, default_value_t = 1000)]
    pub(crate) nodes: usize,
    /// How many of them do a handshake at the same time
    #[arg(long, default_value_t = 256)]
    pub(crate) at_once: usize,
    /// Seconds for which nothing happens before memory is read
    #[arg(long, default_value_t = 10)]
    pub(crate) idle: u64,
    /// A package that masterd has; all nodes are updated to it
    #[arg(long)]
    pub(crate) package: Option<PackageRef>,
}
