//! Answers to come.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{futures::OwnedNotified, oneshot};

use crate::{
    envelope::TakenBy, error::AskError, exit::ExitReason, record::ChildRecord, state::ChildState,
};

/// The answer to come: see [`Handle::ask`](crate::Handle::ask).
#[must_use = "the question is withdrawn if this is dropped"]
pub struct Ask<R>(State<R>);

enum State<R> {
    Refused(AskError),
    Waiting(Waiting<R>),
}

struct Waiting<R> {
    answered: oneshot::Receiver<R>,
    record: Arc<ChildRecord>,
    /// Of a child that may lose its lease.
    elsewhere: Option<Elsewhere>,
    done: bool,
}

/// A question to a child on another arbiter. If that is blocked, whoever works on the question does
/// not answer it before the thread comes back, if ever.
struct Elsewhere {
    taken_by: TakenBy,
    revoked: Pin<Box<OwnedNotified>>,
}

impl Elsewhere {
    fn new(record: &ChildRecord) -> Self {
        Self {
            taken_by: TakenBy::default(),
            revoked: Self::listen(record),
        }
    }

    fn listen(record: &ChildRecord) -> Pin<Box<OwnedNotified>> {
        Box::pin(Arc::clone(record.revoked()).notified_owned())
    }

    /// Ready when whoever works on it has lost its lease.
    fn poll_lost(&mut self, record: &ChildRecord, cx: &mut Context<'_>) -> Poll<()> {
        while self.revoked.as_mut().poll(cx).is_ready() {
            self.revoked = Self::listen(record);
            if self.taken_by.is_lost(record.fence.snapshot().lease()) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

/// What goes with a question to the child: who works on it, and whether the asker is to hear of it.
pub(crate) struct Asking(Option<Elsewhere>);

impl Asking {
    pub(crate) fn of(record: &ChildRecord) -> Self {
        Self((!record.is_here()).then(|| Elsewhere::new(record)))
    }

    pub(crate) fn taken_by(&self) -> Option<TakenBy> {
        self.0.as_ref().map(|elsewhere| elsewhere.taken_by.clone())
    }
}

impl<R> Ask<R> {
    pub(crate) fn refused(error: AskError) -> Self {
        Self(State::Refused(error))
    }

    pub(crate) fn waiting(
        answered: oneshot::Receiver<R>,
        record: Arc<ChildRecord>,
        asking: Asking,
    ) -> Self {
        Self(State::Waiting(Waiting {
            answered,
            record,
            elsewhere: asking.0,
            done: false,
        }))
    }
}

impl<R> Future for Ask<R> {
    type Output = Result<R, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = match &mut self.0 {
            State::Refused(error) => return Poll::Ready(Err(*error)),
            State::Waiting(waiting) => waiting,
        };
        let answer = match Pin::new(&mut waiting.answered).poll(cx) {
            Poll::Ready(answer) => answer.map_err(|_| match waiting.record.state() {
                ChildState::Removed => AskError::Gone,
                _ => AskError::Crashed,
            }),
            Poll::Pending => {
                let Some(elsewhere) = &mut waiting.elsewhere else {
                    return Poll::Pending;
                };
                ready!(elsewhere.poll_lost(&waiting.record, cx));
                Err(AskError::Crashed)
            }
        };
        waiting.done = true;
        Poll::Ready(answer)
    }
}

impl<R> Drop for Waiting<R> {
    /// Nobody wants the answer any more: the question need not take up room.
    fn drop(&mut self) {
        if !self.done {
            self.record.withdraw_question();
        }
    }
}

impl<R> fmt::Debug for Ask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Refused(error) => f.debug_tuple("Ask").field(error).finish(),
            State::Waiting(waiting) => f.debug_tuple("Ask").field(waiting.record.path()).finish(),
        }
    }
}

/// The end of a child's run: see [`Handle::monitor`](crate::Handle::monitor). Resolves to `None` if
/// the child is removed, or its tree ends, before it runs again.
#[must_use = "a monitor does nothing unless it is awaited"]
pub struct Monitor(pub(crate) oneshot::Receiver<ExitReason>);

impl Future for Monitor {
    type Output = Option<ExitReason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}
