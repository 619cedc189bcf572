//! Health that a child reports of itself.

use std::fmt;

use serde::Serialize;

/// How a child is, in its own words: see [`Context::set_health`](crate::Context::set_health). It is
/// reported in the status and as an event; the runtime does not act on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// Does what it should.
    #[default]
    Healthy,
    /// Does less than it should, or does it more slowly.
    Degraded {
        /// What is wrong, in a few words.
        why: String,
    },
    /// Does not do what it should.
    Unhealthy {
        /// What is wrong, in a few words.
        why: String,
    },
}

impl Health {
    /// A degraded child.
    pub fn degraded(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::Degraded { why }
    }

    /// An unhealthy child.
    pub fn unhealthy(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::Unhealthy { why }
    }

    /// Returns whether nothing is wrong.
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
