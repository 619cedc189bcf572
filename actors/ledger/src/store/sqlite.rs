//! SQLite, embedded: one writer thread that drains its queue into one
//! transaction at a time, and a few threads that read.

mod access;
mod alerts;
mod apply;
mod aside;
mod attempts;
mod bots;
mod callers;
mod checkpoint;
mod claim;
mod connection;
mod counts;
mod cursors;
mod dependencies;
mod disk_space;
mod due;
mod edges;
mod entry;
mod erase;
mod errors;
mod event_pages;
mod event_reads;
mod event_rows;
mod examine;
mod external;
mod followers;
mod idempotency;
mod keys;
pub(super) mod lists;
mod memo;
mod messages;
mod meta;
mod mode;
mod open;
mod options;
mod pauses;
mod pool;
mod positions;
mod prune;
mod read;
mod reserve;
mod retry;
mod rows;
mod scan;
mod schema;
mod secrets;
mod sessions;
mod settings;
mod shares;
mod statistics;
mod submit;
#[cfg(test)]
mod tests;
mod trail;
mod transaction;
mod unreadable;
mod users;
mod waiting;
mod web_sessions;
mod webhooks;
mod writer;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Instant,
};

use arc_swap::ArcSwapOption;
use deia_model::{
    BotName, BotRecord, KeyRecord, Page, PageRequest, Pause, QueueStatus, SecretInfo, SecretName,
    StatusCounts, Task, TaskFilter, TaskId, TaskResult, Timestamp, User, Visibility,
    WebSessionRecord,
};
pub use examine::{Examined, examine};
pub use open::OpenError;
pub use options::SqliteOptions;
use tokio::sync::oneshot;

use self::{
    pool::ReaderPool,
    writer::{Answer, Job},
};
use crate::{
    AccessReads, BotReads, BoxFuture, Cancelling, Command, CommandLog, CommitListener,
    DirectDispatch, HeldAttempt, Prunable, QueuePosition, ReadyLane, ReadyQuery, ReadyTask, Reply,
    SchedulerReads, StoreError, StoredSecret, TaskCompletion, TaskPolicy, TaskReads,
};

/// The hive's data in one SQLite file.
pub struct SqliteStore {
    options: SqliteOptions,
    hive_id: String,
    previous_shutdown_clean: bool,
    is_new: bool,
    last_event_at: Option<Timestamp>,
    writer: ArcSwapOption<mpsc::SyncSender<Job>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Serves the reads of callers.
    readers: ReaderPool,
    /// Serves the hive's own reads: no list of a caller delays them.
    internal_readers: ReaderPool,
    /// Serves the followers of the event log: other reads do not delay them, nor they
    /// others.
    follower_readers: ReaderPool,
    shared: writer::Shared,
}

impl SqliteStore {
    /// Returns whether the file was just created.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the time of the newest event of the runs before.
    pub fn last_event_at(&self) -> Option<Timestamp> {
        self.last_event_at
    }

    fn send(
        &self,
        command: Command,
        deferrable: bool,
    ) -> Result<oneshot::Receiver<Result<Reply, StoreError>>, StoreError> {
        let writer = self.writer.load();
        let writer = writer.as_ref().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let metrics = &self.options.metrics;
        metrics.queued();
        let job = Job {
            command,
            queued_at: Instant::now(),
            deferrable,
            answer: Answer::to(answer),
        };
        let rejection = match writer.try_send(job) {
            Ok(()) => return Ok(answered),
            Err(mpsc::TrySendError::Full(_)) => StoreError::Busy,
            Err(mpsc::TrySendError::Disconnected(_)) => StoreError::Closed,
        };
        metrics.unqueued(1);
        metrics.not_applied(&rejection);
        Err(rejection)
    }
}

impl CommandLog for SqliteStore {
    fn serve(&self) -> Result<BoxFuture<'static, String>, StoreError> {
        if let Some(reason) = self.shared.untrusted.get() {
            return Err(StoreError::Failed(reason.clone()));
        }
        // Opening the file would create a new one.
        if let Some(anchor) = self.shared.anchor.get() {
            anchor.holds()?;
        }
        let (jobs, queue) = mpsc::sync_channel(self.options.queue_max);
        let (ended, end) = oneshot::channel();
        let writer = writer::Writer::open(&self.options, self.shared.clone())
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let thread = std::thread::Builder::new()
            .name("deia-ledger".into())
            .spawn(move || {
                let reason = catch_unwind(AssertUnwindSafe(|| writer.run(&queue)))
                    .unwrap_or_else(|_| "the writer thread panicked".into());
                // Waiting commands were never begun, and are answered accordingly.
                drop(queue);
                // The receiver of `ended` may be gone; then nobody is interested.
                let _ = ended.send(reason);
            })
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        self.options.metrics.queue_is_empty();
        self.writer.store(Some(Arc::new(jobs)));
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Box::pin(async move {
            end.await
                .unwrap_or_else(|_| "the writer thread is gone".into())
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Dropping the last sender lets the writer finish what it has accepted.
        self.writer.store(None);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Box::pin(async move {
            if let Some(thread) = thread {
                let (done, joined) = oneshot::channel();
                std::thread::spawn(move || {
                    let _ = done.send(thread.join().is_ok());
                });
                let _ = joined.await;
            }
        })
    }

    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>> {
        let sent = self.send(command, false);
        Box::pin(async move { sent?.await.unwrap_or(Err(StoreError::Unknown)) })
    }

    fn execute_deferred(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>> {
        let sent = self.send(command, true);
        Box::pin(async move { sent?.await.unwrap_or(Err(StoreError::Unknown)) })
    }

    fn subscribe(&self, sink: CommitListener) {
        self.shared
            .sinks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sink);
    }

    fn dispatch_to(&self, direct: Arc<dyn DirectDispatch>) {
        // Only the first counts: a store serves one hive.
        let _ = self.shared.direct.set(direct);
    }

    fn apply_policy(&self, policy: TaskPolicy) {
        self.shared.policy.store(Arc::new(policy));
    }

    fn hive_id(&self) -> String {
        self.hive_id.clone()
    }

    fn previous_shutdown_clean(&self) -> bool {
        self.previous_shutdown_clean
    }
}

impl TaskReads for SqliteStore {
    fn visible_task(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<Option<Task>, StoreError>> {
        self.readers
            .read_whole(move |db| match read::is_visible(db, id, &visibility)? {
                true => read::task(db, id),
                false => Ok(None),
            })
    }

    fn result(&self, id: TaskId) -> BoxFuture<'_, Result<Option<TaskResult>, StoreError>> {
        self.readers.read(move |db| read::result(db, id))
    }

