//! Reads for the hive's own work: scheduling, cancellation, retention.

use deia_model::{BotName, Pause, Priority, TaskId};

use super::{BoxFuture, StoreError};
use crate::{Cancelling, Demand, ReadyLane, ReadyTask};

/// A query for ready tasks, in the order of submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyQuery {
    /// Tasks with this demand.
    pub demand: Demand,
    /// Tasks of this priority.
    pub priority: Priority,
    /// Only those after this [`ReadyTask::order`].
    pub after: i64,
    /// Maximum number of tasks.
    pub limit: u32,
}

/// Tasks that ended so long ago that they may be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prunable {
    /// The tasks.
    pub tasks: Vec<TaskId>,
    /// Position at which to continue; `None`: that was the end.
    pub next: Option<i64>,
}

/// Reads the tasks to be started, cancelled or deleted.
pub trait SchedulerReads: Send + Sync + 'static {
    /// Counts ready tasks by demand and priority.
    fn ready_lanes(&self) -> BoxFuture<'_, Result<Vec<ReadyLane>, StoreError>>;

    /// Returns ready tasks of one demand and priority.
    fn ready(&self, query: ReadyQuery) -> BoxFuture<'_, Result<Vec<ReadyTask>, StoreError>>;

    /// Returns the pauses, that of the whole queue first, then by type.
    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>>;

    /// Returns the time at which [`RunDue`](crate::RunDue) next has work (milliseconds
    /// since the epoch): a task is due or expires, or dependents of a finished one are
    /// to be settled.
    fn next_due(&self) -> BoxFuture<'_, Result<Option<i64>, StoreError>>;

    /// Returns running tasks to be cancelled, with the bots that hold them.
    fn cancelling(&self) -> BoxFuture<'_, Result<Vec<Cancelling>, StoreError>>;

    /// Returns bots that hold tasks according to the store, under leases that end with the bot.
    fn bots_with_running_tasks(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>>;

    /// Returns bots that hold tasks according to the store, under leases of any kind.
    fn bots_with_attempts(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>>;

    /// Returns tasks past their retention, examining some thousands of tasks after
    /// `from`, which are old enough for that.
    fn prunable(&self, from: i64) -> BoxFuture<'_, Result<Prunable, StoreError>>;
}
