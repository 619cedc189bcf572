//! Reading the events of a tree.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, Stream};
use thiserror::Error;
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use crate::events::Event;

/// Error of a reader that was too slow and missed events: those older than the last 4,096.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("missed {missed} events")]
pub struct Lagged {
    /// Number of events that were missed.
    pub missed: u64,
}

/// Stream of the events of a tree from [`Tree::subscribe`](crate::Tree::subscribe) on: a [`Stream`]
/// that ends with the tree. The last 4,096 events are kept for a slow reader; a reader that misses
/// some gets their number, and goes on with those that are left.
pub struct EventStream {
    state: State,
    _counted: Counted,
}

/// Counter of one of the streams of a tree, which is decreased on drop.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Waiting = Pin<Box<dyn Future<Output = (Result<Event, RecvError>, Receiver<Event>)> + Send>>;

enum State {
    Idle(Receiver<Event>),
    Waiting(Waiting),
    Ended,
}

impl EventStream {
    /// Makes a stream; with `None`, that of a tree that has ended.
    pub(crate) fn new(receiver: Option<Receiver<Event>>, streams: &Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::SeqCst);
        Self {
            state: receiver.map_or(State::Ended, State::Idle),
            _counted: Counted(Arc::clone(streams)),
        }
    }

    /// Waits for the next event. `None` once the tree has ended.
    pub async fn recv(&mut self) -> Option<Result<Event, Lagged>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Returns the next event if there is one now.
    pub fn try_recv(&mut self) -> Option<Result<Event, Lagged>> {
        self.recv().now_or_never().flatten()
    }

    fn ready(&mut self, received: Result<Event, RecvError>) -> Option<Result<Event, Lagged>> {
        match received {
            Ok(event) => Some(Ok(event)),
            Err(RecvError::Lagged(missed)) => Some(Err(Lagged { missed })),
            Err(RecvError::Closed) => {
                self.state = State::Ended;
                None
            }
        }
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(mut receiver) => {
                    // An event that is there already needs no future, and no memory for one.
                    let received = match receiver.try_recv() {
                        Ok(event) => Ok(event),
                        Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                        Err(TryRecvError::Closed) => Err(RecvError::Closed),
                        Err(TryRecvError::Empty) => {
                            self.state = State::Waiting(Box::pin(async move {
                                let received = receiver.recv().await;
                                (received, receiver)
                            }));
                            continue;
                        }
                    };
                    self.state = State::Idle(receiver);
                    return Poll::Ready(self.ready(received));
                }
                State::Waiting(mut waiting) => {
                    let Poll::Ready((received, receiver)) = waiting.as_mut().poll(cx) else {
                        self.state = State::Waiting(waiting);
                        return Poll::Pending;
                    };
                    self.state = State::Idle(receiver);
                    return Poll::Ready(self.ready(received));
                }
            }
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}
