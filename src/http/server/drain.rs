//! Closing connections without failing a request.
//!
//! An idle connection cannot be closed safely at once: a request may be on its way. So
//! the server first answers for a while with `Connection: close`
//! ([`ConnectionDrain::last_call`]), which leaves only connections that are idle for
//! long, then stops accepting, and then closes the idle ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::yield_now,
    time::timeout,
};

/// Time that a worker may take to begin the connections accepted for it. Fixed: workers
/// take milliseconds; a longer wait would delay a restart for one that hangs.
const BARRIER_WITHIN: Duration = Duration::from_secs(1);
/// Scheduler turns after which a worker has begun all connections accepted for it before.
/// Fact: the scheduler of Tokio begins a task within its turns.
const TURNS: usize = 16;

/// The open connections of one server, and whether they are to be closed.
pub(crate) struct ConnectionDrain {
    last_call: AtomicBool,
    open: AtomicUsize,
    workers: AtomicUsize,
    /// Workers that have passed the current barrier.
    passed: AtomicUsize,
    barrier: watch::Sender<u64>,
    /// Signals a change of any of the counts.
    changed: Notify,
}

/// A connection, open as long as this lives.
pub(crate) struct OpenConnection(Arc<ConnectionDrain>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

/// A worker of the server, alive as long as this lives.
struct Worker(Arc<ConnectionDrain>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl ConnectionDrain {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            last_call: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            workers: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
            barrier: watch::Sender::new(0),
            changed: Notify::new(),
        })
    }

    /// Counts a connection from now on.
    pub(crate) fn open(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Ordering::AcqRel);
        OpenConnection(Arc::clone(self))
    }

    /// Has every answer from now on end its connection.
    pub(crate) fn last_call(&self) {
        self.last_call.store(true, Ordering::Release);
    }

    /// Returns whether an answer is to end its connection.
    pub(crate) fn is_last_call(&self) -> bool {
        self.last_call.load(Ordering::Acquire)
    }

    /// Waits until no connection is open, or the time is over.
    pub(crate) async fn closed(&self, within: Duration) {
        self.until(within, || self.open.load(Ordering::Acquire) == 0)
            .await;
    }

    /// Takes part in barriers. To be spawned on each worker.
    pub(crate) async fn worker(self: Arc<Self>) {
        self.workers.fetch_add(1, Ordering::AcqRel);
        let this = Worker(self);
        let mut barrier = this.0.barrier.subscribe();
        while barrier.changed().await.is_ok() {
            // Connections accepted before were queued before this task.
            for _ in 0..TURNS {
                yield_now().await;
            }
            this.0.passed.fetch_add(1, Ordering::AcqRel);
            this.0.changed.notify_waiters();
        }
    }

    /// Waits until every worker has begun the connections accepted for it until now: only
    /// then are they counted.
    pub(crate) async fn all_begun(&self) {
        self.passed.store(0, Ordering::Release);
        self.barrier.send_modify(|round| *round += 1);
        let all = || self.passed.load(Ordering::Acquire) >= self.workers.load(Ordering::Acquire);
        self.until(BARRIER_WITHIN, all).await;
    }

    async fn until(&self, within: Duration, is_so: impl Fn() -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is_so() {
                    return;
                }
                changed.await;
            }
        };
        // The time is a limit, not a failure.
        let _ = timeout(within, waiting).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_connection_is_waited_for_within_a_limit() {
        let drain = ConnectionDrain::new();
        let limit = Duration::from_secs(5);
        let begun = tokio::time::Instant::now();
        drain.closed(limit).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "none is open");
        let (one, other) = (drain.open(), drain.open());
        drop(one);
        let closes = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(other);
        };
        tokio::join!(drain.closed(limit), closes);
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        let _stays = drain.open();
        drain.closed(limit).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn barrier_waits_for_connections_queued_on_each_worker() {
        let drain = ConnectionDrain::new();
        let workers: Vec<_> = (0..2)
            .map(|_| tokio::spawn(Arc::clone(&drain).worker()))
            .collect();
        yield_now().await;
        let begins = Arc::clone(&drain);
        let accepted = tokio::spawn(async move { begins.open() });
        drain.all_begun().await;
        assert!(accepted.is_finished());
        workers.iter().for_each(tokio::task::JoinHandle::abort);
        let begun = tokio::time::Instant::now();
        drain.all_begun().await;
        assert!(begun.elapsed() <= BARRIER_WITHIN);
    }
}
