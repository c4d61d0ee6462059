//! A Self-Managing process that reads two files without pause and notes each moment at which
//! they are not what they may be.
//!
//! Outside *ready and waiting* … *changed* both hold the version that it last knew. Inside, each
//! may hold the old or the new one. From *done* until the change has ended it may be taken back,
//! which is counted apart. What it has seen goes to the file that `PAIR_WATCH_COUNTS` names, as
//! `reads=… changes=… violations=… inside=… back=…` and the first violation in words.

use std::error::Error;
use std::path::PathBuf;

use selfmanage::{Event, Session};

/// Both are read this often between two writes of the counts.
const ROUND: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let session = Session::from_env()?.ok_or("no session: sysmgrd starts this program")?;
    let counts = std::env::var_os("PAIR_WATCH_COUNTS").ok_or("PAIR_WATCH_COUNTS is not set")?;
    let mut watch = Watch::new(counts.into())?;
    session.register()?;
    loop {
        for _ in 0..ROUND {
            watch.look();
            if let Some(event) = session.try_next() {
                watch.hear(&session, event)?;
            }
        }
        watch.write()?;
    }
}

/// Left and right, as they are now. They are read in both orders in turn.
fn read(left_first: bool) -> (String, String) {
    let one = |side: &str| {
        let path = format!("/usr/share/pair/{side}.txt");
        fs_err::read_to_string(path).unwrap_or_else(|error| error.to_string())
    };
    if left_first {
        let left = one("left");
        (left, one("right"))
    } else {
        let right = one("right");
        (one("left"), right)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing may change.
    Quiet,
    /// It said that it is ready and waiting.
    Waiting,
    /// It said that it is done, and the change has not ended.
    Settling,
}

struct Watch {
    counts: PathBuf,
    known: String,
    phase: Phase,
    reads: u64,
    changes: u64,
    violations: u64,
    /// Reads inside the window that gave something else than was last known.
    inside: u64,
    /// Reads while it settled that gave something else: the change was being taken back.
    back: u64,
    first: String,
}

impl Watch {
    fn new(counts: PathBuf) -> Result<Self, Box<dyn Error>> {
        let (known, right) = read(true);
        if known != right {
            return Err(format!("at the start: {known:?}, {right:?}").into());
        }
        Ok(Self {
            counts,
            known,
            phase: Phase::Quiet,
            reads: 0,
            changes: 0,
            violations: 0,
            inside: 0,
            back: 0,
            first: String::new(),
        })
    }

    fn look(&mut self) {
        self.reads += 1;
        let (left, right) = read(self.reads.is_multiple_of(2));
        if left == self.known && right == self.known {
            return;
        }
        match self.phase {
            Phase::Waiting => self.inside += 1,
            Phase::Settling => self.back += 1,
            Phase::Quiet => {
                let known = &self.known;
                let what = format!("left {left:?}, right {right:?}, known {known:?}");
                self.violation(&what);
            }
        }
    }

    fn violation(&mut self, what: &str) {
        self.violations += 1;
        if self.first.is_empty() {
            self.first = what.replace("\\n", "");
        }
    }

    fn hear(&mut self, session: &Session, event: Event) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Evaluate(announcement, _) => session.accept_reached(announcement.change)?,
            Event::Prepare(announcement) => {
                // Asked, and not yet answered: nothing may have moved.
                self.look();
                self.phase = Phase::Waiting;
                session.ready_and_waiting(announcement.change)?;
            }
            Event::Changed(change) => {
                if self.phase == Phase::Quiet {
                    self.violation(&format!("change {change} came without being announced"));
                }
                self.phase = Phase::Settling;
                let (left, right) = read(true);
                if left != right || left == self.known {
                    let known = &self.known;
                    let what = format!("changed: {left:?}, {right:?}, known {known:?}");
                    self.violation(&what);
                }
                self.known = left;
                self.changes += 1;
                session.done(change)?;
            }
            Event::Ended(_) => self.phase = Phase::Quiet,
            Event::Disconnected | _ => return Err("nobody tells of changes any more".into()),
        }
        Ok(())
    }

    /// Whole or not at all, for whoever reads it.
    fn write(&self) -> Result<(), Box<dyn Error>> {
        let (reads, changes, violations) = (self.reads, self.changes, self.violations);
        let (inside, back, first) = (self.inside, self.back, &self.first);
        let text = format!(
            "reads={reads} changes={changes} violations={violations} inside={inside} back={back} \
             {first}\n"
        );
        let new = self.counts.with_extension("new");
        fs_err::write(&new, text)?;
        fs_err::rename(&new, &self.counts)?;
        Ok(())
    }
}
