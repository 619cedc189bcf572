//! Reasons for which a child ends.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::panic::{Panic, PanicLocation};

/// Reason for which one run of a child (a worker or a whole supervisor) ended.
///
/// Everything but [`Normal`](ExitReason::Normal) and [`Shutdown`](ExitReason::Shutdown) is
/// *abnormal*, as in OTP. The distinction decides whether a
/// [`Restart::Transient`](crate::Restart::Transient) child is started again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// The actor called [`ActorContext::stop`](actix::ActorContext::stop) on its context: the
    /// actor's work is done.
    Normal,
    /// The supervisor asked the child to stop (shutdown, termination, suspension, or a sibling's
    /// restart), or the child is a supervisor that shut itself down on purpose.
    Shutdown,
    /// A handler, a life-cycle hook, a spawned future or the factory panicked.
    Panicked(Arc<Panic>),
    /// The actor stopped itself with an error: [`Context::fail`](crate::Context::fail).
    Failed(Arc<str>),
    /// The factory returned an error.
    StartFailed(Arc<str>),
    /// A supervisor did not start, because a child below it did not.
    ChildStart {
        /// Path of the child that failed.
        child: Arc<str>,
        /// Reason for which that child did not start.
        cause: Arc<ExitReason>,
    },
    /// A supervisor's restart budget was exhausted.
    GaveUp(Arc<GaveUp>),
    /// The child did not stop within its time-out, or was to be stopped brutally, or its arbiter
    /// was stopped.
    Killed,
    /// The child blocked its arbiter, so that it could not even be killed: see
    /// [`SupervisorSpec::watchdog`](crate::SupervisorSpec::watchdog). Also used if the child did
    /// not end although its time to stop was long over.
    Stuck {
        /// Rust type name of the message being handled.
        message_type: Option<&'static str>,
    },
    /// The child had mail and handled none of it for too long: see
    /// [`ChildSpec::stalled_after`](crate::ChildSpec::stalled_after).
    Stalled,
}

/// Circumstances in which a supervisor gave up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GaveUp {
    /// Path of the child whose restart was one too many.
    pub child: Arc<str>,
    /// Restarts allowed within `period`.
    pub max_restarts: u32,
    /// Length of the sliding window.
    pub period: Duration,
    /// Reason for which that child ended the last time.
    pub cause: ExitReason,
}

impl ExitReason {
    /// Returns true if this exit counts as a failure.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }

    /// Returns a stable, machine-readable code: `normal`, `shutdown`, `panicked`, `failed`,
    /// `start_failed`, `gave_up`, `killed`, `stuck` or `stalled`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown => "shutdown",
            Self::Panicked(_) => "panicked",
            Self::Failed(_) => "failed",
            Self::StartFailed(_) | Self::ChildStart { .. } => "start_failed",
            Self::GaveUp(_) => "gave_up",
            Self::Killed => "killed",
            Self::Stuck { .. } => "stuck",
            Self::Stalled => "stalled",
        }
    }

    /// Returns the text that came with the exit: the panic's message, the error, the exhausted
    /// child.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Normal | Self::Shutdown | Self::Killed | Self::Stuck { .. } | Self::Stalled => {
                None
            }
            Self::Panicked(panic) => Some(panic.message.clone()),
            Self::Failed(text) | Self::StartFailed(text) => Some(text.to_string()),
            Self::ChildStart { child, cause } => Some(format!("{child} did not start: {cause}")),
            Self::GaveUp(gave_up) => Some(gave_up.to_string()),
        }
    }

    /// Returns the location of the panic, if the child panicked and
    /// [`install_panic_hook`](crate::install_panic_hook) was called.
    #[must_use]
    pub fn location(&self) -> Option<&PanicLocation> {
        match self {
            Self::Panicked(panic) => panic.location.as_ref(),
            Self::GaveUp(gave_up) => gave_up.cause.location(),
            Self::ChildStart { cause, .. } => cause.location(),
            _ => None,
        }
    }

    /// Returns the Rust type name of the message that was being handled when the child ended, if
    /// there was one.
    #[must_use]
    pub fn message_type(&self) -> Option<&'static str> {
        match self {
            Self::Panicked(panic) => panic.message_type,
            Self::Stuck { message_type } => *message_type,
            Self::GaveUp(gave_up) => gave_up.cause.message_type(),
            Self::ChildStart { cause, .. } => cause.message_type(),
            _ => None,
        }
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restarts = match self.max_restarts {
            1 => "restart",
            _ => "restarts",
        };
        write!(
            f,
            "{} exceeded the budget of {} {restarts} in {:?}; last: {}",
            self.child, self.max_restarts, self.period, self.cause
        )
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        if let Some(message) = self.message() {
            write!(f, ": {message}")?;
        }
        if let Self::Panicked(panic) = self {
            if let Some(location) = &panic.location {
                write!(f, " at {location}")?;
            }
            if let Some(message_type) = panic.message_type {
                write!(f, " while handling {message_type}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ExitReason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::GaveUp(gave_up) => Some(&gave_up.cause),
            Self::ChildStart { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl PartialEq for ExitReason {
    /// Compares code and text; place and time do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code() && self.message() == other.message()
    }
}

impl Serialize for ExitReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ExitReason", 4)?;
        out.serialize_field("reason", self.code())?;
        out.serialize_field("message", &self.message())?;
        out.serialize_field("location", &self.location().map(ToString::to_string))?;
        out.serialize_field("message_type", &self.message_type())?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceeded_budget_is_told_in_grammatical_numbers() {
        let told = |max_restarts| {
            let gave_up = GaveUp {
                child: "app/store".into(),
                max_restarts,
                period: Duration::from_secs(5),
                cause: ExitReason::Killed,
            };
            gave_up.to_string()
        };
        let text =
            |budget| format!("app/store exceeded the budget of {budget} in 5s; last: killed");
        assert_eq!(told(0), text("0 restarts"));
        assert_eq!(told(1), text("1 restart"));
        assert_eq!(told(2), text("2 restarts"));
    }

    #[test]
    fn only_normal_and_shutdown_are_not_failures() {
        let cases = [
            (ExitReason::Normal, false),
            (ExitReason::Shutdown, false),
            (ExitReason::Failed("x".into()), true),
            (ExitReason::StartFailed("x".into()), true),
            (ExitReason::Killed, true),
            (ExitReason::Stuck { message_type: None }, true),
        ];
        for (reason, abnormal) in cases {
            assert_eq!(reason.is_abnormal(), abnormal, "{reason}");
        }
    }
}