    fn outcome(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<Option<TaskCompletion>, StoreError>> {
        self.readers
            .read_whole(move |db| match read::is_visible(db, id, &visibility)? {
                true => read::outcome(db, id),
                false => Ok(None),
            })
    }

    fn tasks(
        &self,
        visibility: Visibility,
        filter: TaskFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Task>, StoreError>> {
        let after = match page.cursor.as_deref().map(lists::cursor) {
            Some(None) => return Box::pin(async { Err(StoreError::BadCursor) }),
            Some(Some(after)) => Some(after),
            None => None,
        };
        let list = lists::List {
            visibility,
            filter,
            after,
            limit: page.limit,
        };
        self.readers.read_whole(move |db| lists::tasks(db, list))
    }

    fn queue_position(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<QueuePosition, StoreError>> {
        self.readers
            .read_whole(move |db| read::queue_position(db, id, &visibility))
    }

    fn queue(&self) -> BoxFuture<'_, Result<QueueStatus, StoreError>> {
        self.readers.read_whole(read::queue)
    }

    fn counts(&self) -> BoxFuture<'_, Result<StatusCounts, StoreError>> {
        self.readers.read(read::counts)
    }

    fn failures_24h(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.readers.read(read::failures_24h)
    }
}

impl SchedulerReads for SqliteStore {
    fn ready_lanes(&self) -> BoxFuture<'_, Result<Vec<ReadyLane>, StoreError>> {
        self.internal_readers.read(read::ready_lanes)
    }

    fn ready(&self, query: ReadyQuery) -> BoxFuture<'_, Result<Vec<ReadyTask>, StoreError>> {
        self.internal_readers
            .read(move |db| read::ready(db, &query))
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        self.internal_readers.read(pauses::pauses)
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<i64>, StoreError>> {
        self.internal_readers.read(read::next_due)
    }

    fn cancelling(&self) -> BoxFuture<'_, Result<Vec<Cancelling>, StoreError>> {
        self.internal_readers.read(read::cancelling)
    }

    fn bots_with_running_tasks(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>> {
        let node = self.options.node;
        self.internal_readers
            .read(move |db| read::bots_with_running_tasks(db, node))
    }

    fn bots_with_attempts(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>> {
        let node = self.options.node;
        self.internal_readers
            .read(move |db| read::bots_with_attempts(db, node))
    }

    fn prunable(&self, from: i64) -> BoxFuture<'_, Result<Prunable, StoreError>> {
        let retention = self.shared.policy.load().retention;
        self.internal_readers
            .read(move |db| prune::prunable(db, &retention, from))
    }
}

impl AccessReads for SqliteStore {
    fn users(&self) -> BoxFuture<'_, Result<Vec<User>, StoreError>> {
        self.internal_readers.read(users::all)
    }

    fn user(&self, name: String) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
        self.internal_readers.read(move |db| users::find(db, &name))
    }

    fn keys(&self) -> BoxFuture<'_, Result<Vec<KeyRecord>, StoreError>> {
        self.internal_readers.read(keys::all)
    }

    fn web_sessions(&self) -> BoxFuture<'_, Result<Vec<WebSessionRecord>, StoreError>> {
        self.internal_readers.read(web_sessions::all)
    }

    fn secrets(&self) -> BoxFuture<'_, Result<Vec<SecretInfo>, StoreError>> {
        self.internal_readers.read(secrets::all)
    }

    fn secret(&self, name: SecretName) -> BoxFuture<'_, Result<Option<StoredSecret>, StoreError>> {
        self.internal_readers
            .read(move |db| secrets::find(db, &name))
    }
}

impl BotReads for SqliteStore {
    fn bots(&self) -> BoxFuture<'_, Result<Vec<BotRecord>, StoreError>> {
        self.readers.read(bots::all)
    }

    fn bot(&self, name: BotName) -> BoxFuture<'_, Result<Option<BotRecord>, StoreError>> {
        self.readers.read(move |db| bots::find(db, &name))
    }

    fn held_attempts(&self, bot: BotName) -> BoxFuture<'_, Result<Vec<HeldAttempt>, StoreError>> {
        self.readers.read(move |db| read::held_attempts(db, &bot))
    }
}
