//! Threads that read. A read never waits for a write, and never keeps an
//! arbiter waiting.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Instant,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::open::readable;
use crate::{
    ledger::{BoxFuture, StoreError},
    metrics::StoreMetrics,
};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The readers. They end when this is dropped.
pub(super) struct ReaderPool {
    reads: mpsc::SyncSender<Read>,
    metrics: Arc<StoreMetrics>,
}

impl ReaderPool {
    pub(super) fn start(
        path: &Path,
        threads: usize,
        queue_max: usize,
        metrics: Arc<StoreMetrics>,
    ) -> rusqlite::Result<Self> {
        let (reads, queue) = mpsc::sync_channel::<Read>(queue_max);
        let queue = Arc::new(Mutex::new(queue));
        for i in 0..threads {
            let db = readable(path)?;
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("deia-read-{i}"))
                .spawn(move || serve(&db, &queue))
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
                // Nobody waits any more when this fails.
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
                Ok(Err(error)) => Err(super::writer::store_error(&error)),
                Err(_) => Err(StoreError::Failed("a read panicked".into())),
            }
        })
    }
}

fn serve(db: &Connection, queue: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        // A panic is one caller's error, not the end of a reader.
        if catch_unwind(AssertUnwindSafe(|| read(db))).is_err() {
            tracing::error!("a read panicked");
        }
    }
}
