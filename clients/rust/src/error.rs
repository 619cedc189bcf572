//! Why a call did not give what was asked for.

use std::{fmt, time::Duration};

use deia_model::Violation;
use serde::Deserialize;

/// Why a call did not give what was asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// What the caller gave cannot be sent; nothing was.
    #[error("{what} {reason}")]
    Invalid {
        /// What the caller gave, for example `the URL ftp://hive`.
        what: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// Nobody answers there, or the connection broke before the answer was complete.
    #[error("no answer from {url}: {reason}")]
    Unreachable {
        /// The base URL that was tried.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// What listens there speaks another protocol: HTTP instead of TLS, or the other way
    /// round.
    #[error("what listens at {url} does not speak {expected}")]
    WrongScheme {
        /// The base URL that was tried.
        url: String,
        /// The protocol of that URL.
        expected: &'static str,
        /// The same URL with the other scheme.
        instead: String,
    },
    /// The certificate of the server does not stand for that hive. Nothing was sent.
    #[error("the certificate of {url} is not trusted: {reason}")]
    Untrusted {
        /// The base URL that was tried.
        url: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// There was no answer in time. What was asked for may still happen.
    #[error("{what} within {after:?}")]
    TimedOut {
        /// What did not happen in time.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The hive refused, with its reason.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer is not one that a hive gives: another server, another version,
    /// or a body over the limit.
    #[error("{url} did not answer as a hive does: {reason}")]
    Protocol {
        /// The base URL that was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// Whether the hive refused with this code of the error catalogue.
    pub fn has_code(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }

    /// Whether it may go well in a moment: nobody answers, not in time, or the
    /// hive is busy or starting. What was asked for may have been done.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Problem(problem) => matches!(problem.status, 429 | 503),
            Self::Invalid { .. }
            | Self::Protocol { .. }
            | Self::WrongScheme { .. }
            | Self::Untrusted { .. } => false,
        }
    }

    /// What the hive said, if it was the hive that refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

/// A refusal as the hive words it: RFC 9457 with a stable `code`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code in the error catalogue.
    pub code: String,
    /// What kind of problem it is, in a few words.
    pub title: String,
    /// What exactly is wrong and what to do about it.
    #[serde(default)]
    pub detail: Option<String>,
    /// The places in the input that are wrong.
    #[serde(default)]
    pub errors: Vec<Violation>,
    /// The permission that the key lacks.
    #[serde(default)]
    pub permission: Option<String>,
    /// The thing that is not there.
    #[serde(default)]
    pub missing: Option<Missing>,
    /// Names the request in the log of the server.
    #[serde(default)]
    pub request_id: Option<String>,
    /// When it is worth trying again, from the `Retry-After` header.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// A thing that a request names and that is not there, or not for its caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Missing {
    /// The kind of thing, such as `bot`.
    pub kind: String,
    /// Its name or id, as the request has it.
    pub id: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => f.write_str(detail),
            None => f.write_str(&self.title),
        }
    }
}

impl std::error::Error for Problem {}
