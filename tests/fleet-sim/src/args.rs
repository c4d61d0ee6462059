//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use model::change::PackageRef;

/// Simulates a fleet and prints what it cost the master.
#[derive(Debug, Parser)]
pub(crate) enum Command {
    /// Be the fleet, from enrolment to an update
    Run(Box<Run>),
    /// Be a server that does a handshake and nothing else; prints its address
    Serve(Serve),
}

/// A measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Where masterd listens
    #[arg(long)]
    pub(crate) master: SocketAddr,
    /// The name in the master's certificate
    #[arg(long, default_value = "localhost")]
    pub(crate) server_name: String,
    /// The fleet's CA, PEM
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// The master's own certificate and key, for the bare server
    #[arg(long, num_args = 2)]
    pub(crate) identity: Vec<PathBuf>,
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
    /// A web server that gives a static answer of the size of a check's, over the same TLS
    #[arg(long, requires = "peer_pid")]
    pub(crate) peer: Option<SocketAddr>,
    /// Its process id
    #[arg(long)]
    pub(crate) peer_pid: Option<u32>,
}

/// The bare server.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The fleet's CA, PEM
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// Certificate and key, PEM
    #[arg(long, num_args = 2)]
    pub(crate) identity: Vec<PathBuf>,
}
