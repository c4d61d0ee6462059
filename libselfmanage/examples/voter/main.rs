//! The smallest Self-Managing program: it links the library, opens nothing, and is asked.
//!
//! Its one argument is a file that says what it does about changes, read each time: `veto REASON`,
//! `mute` (no answer), `slow MILLISECONDS` (asks for that much more time and takes it), `unready
//! REASON`. Where there is no such file it agrees.

#![expect(
    clippy::print_stdout,
    reason = "its log is standard output, kept by who started it"
)]

use std::time::Duration;

use selfmanage::manager::Application;
use selfmanage::reload::{Outcome, Quiet, Reached};
use selfmanage::session::SessionError;
use selfmanage::{
    Announcement, Asked, ChangeId, Ended, Event, Manager, PluginId, Plugins, Reason, Session, Trust,
};

struct App {
    file: String,
}

impl App {
    /// What stands in the file after `word`.
    fn told(&self, word: &str) -> Option<String> {
        let text = fs_err::read_to_string(&self.file).ok()?;
        Some(text.trim().strip_prefix(word)?.trim().to_owned())
    }

    /// The reason for which the file says so.
    fn because(&self, word: &str) -> Result<(), Reason> {
        match self.told(word).and_then(|text| Reason::new(&text).ok()) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}

impl Quiet for App {
    fn quiesce(&mut self, _: &Plugins, _: &[PluginId]) -> Result<(), Reason> {
        Ok(())
    }

    fn restore(&mut self, _: &Plugins, _: &[PluginId]) {}
}

impl Application for App {
    fn evaluate(
        &mut self,
        announcement: &Announcement,
        asked: &Asked,
        _: &[Reached],
    ) -> Result<(), Reason> {
        println!("change {}: {}", announcement.change, asked.verdict);
        let slow = self.told("slow").and_then(|text| text.parse().ok());
        std::thread::park_timeout(Duration::from_millis(slow.unwrap_or_default()));
        self.because("veto")
    }

    fn needs_time(&mut self, _: &Announcement, _: &Asked) -> Duration {
        let slow = self.told("slow").and_then(|text| text.parse().ok());
        Duration::from_millis(slow.unwrap_or_default())
    }

    fn pause(&mut self, announcement: &Announcement) -> Result<(), Reason> {
        println!("change {}: prepare", announcement.change);
        self.because("unready")
    }

    fn resume(&mut self, happened: Option<(&Announcement, &Outcome)>) {
        println!("resumed, happened: {}", happened.is_some());
    }

    fn refused(&mut self, change: ChangeId, why: &SessionError) {
        println!("change {change}: {}", model::report::Chain(why));
    }

    fn ended(&mut self, ended: &Ended) {
        println!(
            "change {}: ended, completed: {}",
            ended.change, ended.completed
        );
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("which file?")?;
    let session = Session::from_env()?.ok_or("sysmgrd gave it no session")?;
    session.register()?;
    let mut manager = Manager::new(session);
    #[expect(unsafe_code, reason = "it promises what it does not do")]
    // SAFETY: it opens no plugin.
    let mut plugins = Plugins::new(unsafe { Trust::promised() });
    let mut app = App { file };
    loop {
        let event = manager.session().next_event()?;
        let mute = app.told("mute").is_some();
        match event {
            Event::Disconnected => return Ok(()),
            Event::Evaluate(..) if mute => {}
            event @ (Event::Evaluate(..)
            | Event::Prepare(_)
            | Event::Changed(_)
            | Event::Ended(_)
            | _) => manager.handle(event, &mut plugins, &mut app)?,
        }
    }
}
