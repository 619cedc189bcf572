//! One request and its answer: limits, result, and the phase that it is in.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::error::ExchangeError;

/// Limits of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExchangeLimits {
    /// Time for all of it: look-up, connection, TLS, request, head and body of the answer.
    pub(crate) deadline: Duration,
    /// Bytes of the answer's body that are kept; the rest is not read.
    pub(crate) max_body_bytes: usize,
    /// Bytes that names and values of the answer's headers may have together.
    pub(crate) max_head_bytes: usize,
    /// Longest delay that `Retry-After` can ask for.
    pub(crate) max_retry_after: Duration,
}

/// Limits of a request and the head of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Time until the head is there: look-up, connection, TLS, request and waiting.
    pub(crate) deadline: Duration,
    /// Bytes that names and values of the answer's headers may have together.
    pub(crate) max_head_bytes: usize,
    /// Longest delay that `Retry-After` can ask for.
    pub(crate) max_retry_after: Duration,
}

impl ExchangeLimits {
    /// Returns the limits of the part before the body.
    pub(super) fn head(&self) -> HeadLimits {
        HeadLimits {
            deadline: self.deadline,
            max_head_bytes: self.max_head_bytes,
            max_retry_after: self.max_retry_after,
        }
    }
}

/// The result of one exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The answer, whatever its status, or the reason why there is none.
    pub(crate) outcome: Result<Answered, ExchangeError>,
    /// Time from the call to the outcome.
    pub(crate) duration: Duration,
}

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Status code. Redirects are not followed, so 3xx is possible.
    pub(crate) status: u16,
    /// Delay that the receiver asks for, bounded by [`ExchangeLimits::max_retry_after`].
    pub(crate) retry_after: Option<Duration>,
    /// The body as it was sent, never decompressed, or its beginning.
    pub(crate) body: Bytes,
    /// True if the body goes on beyond [`ExchangeLimits::max_body_bytes`].
    pub(crate) truncated: bool,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("body_bytes", &self.body.len())
            .field("truncated", &self.truncated)
            .finish()
    }
}

/// Part of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The name is looked up.
    Lookup,
    /// A connection is made, including TLS.
    Connect,
    /// The request is sent and the head of the answer awaited.
    Answer,
    /// The body of the answer is read.
    Body,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Lookup, Self::Connect, Self::Answer, Self::Body];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "looking up the name",
            Self::Connect => "connecting",
            Self::Answer => "waiting for the answer",
            Self::Body => "reading the body of the answer",
        })
    }
}

tokio::task_local! {
    /// Progress of the exchange that the task is polling, for the resolver, which knows nothing
    /// of the request.
    static CURRENT: Progress;
}

/// The phase that an exchange has come to. For messages only: a connection that was begun for
/// another exchange reports to that one.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Creates the progress of an exchange that has to connect first.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Phase::Connect as u8)))
    }

    /// Returns the progress of the exchange that is being polled, or one that nobody reads.
    pub(super) fn current() -> Self {
        CURRENT
            .try_with(Self::clone)
            .unwrap_or_else(|_| Self::new())
    }

    /// Runs a future whose progress this is.
    pub(super) async fn scope<T>(&self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), work).await
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// Returns the error of an exchange whose deadline passed now.
    pub(super) fn timed_out(&self, after: Duration) -> ExchangeError {
        let phase = self.phase();
        ExchangeError::TimedOut { phase, after }
    }

    pub(super) fn phase(&self) -> Phase {
        let at = usize::from(self.0.load(Ordering::Relaxed));
        Phase::ALL.get(at).copied().unwrap_or(Phase::Connect)
    }
}

/// The body of a request, which notes when it is taken: the connection is there then.
pub(super) struct RequestBody {
    pub(super) bytes: Bytes,
    pub(super) progress: Progress,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.progress.enter(Phase::Answer);
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // A usize has at most 64 bits here.
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
