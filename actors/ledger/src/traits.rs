//! The trait through which commands are applied and state is read.

use std::{fmt, future::Future, num::NonZero, path::PathBuf, pin::Pin, sync::Arc};

use deia_model::{
    BotName, BotRecord, Event, EventFilter, KeyRecord, LoginRecord, Page, PageRequest, Pause,
    Position, Priority, QueueStatus, SecretInfo, SecretName, Sight, StatusCounts, Task, TaskFilter,
    TaskId, TaskResult, TaskStatus, TaskType, Timestamp, User,
};

use super::{
    Cancelling, Command, EventLog, EventsPage, FollowerName, FollowerState, Hint, Offers,
    ReadyLane, ReadyTask, Refusal, Reply, StatisticsRow, StoredSecret,
};
use crate::anchor::Adrift;

/// A future that can be named.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Is told of what each commit has changed. It must not block.
pub type HintSink = Arc<dyn Fn(&[Hint]) + Send + Sync>;

/// Free space at the time when there was too little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Directory whose file system it is; empty when that is not known.
    pub dir: PathBuf,
    /// Free space of the file system, in bytes.
    pub free_bytes: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dir.as_os_str().is_empty() {
            true => Ok(()),
            false => write!(
                f,
                " ({}, {} free)",
                self.dir.display(),
                bytesize::ByteSize(self.free_bytes)
            ),
        }
    }
}

/// Why the store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The command is refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk, or what the store may use of it, is full. Nothing was changed.
    #[error("the disk is full{0}; nothing was changed")]
    Full(Shortage),
    /// The file of the store is no longer where it was opened. Nothing was changed.
    #[error(transparent)]
    Gone(#[from] Adrift),
    /// Too many commands wait already. Nothing was changed.
    #[error("the store has too much to do already")]
    Busy,
    /// The store is shut, or its writer is being restarted. Whether the command
    /// was applied is not known to the caller only if it had been accepted.
    #[error("the store is not open")]
    Closed,
    /// The cursor was not made by this store for this list.
    #[error("the cursor is not one that this list gave out")]
    BadCursor,
    /// The read took longer than it may.
    #[error("the read took too long and was ended")]
    ReadTimeout,
    /// Anything else.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Ready tasks that are wanted, in the order of submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyQuery {
    /// Of this type.
    pub task_type: TaskType,
    /// Of this priority.
    pub priority: Priority,
    /// Only those after this [`ReadyTask::order`].
    pub after: i64,
    /// At most this many.
    pub limit: u32,
}

/// Tasks that have ended so long ago that they may be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prunable {
    /// The tasks.
    pub tasks: Vec<TaskId>,
    /// Where to look on; `None`: that was the end.
    pub next: Option<i64>,
}

/// What has come of a task so far.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOutcome {
    /// Where it is in its life.
    pub status: TaskStatus,
    /// Its recorded end, once it has one.
    pub result: Option<TaskResult>,
}

/// Where a queued task stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Ready tasks of its type and priority before it, counted up to 10,000; `None`:
    /// not counted, for whoever does not see all tasks.
    pub ahead: Option<u64>,
    /// Of the first 100 tasks that it still waits for, those that are seen.
    pub waits_for: Vec<(TaskId, TaskStatus)>,
}

