//! A server that answers through plugins and swaps them while it runs.
//!
//! Clients connect to a Unix socket and send lines: `hello NAME` is answered by the plugin `hello`,
//! and so on. `status` is answered by the host itself; `busy REASON` makes it veto changes until
//! `idle`. While a change goes on, requests wait in a queue: none is refused and none is lost.
//!
//! Environment:
//! - `PLUGIN_HOST_SOCKET`: where it listens; `/run/plugin-host.sock` where absent.
//! - `PLUGIN_HOST_PLUGINS`: the directory of the plugins; `/usr/lib/plugin-host` where absent.
//! - `PLUGIN_HOST_VETO`: a reason to veto every change.
//! - `PLUGIN_HOST_SILENT`: not empty: it never says *done*, to show what then happens.

#![expect(
    clippy::print_stderr,
    reason = "its log is standard error, kept by who started it"
)]

mod app;
mod notify;
mod server;

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use selfmanage::{Event, Manager, Session};

use app::App;
use server::Server;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plugin-host: {}", model::report::Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn run() -> Result<(), Error> {
    // Blocked before any thread starts, so that it is only ever taken from the descriptor.
    let mut end = SigSet::empty();
    end.add(Signal::SIGTERM);
    end.add(Signal::SIGINT);
    end.thread_block()?;
    let end = SignalFd::with_flags(&end, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    let mut app = App::new(setting("PLUGIN_HOST_PLUGINS", "/usr/lib/plugin-host").into());
    let mut plugins = app.open_plugins()?;
    let mut server = Server::listen(setting("PLUGIN_HOST_SOCKET", "/run/plugin-host.sock").into())?;
    let mut manager = Session::from_env()?.map(Manager::new);
    if let Some(manager) = &manager {
        let name = manager.session().register()?;
        eprintln!("plugin-host: registered as {name}");
    }
    notify::ready()?;

    while !wait(&mut server, manager.as_ref(), &end)? {
        while let Some((manager, event)) = next_event(manager.as_mut()) {
            eprintln!("plugin-host: {}", app::describe(&event));
            if matches!(event, Event::Changed(_)) && app.silent {
                continue;
            }
            manager.handle(event, &mut plugins, &mut app)?;
            app.open_more(&mut plugins);
        }
        if !app.paused {
            server.answer(|request| app.answer(&plugins, request));
        }
        server.flush();
    }
    // Asked to end: what was sent until now is still answered.
    server.read_all();
    server.answer(|request| app.answer(&plugins, request));
    server.finish();
    Ok(())
}

fn next_event(manager: Option<&mut Manager>) -> Option<(&mut Manager, Event)> {
    let manager = manager?;
    let event = manager.session().try_next()?;
    Some((manager, event))
}

/// Waits until there is something to do, and reads what clients sent; `true`: asked to end.
fn wait(server: &mut Server, manager: Option<&Manager>, end: &SignalFd) -> Result<bool, Error> {
    let mut waited = vec![PollFd::new(end, PollFlags::IN)];
    let session = manager.map(|manager| manager.session().as_fd());
    waited.extend(session.map(|session| PollFd::from_borrowed_fd(session, PollFlags::IN)));
    let first = waited.len();
    waited.extend(server.poll_fds());
    match poll(&mut waited, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready: Vec<bool> = waited.iter().map(|one| !one.revents().is_empty()).collect();
    drop(waited);
    server.read_ready(ready.get(first..).unwrap_or_default());
    Ok(ready.first() == Some(&true))
}
