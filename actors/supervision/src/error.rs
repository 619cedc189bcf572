//! Errors, by operation.

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::{exit::ExitReason, mailbox::Refusal};

/// Fault in a specification, found before anything is started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A name is empty.
    #[error("a child of `{parent}` has an empty name")]
    EmptyName {
        /// Path of the supervisor.
        parent: String,
    },
    /// A name contains `/`, which separates the parts of a path.
    #[error("`{path}` has a `/` in its name")]
    SlashInName {
        /// Path of the child.
        path: String,
    },
    /// Two children of one supervisor have the same name.
    #[error("`{path}` is declared twice")]
    DuplicateName {
        /// Path of the child.
        path: String,
    },
    /// A permanent child can never end for good, so it cannot be significant.
    #[error("`{path}` is permanent and cannot be significant")]
    SignificantPermanent {
        /// Path of the child.
        path: String,
    },
    /// A significant child needs a supervisor with an automatic shutdown.
    #[error("`{path}` is significant, but its supervisor never shuts down automatically")]
    SignificantWithoutAutoShutdown {
        /// Path of the child.
        path: String,
    },
    /// The backoff of a child is out of range.
    #[error("backoff of `{path}`: {fault}")]
    Backoff {
        /// Path of the child.
        path: String,
        /// Description of the fault.
        fault: &'static str,
    },
    /// A restart window has no length.
    #[error("the restart period of `{path}` is zero")]
    ZeroPeriod {
        /// Path of the child or supervisor.
        path: String,
    },
    /// A mailbox can hold nothing.
    #[error("the mailbox of `{path}` has no room")]
    ZeroMailbox {
        /// Path of the child.
        path: String,
    },
    /// A time-out has no length; use `Shutdown::Brutal` instead.
    #[error("the shutdown time-out of `{path}` is zero")]
    ZeroShutdown {
        /// Path of the child.
        path: String,
    },
    /// A child would be stalled as soon as it has mail.
    #[error("`{path}` has no time to handle its mail before it is stalled")]
    ZeroStall {
        /// Path of the child or supervisor.
        path: String,
    },
    /// A dynamic supervisor has room for no child.
    #[error("`{path}` may have no children at all")]
    ZeroMaxChildren {
        /// Path of the supervisor.
        path: String,
    },
    /// A supervisor that is not dynamic has `max_children`.
    #[error("`{path}` is not dynamic and has no `max_children`")]
    MaxChildrenNotDynamic {
        /// Path of the supervisor.
        path: String,
    },
    /// The watchdog would act at once.
    #[error("the watchdog of `{path}` has no time to wait")]
    ZeroWatchdog {
        /// Path of the root.
        path: String,
    },
    /// A group of arbiters, or the pool, has no arbiter.
    #[error("the group of arbiters `{group}` is empty")]
    EmptyGroup {
        /// Name of the group.
        group: Arc<str>,
    },
    /// A child is placed in a group that the root does not declare.
    #[error("`{path}` is placed in `{group}`, which is no group of arbiters of this tree")]
    UnknownGroup {
        /// Path of the child or supervisor.
        path: String,
        /// Name of the group.
        group: Arc<str>,
    },
    /// A child is placed with another that is no worker, or is not started before it.
    #[error("`{path}` is placed with `{peer}`, which is no worker that is started before it")]
    UnknownPeer {
        /// Path of the child or supervisor.
        path: String,
        /// Path of the other child.
        peer: Arc<str>,
    },
    /// A dynamic supervisor gets its children at run time only.
    #[error("`{path}` is dynamic and cannot declare children")]
    DynamicWithChildren {
        /// Path of the supervisor.
        path: String,
    },
}

/// Error that is returned if a child, or a tree, did not start. Factories return it too.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A factory has nothing to run here, and that is fine (OTP's `ignore`).
    #[error("the child declined to start")]
    Ignore,
    /// A factory cannot build the actor.
    #[error("{0}")]
    Failed(String),
    /// A child did not start; what had been started was stopped again.
    #[error("`{path}` did not start: {reason}")]
    Child {
        /// Path of the child that failed.
        path: Arc<str>,
        /// Reason for which the child did not start.
        reason: ExitReason,
    },
    /// The specification is faulty; nothing was started.
    #[error("faulty specification: {0}")]
    Spec(#[from] SpecError),
    /// The child or tree was stopped before it was up.
    #[error("stopped while starting")]
    Stopped,
    /// The thread has nothing that a tree could run on.
    #[error("a tree needs an actix system or a `LocalSet`: use `#[actix::main]` or `System::new`")]
    NoLocalSet,
}

