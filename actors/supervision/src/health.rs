//! Health that children report of themselves.

use std::fmt;

use serde::Serialize;

/// Health of a child, as it reports it: see [`Context::set_health`](crate::Context::set_health).
/// The health is shown in the status and as an event; the runtime does not act on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// The child does what it should.
    #[default]
    Healthy,
    /// The child does less than it should, or does it more slowly.
    Degraded {
        /// Short description of the problem.
        why: String,
    },
    /// The child does not do what it should.
    Unhealthy {
        /// Short description of the problem.
        why: String,
    },
}

impl Health {
    /// Returns the health of a degraded child.
    pub fn degraded(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::Degraded { why }
    }

    /// Returns the health of an unhealthy child.
    pub fn unhealthy(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::Unhealthy { why }
    }

    /// Returns true if nothing is wrong.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Degraded { why } => write!(f, "degraded: {why}"),
            Self::Unhealthy { why } => write!(f, "unhealthy: {why}"),
        }
    }
}