/// Where everything durable is. Implementations pass the same conformance
/// suite ([`crate::store`]).
pub trait Store: Send + Sync + 'static {
    /// Starts what applies commands. The future resolves when that has ended,
    /// with the reason; it may be started again then.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when it cannot be started.
    fn serve(&self) -> Result<BoxFuture<'static, String>, StoreError>;

    /// Finishes what was accepted and ends what [`Store::serve`] started.
    /// Commands after this are answered with [`StoreError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Applies a command in one transaction with its events; resolves when it
    /// is on disk. Dropping the future does not call the command back.
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>>;

    /// As [`Store::execute`], for what has happened already and is not to be
    /// forgotten: while there is no room on the disk it is kept in memory, in
    /// order, and nothing else is applied before it. Who keeps sending these
    /// bounds how many wait; beyond a limit they are refused as by
    /// [`Store::execute`]. One that was kept when the store is closed is lost.
    fn execute_deferred(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>>;

    /// Has `sink` called after each commit with what changed. It must not block.
    fn subscribe(&self, sink: HintSink);

    /// Has `offers` asked for a bot when a task comes in that may start at once.
    fn offer_to(&self, offers: Arc<dyn Offers>);

    /// The task, with its content, if whoever has that sight sees it. For who
    /// does not, as little is read as if it were not there.
    fn task_seen(
        &self,
        id: TaskId,
        sight: Sight,
    ) -> BoxFuture<'_, Result<Option<Task>, StoreError>>;

    /// The task, with its content.
    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<Task>, StoreError>> {
        self.task_seen(id, Sight::All)
    }

    /// The recorded end of a task; `None` while it has none.
    fn result(&self, id: TaskId) -> BoxFuture<'_, Result<Option<TaskResult>, StoreError>>;

    /// Where a task is in its life, and its recorded end: what one asks who
    /// waits for it, in one read. Seen as with [`Store::task_seen`].
    fn outcome(
        &self,
        id: TaskId,
        sight: Sight,
    ) -> BoxFuture<'_, Result<Option<TaskOutcome>, StoreError>>;

    /// Tasks without their content, the newest first, of those that whoever has
    /// that sight sees. Looks at a bounded number of tasks: a page may have fewer
    /// than `limit` items, even none, and go on. What is not seen is neither looked
    /// at nor told of by where a page ends.
    fn tasks(
        &self,
        sight: Sight,
        filter: TaskFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Task>, StoreError>>;

    /// All bots, by name.
    fn bots(&self) -> BoxFuture<'_, Result<Vec<BotRecord>, StoreError>>;

    /// One bot.
    fn bot(&self, name: BotName) -> BoxFuture<'_, Result<Option<BotRecord>, StoreError>>;

    /// Bots that have tasks in hand according to the store.
    fn bots_with_running_tasks(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>>;

    /// Running tasks that shall be cancelled, and the bots that have them.
    fn cancelling(&self) -> BoxFuture<'_, Result<Vec<Cancelling>, StoreError>>;

    /// All users, by name.
    fn users(&self) -> BoxFuture<'_, Result<Vec<User>, StoreError>>;

    /// One user.
    fn user(&self, name: String) -> BoxFuture<'_, Result<Option<User>, StoreError>>;

    /// All keys, revoked ones included, oldest first.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<KeyRecord>, StoreError>>;

    /// All sessions in browsers, also those that are over, oldest first.
    fn logins(&self) -> BoxFuture<'_, Result<Vec<LoginRecord>, StoreError>>;

    /// Descriptions of all stored secrets, by name.
    fn secrets(&self) -> BoxFuture<'_, Result<Vec<SecretInfo>, StoreError>>;

    /// One stored secret.
    fn secret(&self, name: SecretName) -> BoxFuture<'_, Result<Option<StoredSecret>, StoreError>>;

    /// Numbers of ready tasks by type and priority.
    fn ready_lanes(&self) -> BoxFuture<'_, Result<Vec<ReadyLane>, StoreError>>;

    /// Ready tasks of one type and priority.
    fn ready(&self, query: ReadyQuery) -> BoxFuture<'_, Result<Vec<ReadyTask>, StoreError>>;

    /// What is paused, the whole queue first, then by type.
    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>>;

    /// Where a waiting task stands, as far as whoever has that sight may know.
    fn standing(&self, id: TaskId, sight: Sight) -> BoxFuture<'_, Result<Standing, StoreError>>;

    /// Tasks past their retention, looking at some thousands of tasks after
    /// `from`, which are old enough for that.
    fn prunable(&self, from: i64) -> BoxFuture<'_, Result<Prunable, StoreError>>;

    /// The events of one task, oldest first, at most the last 1,000.
    fn task_events(&self, id: TaskId) -> BoxFuture<'_, Result<Vec<Event>, StoreError>>;

    /// When something next is to be done by [`RunDue`](super::RunDue)
    /// (milliseconds since the epoch): a task is due or expires, or what depends
    /// on an ended one is to be settled.
    fn next_due(&self) -> BoxFuture<'_, Result<Option<i64>, StoreError>>;

    /// How the queue stands; rates and waits are left empty.
    fn queue(&self) -> BoxFuture<'_, Result<QueueStatus, StoreError>>;

    /// Tasks by status.
    fn counts(&self) -> BoxFuture<'_, Result<StatusCounts, StoreError>>;

    /// Tasks that failed in the last 24 hours.
    fn failures_24h(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Events after that sequence number, in order.
    fn events(&self, after: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Event>, StoreError>>;

    /// Returns events after a cursor, unknown actions included: at least one, if there is
    /// any, and no more than fit into `max_events` and about `max_bytes`.
    fn events_after(
        &self,
        after: Position,
        max_events: NonZero<u32>,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<EventsPage, StoreError>>;

    /// Returns where the cursor of a follower stands; before all events if it was never
    /// moved.
    fn cursor(&self, follower: FollowerName) -> BoxFuture<'_, Result<Position, StoreError>>;

    /// Returns how far each follower is, by name.
    fn followers(&self) -> BoxFuture<'_, Result<Vec<FollowerState>, StoreError>>;

    /// Returns how long the event log is.
    fn event_log(&self) -> BoxFuture<'_, Result<EventLog, StoreError>>;

    /// Returns the number of the newest event that was recorded before that time; 0:
    /// there is none.
    fn last_event_before(&self, time: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Returns the statistics of that hour ([`hour_of`](crate::hour_of)) and later ones.
    fn statistics(&self, from: u32) -> BoxFuture<'_, Result<Vec<StatisticsRow>, StoreError>>;

    /// Returns events that somebody with that sight may see, the newest first. With
    /// less than [`Sight::All`] they are of tasks, task by task, and numbered within each.
    fn events_page(
        &self,
        sight: Sight,
        filter: EventFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Event>, StoreError>>;

    /// Sequence number of the newest event; 0 when there is none.
    fn last_event_seq(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Names the data that the store holds; stays through restarts.
    fn hive_id(&self) -> String;

    /// Whether the run before this one ended in an orderly way.
    fn previous_shutdown_clean(&self) -> bool;
}

/// The shared store.
pub type Ledger = Arc<dyn Store>;