impl StartError {
    /// Returns an error with the text of `error`.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<String> for StartError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<&str> for StartError {
    fn from(text: &str) -> Self {
        Self::Failed(text.to_owned())
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for StartError {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::failed(error)
    }
}

impl From<std::convert::Infallible> for StartError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Error of [`start_child`](crate::SupervisorHandle::start_child).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StartChildError {
    /// A child of that name is running.
    #[error("already started")]
    AlreadyStarted,
    /// A child of that name exists, but is not running: restart or delete it.
    #[error("already present")]
    AlreadyPresent,
    /// The dynamic supervisor is full.
    #[error("the supervisor has its maximum of {max} children")]
    MaxChildren {
        /// Limit on the number of children.
        max: usize,
    },
    /// The specification is faulty.
    #[error("faulty specification: {0}")]
    Spec(#[from] SpecError),
    /// The child did not start. Its specification was discarded.
    #[error("`{child}` did not start: {reason}")]
    StartFailed {
        /// Path of the child.
        child: Arc<str>,
        /// Reason for which the child did not start.
        reason: ExitReason,
    },
    /// The child was terminated, or its supervisor stopped, before it was up.
    #[error("stopped while starting")]
    Stopped,
    /// The supervisor, or one above it, is suspended; resume that one first.
    #[error("the supervisor is suspended")]
    Suspended,
    /// The supervisor, or one above it, is down, and stays so until somebody starts it.
    #[error("the supervisor is down")]
    Down,
    /// The supervisor is being stopped. The supervisor may be started again.
    #[error("the supervisor is stopping")]
    Stopping,
    /// The supervisor is gone.
    #[error("the supervisor is gone")]
    Gone,
}

/// Error of an operation on an existing child.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The child does not exist.
    #[error("no such child")]
    NotFound,
    /// The child is running; terminate it first.
    #[error("the child is running")]
    Running,
    /// The child is about to be restarted (or starting, or stopping).
    #[error("the child is restarting")]
    Restarting,
    /// The child, its supervisor or one above it is suspended; resume that one first.
    #[error("the child is suspended")]
    Suspended,
    /// The supervisor of the child, or one above it, is down, and stays so until somebody starts
    /// it.
    #[error("the supervisor is down")]
    Down,
    /// The child is not suspended.
    #[error("the child is not suspended")]
    NotSuspended,
    /// The child is a supervisor; supervisors run where their tree was started.
    #[error("the child is a supervisor and cannot be moved")]
    NotAWorker,
    /// The root declares no such group.
    #[error("there is no group of arbiters named `{group}`")]
    UnknownGroup {
        /// Name of the group.
        group: Arc<str>,
    },
    /// The child cannot be moved to the arbiter of the other, because the other is no worker, or
    /// has no arbiter that takes another child.
    #[error("there is no worker `{peer}` with an arbiter to share")]
    UnknownPeer {
        /// Path of the other child.
        peer: Arc<str>,
    },
    /// The child did not start. Its specification is kept.
    #[error("`{child}` did not start: {reason}")]
    StartFailed {
        /// Path of the child.
        child: Arc<str>,
        /// Reason for which the child did not start.
        reason: ExitReason,
    },
    /// The root of the tree has no supervisor of its own.
    #[error("the root cannot be operated on; shut the tree down")]
    Root,
    /// The child or tree was stopped before it was up.
    #[error("stopped while starting")]
    Stopped,
    /// The supervisor is being stopped. The supervisor may be started again.
    #[error("the supervisor is stopping")]
    Stopping,
    /// The supervisor is gone.
    #[error("the supervisor is gone")]
    Gone,
}

/// Error that hands back a message that was not taken.
#[non_exhaustive]
pub enum TellError<M> {
    /// The mailbox holds as many messages as it may.
    Full(M),
    /// The child is suspended. Meanwhile it takes no questions, and no mail either if its
    /// specification says so.
    Suspended(M),
    /// The child, its supervisor or one above it is down, and stays so until somebody starts it, so
    /// the child takes no questions.
    Down(M),
    /// The child was removed or its tree ended.
    Gone(M),
}

impl<M> TellError<M> {
    pub(crate) fn new(why: Refusal, message: M) -> Self {
        match why {
            Refusal::Full => Self::Full(message),
            Refusal::Suspended => Self::Suspended(message),
            Refusal::Down => Self::Down(message),
            // A question that is not watched is asked again, watched.
            Refusal::Closed | Refusal::Unwatched => Self::Gone(message),
        }
    }

    /// Returns the message.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message)
            | Self::Suspended(message)
            | Self::Down(message)
            | Self::Gone(message) => message,
        }
    }

    /// Returns true if the mailbox was full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<M> fmt::Debug for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Suspended(_) => "Suspended(..)",
            Self::Down(_) => "Down(..)",
            Self::Gone(_) => "Gone(..)",
        })
    }
}

impl<M> fmt::Display for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the mailbox is full",
            Self::Suspended(_) => "the child is suspended",
            Self::Down(_) => "the child is down",
            Self::Gone(_) => "the child is gone",
        })
    }
}

impl<M> std::error::Error for TellError<M> {}

impl<M> From<TellError<M>> for AskError {
    fn from(refused: TellError<M>) -> Self {
        match refused {
            TellError::Full(_) => Self::Full,
            TellError::Suspended(_) => Self::Suspended,
            TellError::Down(_) => Self::Down,
            TellError::Gone(_) => Self::Gone,
        }
    }
}

/// Error that is returned if a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The mailbox holds as many messages as it may; the question was not taken.
    #[error("the mailbox is full")]
    Full,
    /// The child was removed or its tree ended before it saw the question.
    #[error("the child is gone")]
    Gone,
    /// The child, its supervisor, or one above it is suspended, and has not seen the question.
    #[error("the child is suspended")]
    Suspended,
    /// The child, its supervisor, or one above it is down (terminated, ended, quarantined), and
    /// stays so until somebody starts it. The child has not seen the question.
    #[error("the child is down")]
    Down,
    /// The question was dropped with other mail before the child saw it: as
    /// [poison](crate::ChildSpec::poison_after), on [escalation](crate::MailOnEscalation::Drop), or
    /// because the child was suspended or down for a while.
    #[error("the question was dropped")]
    Dropped,
    /// The answer did not come in time: see [`Handle::ask_within`](crate::Handle::ask_within).
    #[error("no answer in time")]
    TimedOut,
    /// The child ended, dropped the question, or was found to block its thread, while it was
    /// working on it. The child may have done all that was asked.
    #[error("the child crashed while working on it")]
    Crashed,
}
