//! Futures of answers.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{futures::OwnedNotified, oneshot};

use crate::{
    control::Parked, error::AskError, exit::ExitReason, record::ChildRecord, state::ChildState,
    taken_by::TakenBy,
};

/// Future of an answer: see [`Handle::ask`](crate::Handle::ask).
#[must_use = "the question is withdrawn if this is dropped"]
pub struct Ask<R>(State<R>);

enum State<R> {
    Refused(AskError),
    Waiting(Waiting<R>),
}

struct Waiting<R> {
    answered: oneshot::Receiver<R>,
    record: Arc<ChildRecord>,
    /// Number of the question, among the messages of the child.
    number: u64,
    /// Watch on the question, if the child may lose its lease.
    watched: Option<Watched>,
    done: bool,
}

impl<R> Waiting<R> {
    /// Returns the reason for which there will be no answer.
    fn unanswered(&self) -> AskError {
        let record = &self.record;
        if record.taken() >= self.number {
            return AskError::Crashed;
        }
        match (record.settled_state(), record.parked()) {
            (ChildState::Removed, _) => AskError::Gone,
            (_, Some(Parked::Suspended)) => AskError::Suspended,
            (_, Some(Parked::Down)) => AskError::Down,
            (_, None) => AskError::Dropped,
        }
    }
}

/// Question to a child on another arbiter. If that arbiter is blocked, the task that works on the
/// question does not answer it before the thread comes back, if ever.
pub(crate) struct Watched {
    record: Arc<ChildRecord>,
    taken_by: TakenBy,
    revoked: Pin<Box<OwnedNotified>>,
}

impl Watched {
    pub(crate) fn new(record: &Arc<ChildRecord>) -> Self {
        Self {
            record: Arc::clone(record),
            taken_by: TakenBy::default(),
            revoked: Self::listen(record),
        }
    }

    /// Returns the record of the task that works on the question.
    pub(crate) fn taken_by(&self) -> TakenBy {
        self.taken_by.clone()
    }

    fn listen(record: &ChildRecord) -> Pin<Box<OwnedNotified>> {
        Box::pin(Arc::clone(record.revoked()).notified_owned())
    }

    /// Resolves when the task that works on the question has lost its lease.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.revoked.as_mut().poll(cx).is_ready() {
            self.revoked = Self::listen(&self.record);
            if self.taken_by.is_lost(self.record.fence.snapshot().lease()) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

/// Passes an answer on, and releases the asker when the task that works on the question is lost.
pub(crate) async fn relay<R>(
    mut asker: oneshot::Sender<R>,
    mut answered: oneshot::Receiver<R>,
    mut watched: Watched,
) {
    let answer = poll_fn(|cx| {
        if let Poll::Ready(answer) = Pin::new(&mut answered).poll(cx) {
            return Poll::Ready(answer.ok());
        }
        if asker.poll_closed(cx).is_ready() {
            answered.close();
            watched.record.withdraw_question();
            return Poll::Ready(None);
        }
        watched.poll_lost(cx).map(|()| None)
    });
    if let Some(answer) = answer.await {
        let _ = asker.send(answer);
    }
}

/// Part of a question that is sent to the child: the task that works on it, and whether the asker
/// must hear of it.
pub(crate) struct Asking(Option<Watched>);

impl Asking {
    pub(crate) fn of(record: &Arc<ChildRecord>) -> Self {
        Self((!record.is_here()).then(|| Watched::new(record)))
    }

    /// Returns the part of a question that is watched, on whichever arbiter the child is.
    pub(crate) fn watched(record: &Arc<ChildRecord>) -> Self {
        Self(Some(Watched::new(record)))
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn taken_by(&self) -> Option<TakenBy> {
        self.0.as_ref().map(Watched::taken_by)
    }
}

impl<R> Ask<R> {
    pub(crate) fn refused(error: AskError) -> Self {
        Self(State::Refused(error))
    }

    pub(crate) fn waiting(
        answered: oneshot::Receiver<R>,
        record: Arc<ChildRecord>,
        number: u64,
        asking: Asking,
    ) -> Self {
        Self(State::Waiting(Waiting {
            answered,
            record,
            number,
            watched: asking.0,
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
            Poll::Ready(answer) => answer.map_err(|_| waiting.unanswered()),
            Poll::Pending => {
                let Some(watched) = &mut waiting.watched else {
                    return Poll::Pending;
                };
                ready!(watched.poll_lost(cx));
                Err(AskError::Crashed)
            }
        };
        waiting.done = true;
        Poll::Ready(answer)
    }
}

impl<R> Drop for Waiting<R> {
    /// Withdraws a question whose answer nobody wants any more, so that it need not take up room.
    fn drop(&mut self) {
        if !self.done {
            // Closed first, so that a task that hears of the withdrawal finds the question
            // withdrawn.
            self.answered.close();
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

/// Future of the end of a child's run: see [`Handle::monitor`](crate::Handle::monitor). Resolves to
/// `None` if the child is removed, or its tree ends, before it runs again.
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
