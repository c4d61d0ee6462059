//! How a command ends: exit codes, and errors that say what to do next.

use model::bus;

use crate::show::OutputError;

/// How a command ended that has already said what there was to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked: 0.
    Done,
    /// It ran to its end, and the end is not the one wished for (a veto, a rollback).
    Ended(Kind),
    /// Another program's exit status, handed on (`exec`, `sandbox`).
    Status(u8),
}

/// What kind of failure it is; scripts rely on the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It failed and nothing changed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A process objected; nothing changed.
    Vetoed,
    /// Dependencies are unmet; nothing changed.
    Dependencies,
    /// Another change holds the node.
    Busy,
    /// The caller may not do this.
    NotAllowed,
    /// The change failed and the old set runs again.
    RolledBack,
    /// The change failed and the new set was kept.
    Kept,
    /// The change failed, and so did going back.
    RollbackFailed,
    /// Whoever read our output has gone; no failure.
    OutputClosed,
}

impl Kind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Vetoed => 3,
            Self::Dependencies => 4,
            Self::Busy => 5,
            Self::NotAllowed => 6,
            Self::RolledBack => 7,
            Self::Kept => 8,
            Self::RollbackFailed => 9,
        }
    }

    /// One word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::OutputClosed => "output-closed",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Vetoed => "vetoed",
            Self::Dependencies => "dependencies",
            Self::Busy => "busy",
            Self::NotAllowed => "not-allowed",
            Self::RolledBack => "rolled-back",
            Self::Kept => "kept",
            Self::RollbackFailed => "rollback-failed",
        }
    }

    /// What an error from below means, by its type.
    fn of(error: &anyhow::Error) -> Self {
        let closed = |cause: &(dyn std::error::Error + 'static)| {
            cause
                .downcast_ref::<OutputError>()
                .is_some_and(OutputError::is_closed)
        };
        if error.chain().any(closed) {
            return Self::OutputClosed;
        }
        match error
            .chain()
            .find_map(|cause| cause.downcast_ref::<bus::Error>())
        {
            Some(bus::Error::Unmet(_)) => Self::Dependencies,
            Some(bus::Error::Busy(_) | bus::Error::LimitsExceeded(_)) => Self::Busy,
            Some(bus::Error::NotAllowed(_)) => Self::NotAllowed,
            Some(bus::Error::Bus(_) | bus::Error::Invalid(_) | bus::Error::Failed(_)) | None => {
                Self::Failed
            }
        }
    }
}

/// Why a command failed, and what the user can do about it.
///
/// Not an `Error` itself, so that `?` turns every error into one.
#[derive(Debug)]
pub struct CommandError {
    /// Its exit code.
    pub kind: Kind,
    /// The thing and the reason.
    pub error: anyhow::Error,
    /// Next steps, each a sentence or a command line.
    pub hints: Vec<String>,
}

impl CommandError {
    /// An error of this kind.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
            hints: Vec::new(),
        }
    }

    /// A failure in words.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, anyhow::Error::msg(message.into()))
    }

    /// A wrong command line, in words.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, anyhow::Error::msg(message.into()))
    }

    /// The same, of which this is what was being done.
    #[must_use]
    pub fn context(mut self, doing: impl std::fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(doing);
        self
    }

    /// The same with a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for CommandError {
    fn from(error: E) -> Self {
        let error = error.into();
        Self::new(Kind::of(&error), error)
    }
}
