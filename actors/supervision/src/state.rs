//! Kinds and states of children.

use std::fmt;

use serde::Serialize;

/// Kind of a child: worker or supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The child runs an actor.
    Worker,
    /// The child runs children.
    Supervisor,
}

/// State of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum ChildState {
    /// The child is declared and not started yet, or its supervisor is down.
    Declared,
    /// The child is being built and is not ready yet.
    Starting,
    /// The child is up.
    Running,
    /// The child was asked to stop.
    Stopping,
    /// The child ended and waits for its restart.
    Restarting,
    /// The child was terminated on request; its specification is kept.
    Terminated,
    /// The child ended by itself, and its restart type says to leave it so.
    Ended,
    /// The child's factory declined.
    Ignored,
    /// The child was stopped on purpose, to be resumed.
    Suspended,
    /// The child used up its restart budget and was left down.
    Quarantined,
    /// The child was removed.
    Removed,
    /// The child blocks its arbiter; its supervisor has not dealt with it yet, or cannot because it
    /// runs on the same arbiter.
    Stuck,
}

impl ChildState {
    /// Returns a stable, machine-readable code, the same as in JSON: `running`, `restarting`, ...
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Terminated => "terminated",
            Self::Ended => "ended",
            Self::Ignored => "ignored",
            Self::Suspended => "suspended",
            Self::Quarantined => "quarantined",
            Self::Removed => "removed",
            Self::Stuck => "stuck",
        }
    }

    /// Returns the state stored as `number`, by `as u8`.
    pub(crate) const COUNT: usize = STATES.len();

    pub(crate) fn from_u8(number: u8) -> Self {
        let state = STATES.get(usize::from(number));
        state.copied().unwrap_or(Self::Removed)
    }
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

const STATES: [ChildState; 12] = [
    ChildState::Declared,
    ChildState::Starting,
    ChildState::Running,
    ChildState::Stopping,
    ChildState::Restarting,
    ChildState::Terminated,
    ChildState::Ended,
    ChildState::Ignored,
    ChildState::Suspended,
    ChildState::Quarantined,
    ChildState::Removed,
    ChildState::Stuck,
];
