//! Reader threads. A read never waits for a write, and never blocks an arbiter.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{connection::readable, errors::store_error};
use crate::{BoxFuture, StoreError, metrics::StoreMetrics};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Instructions of SQLite's virtual machine between two checks of the clock: well under a
/// millisecond. Fixed: a clock read costs less than the steps between two.
const STEPS_PER_LOOK: i32 = 10_000;

thread_local! {
    /// Deadline of the current read of this thread.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The readers. They end when the pool is dropped.
pub(super) struct ReaderPool {
    reads: mpsc::SyncSender<Read>,
    metrics: Arc<StoreMetrics>,
}

impl ReaderPool {
    /// Starts `threads` readers with the given name, and a queue of that length. A read
    /// that takes longer than `timeout` is ended with [`StoreError::ReadTimeout`].
    pub(super) fn start(
        name: &str,
        path: &Path,
        (threads, queue_max): (usize, usize),
        timeout: Option<Duration>,
        metrics: Arc<StoreMetrics>,
    ) -> rusqlite::Result<Self> {
        let (reads, queue) = mpsc::sync_channel::<Read>(queue_max);
        let queue = Arc::new(Mutex::new(queue));
        for i in 0..threads {
            let mut db = readable(path)?;
            if timeout.is_some() {
                let late = || {
                    DEADLINE
                        .get()
                        .is_some_and(|deadline| Instant::now() >= deadline)
                };
                db.progress_handler(STEPS_PER_LOOK, Some(late))?;
            }
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{i}"))
                .spawn(move || serve(&db, &queue, timeout))
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        }
        Ok(Self { reads, metrics })
    }

    /// Runs `read` on one of the connections.
    pub(super) fn read<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let (metrics, asked) = (self.metrics.clone(), Instant::now());
        let job: Read = Box::new(move |db| {
            if !answer.is_closed() {
                let came_to = read(db);
                metrics.read(asked, came_to.is_ok());
                // If this fails, nobody waits any more.
                let _ = answer.send(came_to);
            }
        });
        let sent = self.reads.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => {
                self.metrics.read_refused();
                StoreError::Busy
            }
            mpsc::TrySendError::Disconnected(_) => StoreError::Closed,
        });
        Box::pin(async move {
            sent?;
            match answered.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(store_error(&error)),
                Err(_) => Err(StoreError::Failed("a read panicked".into())),
            }
        })
    }
}

impl ReaderPool {
    /// Like [`ReaderPool::read`], for reads of several statements: all of them see the
    /// same commit.
    pub(super) fn read_whole<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.read(move |db| {
            let _snapshot = Snapshot::begin(db)?;
            read(db)
        })
    }
}

/// A read-only transaction. It ends when it is dropped, even by a panic.
struct Snapshot<'a>(&'a Connection);

impl<'a> Snapshot<'a> {
    fn begin(db: &'a Connection) -> rusqlite::Result<Self> {
        db.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(db))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self
            .0
            .prepare_cached("COMMIT")
            .and_then(|mut end| end.execute([]));
        if let Err(error) = ended {
            tracing::warn!(%error, "the end of a read failed");
        }
    }
}

fn serve(db: &Connection, queue: &Mutex<mpsc::Receiver<Read>>, timeout: Option<Duration>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        DEADLINE.set(timeout.map(|timeout| Instant::now() + timeout));
        // A panic is an error of one caller and must not end the reader.
        if catch_unwind(AssertUnwindSafe(|| read(db))).is_err() {
            tracing::error!("a read panicked");
        }
    }
}
