//! Reasons why an exchange has no answer, and how they are told from the errors of the client.

use std::{error::Error, io, time::Duration};

use super::{exchange::Phase, lookup::LookupError, refusal::ReachRefusal};

/// Reason why an exchange has no answer. The text is for the operator: it has neither the URL's
/// path nor anything of the request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The policy does not let the request go there. Nothing was sent.
    #[error("{0}")]
    Refused(#[from] ReachRefusal),
    /// The name has no answer.
    #[error("{0}")]
    Lookup(LookupError),
    /// No connection could be made.
    #[error("the receiver could not be connected to: {0}")]
    Connect(String),
    /// The connection could not be secured: certificate, version, or no TLS at all.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The deadline passed.
    #[error("no complete answer within {after:?}; the time ran out while {phase}")]
    TimedOut {
        /// Part of the exchange that was under way.
        phase: Phase,
        /// Time that was allowed.
        after: Duration,
    },
    /// The receiver reset or closed the connection before its answer was complete.
    #[error("the receiver closed the connection while {0}")]
    Closed(Phase),
    /// The answer is not proper HTTP, or its head exceeds the limits.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    /// The request cannot be made: one of its headers is reserved.
    #[error("the request cannot be sent: {0}")]
    Request(String),
}

impl ExchangeError {
    /// Returns whether the request, or a part of it, may have reached the receiver.
    pub(crate) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Lookup(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Request(_) => false,
            Self::TimedOut { phase, .. } | Self::Closed(phase) => {
                matches!(phase, Phase::Answer | Phase::Body)
            }
            Self::Malformed(_) => true,
        }
    }

    /// Tells apart the errors of the client.
    pub(super) fn of(error: reqwest::Error, phase: Phase, connect_timeout: Duration) -> Self {
        if error.is_connect() && error.is_timeout() {
            return Self::TimedOut {
                phase,
                after: connect_timeout,
            };
        }
        // Only one of these is found, so the order of the questions is that of their cost.
        if let Some(known) = own(&error) {
            return known;
        }
        if let Some(tls) = find::<rustls::Error>(&error) {
            return Self::Tls(tls.to_string());
        }
        if error.is_builder() {
            return Self::Request(innermost(&error));
        }
        let is_closed = causes(&error).any(is_end);
        match (error.is_connect(), is_closed) {
            // TCP reports no end while it connects, so the handshake of TLS was cut.
            (true, true) => Self::Tls("the receiver closed the connection".to_owned()),
            (true, false) => Self::Connect(innermost(&error)),
            (false, true) => Self::Closed(phase),
            (false, false) => Self::Malformed(innermost(&error)),
        }
    }
}

/// Returns the error that the resolver gave.
fn own(error: &reqwest::Error) -> Option<ExchangeError> {
    if let Some(refusal) = find::<ReachRefusal>(error) {
        return Some(ExchangeError::Refused(refusal.clone()));
    }
    Some(ExchangeError::Lookup(match find::<LookupError>(error)? {
        LookupError::TimedOut(after) => LookupError::TimedOut(*after),
        LookupError::Failed(io) => LookupError::Failed(io::Error::new(io.kind(), io.to_string())),
    }))
}

/// Returns true for the ways in which TCP and the client tell that the other side is gone.
fn is_end(error: &(dyn Error + 'static)) -> bool {
    let of_tcp = |io: &io::Error| {
        matches!(
            io.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::NotConnected
        )
    };
    let of_client = |hyper: &hyper::Error| {
        hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed()
    };
    error.downcast_ref().is_some_and(of_tcp) || error.downcast_ref().is_some_and(of_client)
}

/// Iterates over an error and its causes. An [`io::Error`] leaves out the error that it wraps
/// when it is asked for its source.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        let io = error.downcast_ref::<io::Error>();
        next = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
        Some(error)
    })
}

/// Returns the first error of that type among the causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Returns the text of the innermost cause. Outer ones repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
