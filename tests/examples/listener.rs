//! A Self-Managing process that says yes to every change, reads a file when it is told that it
//! changed, and notes what it hears in the file that `LISTENER_LOG` names.
//!
//! It ends when nobody tells of changes any more, so that it is started with a new session.

use std::error::Error;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use selfmanage::{Event, Session};

const READ: &str = "/usr/share/answer/answer.txt";

fn main() -> Result<(), Box<dyn Error>> {
    let log = std::env::var_os("LISTENER_LOG").ok_or("LISTENER_LOG is not set")?;
    let mut log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(std::path::PathBuf::from(log))?;
    let mut note = |what: String| writeln!(log, "{what}");
    let session = Session::from_env()?.ok_or("no session: sysmgrd starts this program")?;
    session.register()?;
    note(format!("started {}", read()))?;
    ready()?;
    loop {
        match session.next_event()? {
            Event::Evaluate(announcement, _) => session.accept(announcement.change)?,
            Event::Prepare(announcement) => {
                note(format!("prepare {}", announcement.change))?;
                session.ready_and_waiting(announcement.change)?;
            }
            Event::Changed(change) => {
                note(format!("changed {change} {}", read()))?;
                session.done(change)?;
            }
            Event::Ended(ended) => {
                note(format!("ended {} {}", ended.change, ended.completed))?;
            }
            Event::Disconnected | _ => {
                note("disconnected".to_owned())?;
                return Ok(());
            }
        }
    }
}

fn read() -> String {
    let text = fs_err::read_to_string(READ).unwrap_or_else(|error| error.to_string());
    text.trim().to_owned()
}

fn ready() -> Result<(), Box<dyn Error>> {
    let path = std::env::var_os("NOTIFY_SOCKET").ok_or("NOTIFY_SOCKET is not set")?;
    UnixDatagram::unbound()?.send_to(b"READY=1", path)?;
    Ok(())
}
