//! A fleet of thousands in one process, which speaks the real link over real mutual TLS.
//!
//! ```text
//! enrol N ─► bare handshakes (the same library, nothing behind them)
//!         ─► boot storm: handshake, hello, answer ─► idle: memory of masterd ─► update: votes, decision
//!         ─► checks on open connections, in turn with a web server's static answer
//! ```
//! Prints figures side by side; nothing here passes or fails.

mod args;
mod bare;
mod checks;
mod crowd;
mod enrol;
mod http;
mod link;
mod measure;
mod report;
mod tls;
mod update;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let command = args::Command::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match &command {
            args::Command::Run(args) => report::run(args).await,
            args::Command::Serve(args) => bare::serve(args).await,
        }
    })
}
