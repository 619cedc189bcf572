//! Errors of calls.

use std::{fmt, time::Duration};

use deia_model::Violation;
use serde::Deserialize;

/// Reason why a call failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The input of the caller cannot be sent; nothing was sent.
    #[error("{what} {reason}")]
    Invalid {
        /// The input, for example `the URL ftp://hive`.
        what: String,
        /// The error, and what would be valid.
        reason: String,
    },
    /// Nothing answers at the URL, or the connection broke before the answer was
    /// complete.
    #[error("no answer from {url}: {reason}")]
    Unreachable {
        /// The base URL that was tried.
        url: String,
        /// The error of the network.
        reason: String,
    },
    /// The server speaks another protocol: HTTP instead of TLS, or the other way round.
    #[error("the server at {url} does not speak {expected}")]
    WrongScheme {
        /// The base URL that was tried.
        url: String,
        /// The protocol of that URL.
        expected: &'static str,
        /// The same URL with the other scheme.
        instead: String,
    },
    /// The certificate of the server is not valid for the hive. Nothing was sent.
    #[error("the certificate of {url} is not trusted: {reason}")]
    Untrusted {
        /// The base URL that was tried.
        url: String,
        /// The error in the certificate.
        reason: String,
    },
    /// There was no answer in time. The request may still take effect.
    #[error("{what} within {after:?}")]
    TimedOut {
        /// Description of the request.
        what: String,
        /// Time waited.
        after: Duration,
    },
    /// The hive refused the request, with its reason.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer is not one of a hive: another server, another version, or a body over
    /// the limit.
    #[error("the answer of {url} is not that of a hive: {reason}")]
    Protocol {
        /// The base URL that was asked.
        url: String,
        /// The error in the answer.
        reason: String,
    },
}

impl ClientError {
    /// Returns whether the hive refused with this code of the error catalogue.
    pub fn has_code(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }

    /// Returns whether a retry may succeed: nothing answers, or not in time, or the
    /// hive is busy or starting. The request may have taken effect.
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

    /// Returns the refusal, if the hive refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

/// A refusal of the hive: RFC 9457 with a stable `code`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code in the error catalogue.
    pub code: String,
    /// The kind of problem, in a few words.
    pub title: String,
    /// The exact problem, and a remedy.
    #[serde(default)]
    pub detail: Option<String>,
    /// The places in the input that are invalid.
    #[serde(default)]
    pub errors: Vec<Violation>,
    /// The permission that the key lacks.
    #[serde(default)]
    pub permission: Option<String>,
    /// The object that does not exist.
    #[serde(default)]
    pub missing: Option<Missing>,
    /// The feature that is shed, such as `live_stream`.
    #[serde(default)]
    pub feature: Option<String>,
    /// Id of the request in the log of the server.
    #[serde(default)]
    pub request_id: Option<String>,
    /// Time after which a retry is worthwhile, from the `Retry-After` header.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// An object named by a request that does not exist, or is not visible to the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Missing {
    /// The kind of object, such as `bot`.
    pub kind: String,
    /// Name or id of the object, as in the request.
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
