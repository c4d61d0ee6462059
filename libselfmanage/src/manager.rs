//! A program's whole side of a change, for programs that need nothing special.

use std::io;
use std::time::Duration;

use model::bus;

use crate::plugins::Plugins;
use crate::reload::{self, Outcome, Prepared, Quiet, Reached};
use crate::session::{Event, Reason, Session, SessionError};
use crate::{Announcement, Asked, ChangeId, Ended};

/// What a program says and does about changes. Besides [`Quiet`] nothing has to be written.
pub trait Application: Quiet {
    /// May this change happen? `reached`: what of this process it reaches.
    ///
    /// # Errors
    ///
    /// The veto's reason.
    fn evaluate(
        &mut self,
        announcement: &Announcement,
        asked: &Asked,
        reached: &[Reached],
    ) -> Result<(), Reason> {
        let _ = (announcement, asked, reached);
        Ok(())
    }

    /// How long [`Self::evaluate`] will take, where that is longer than a moment: so much more time
    /// is asked for before it is called. The node has a limit for it.
    fn needs_time(&mut self, announcement: &Announcement, asked: &Asked) -> Duration {
        let _ = (announcement, asked);
        Duration::ZERO
    }

    /// The change is about to happen: pause all that opens or reads changed files by path.
    ///
    /// # Errors
    ///
    /// Why it cannot be ready: the change is aborted.
    fn pause(&mut self, announcement: &Announcement) -> Result<(), Reason> {
        let _ = announcement;
        Ok(())
    }

    /// Go on after [`Self::pause`]. `Some`: the change has happened, or was taken back after it
    /// had happened, and the plugins have been dealt with so; files of other kinds can be read
    /// again now. `None`: it was called off.
    fn resume(&mut self, happened: Option<(&Announcement, &Outcome)>) {
        let _ = happened;
    }

    /// A change has ended for the whole node.
    fn ended(&mut self, ended: &Ended) {
        let _ = ended;
    }

    /// An answer of this process did not count: it came too late, or the change was called off
    /// meanwhile. There is nothing to do; `why` is for the log.
    fn refused(&mut self, change: ChangeId, why: &SessionError) {
        let _ = (change, why);
    }

    /// The session is over: nothing is asked or told any more.
    fn disconnected(&mut self) {}
}

/// Why an event could not be handled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The answer could not be given.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// What is loaded could not be seen.
    #[error("could not see what this process has loaded")]
    Link(#[from] io::Error),
}

/// A session, and how far the present change has come.
#[derive(Debug)]
pub struct Manager {
    session: Session,
    /// *Ready and waiting* was said, and neither *changed* nor the end was heard.
    prepared: Option<Prepared>,
    /// What has happened and has not ended: it may still be taken back.
    happened: Option<Announcement>,
}

impl Manager {
    /// Over this session.
    pub fn new(session: Session) -> Self {
        Self {
            session,
            prepared: None,
            happened: None,
        }
    }

    /// The session: its descriptor for the program's loop, its events for [`Self::handle`].
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether this process has said *ready and waiting* and waits.
    pub fn is_waiting(&self) -> bool {
        self.prepared.is_some()
    }

    /// Does and answers what an event asks for.
    ///
    /// # Errors
    ///
    /// The answer could not be given, or what is loaded could not be seen.
    pub fn handle(
        &mut self,
        event: Event,
        plugins: &mut Plugins,
        app: &mut (impl Application + ?Sized),
    ) -> Result<(), ManagerError> {
        match event {
            Event::Evaluate(announcement, asked) => {
                let time = app.needs_time(&announcement, &asked);
                if !time.is_zero() {
                    // Where none is granted, the answer has to be in time without.
                    drop(self.session.more_time(announcement.change, time));
                }
                let reached = plugins.reached(&announcement)?;
                let verdict = app.evaluate(&announcement, &asked, &reached);
                let voted = self.vote(announcement.change, verdict, &reached);
                counted(announcement.change, voted, app)?;
            }
            Event::Prepare(announcement) => self.prepare(&announcement, plugins, app)?,
            Event::Changed(change) => self.changed(change, plugins, app)?,
            Event::Ended(ended) => {
                self.call_off(
                    |prepared| prepared.announcement().change == ended.change,
                    app,
                );
                self.happened = None;
                app.ended(&ended);
            }
            Event::Disconnected => {
                self.call_off(|_| true, app);
                app.disconnected();
            }
        }
        Ok(())
    }

    fn vote(
        &self,
        change: ChangeId,
        verdict: Result<(), Reason>,
        reached: &[Reached],
    ) -> Result<(), SessionError> {
        match verdict {
            Err(reason) if reached.is_empty() => self.session.veto(change, reason),
            Err(reason) => self.session.veto_reached(change, reason),
            Ok(()) if reached.is_empty() => self.session.accept(change),
            Ok(()) => self.session.accept_reached(change),
        }
    }

    fn prepare(
        &mut self,
        announcement: &Announcement,
        plugins: &Plugins,
        app: &mut (impl Application + ?Sized),
    ) -> Result<(), ManagerError> {
        let change = announcement.change;
        if (self.prepared.as_ref()).is_some_and(|one| one.announcement() == announcement) {
            // A daemon that was restarted asks again: it still waits, as it has said.
            return counted(change, self.session.ready_and_waiting(change), app);
        }
        if let Err(reason) = app.pause(announcement) {
            return counted(change, self.session.not_ready(change, reason), app);
        }
        self.prepared = Some(reload::prepare(plugins, announcement)?);
        counted(change, self.session.ready_and_waiting(change), app)
    }

    fn changed(
        &mut self,
        change: ChangeId,
        plugins: &mut Plugins,
        app: &mut (impl Application + ?Sized),
    ) -> Result<(), ManagerError> {
        let prepared = match (self.prepared.take(), self.happened.take()) {
            (Some(prepared), _) if prepared.announcement().change == change => prepared,
            // It is taken back, which nobody is asked about; a refusal to pause changes nothing.
            (_, Some(announcement)) if announcement.change == change => {
                let _refused = app.pause(&announcement);
                reload::prepare(plugins, &announcement)?
            }
            _ => {
                let reason =
                    Reason::clipped("it was told of a change that was not announced to it");
                return counted(change, self.session.ask_restart(change, reason), app);
            }
        };
        let announcement = prepared.announcement().clone();
        let outcome = prepared.changeover(plugins, app);
        app.resume(Some((&announcement, &outcome)));
        self.happened = Some(announcement);
        let answered = match outcome {
            Outcome::Untouched | Outcome::Reloaded(_) => self.session.done(change),
            Outcome::Restart(reason) => self.session.ask_restart(change, reason),
        };
        counted(change, answered, app)
    }

    /// Goes on after a change that was announced and did not happen.
    fn call_off(
        &mut self,
        is_it: impl Fn(&Prepared) -> bool,
        app: &mut (impl Application + ?Sized),
    ) {
        if self.prepared.take_if(|prepared| is_it(prepared)).is_some() {
            app.resume(None);
        }
    }
}

/// An answer that came too late ends nothing but itself.
fn counted(
    change: ChangeId,
    answered: Result<(), SessionError>,
    app: &mut (impl Application + ?Sized),
) -> Result<(), ManagerError> {
    match answered {
        Err(why @ SessionError::Refused(bus::Error::Invalid(_))) => app.refused(change, &why),
        other => other?,
    }
    Ok(())
}
