//! Reads of tasks and of the queue, for callers.

use deia_model::{
    Page, PageRequest, QueueStatus, StatusCounts, Task, TaskFilter, TaskId, TaskResult, TaskStatus,
    Visibility,
};

use super::{BoxFuture, StoreError};

/// The state of a task, and its result once it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskCompletion {
    /// The status.
    pub status: TaskStatus,
    /// The result, once it is recorded.
    pub result: Option<TaskResult>,
}

/// The position of a task in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePosition {
    /// Number of ready tasks of the same type and priority before it, counted up to
    /// 10,000; `None`: not counted, for callers who do not see all tasks.
    pub ahead: Option<u64>,
    /// The first 100 tasks that it still waits for, without those that are not visible
    /// to the caller.
    pub waits_for: Vec<(TaskId, TaskStatus)>,
}

/// Reads tasks and the queue.
pub trait TaskReads: Send + Sync + 'static {
    /// Returns a task with its content, if it is visible to `visibility`. Otherwise reads as
    /// little as for a missing task.
    fn visible_task(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<Option<Task>, StoreError>>;

    /// Returns a task with its content.
    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<Task>, StoreError>> {
        self.visible_task(id, Visibility::All)
    }

    /// Returns the recorded result of a task; `None` while it has none.
    fn result(&self, id: TaskId) -> BoxFuture<'_, Result<Option<TaskResult>, StoreError>>;

    /// Returns the status of a task and its recorded result in one read, for callers
    /// who wait. Visible as with [`Self::visible_task`].
    fn outcome(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<Option<TaskCompletion>, StoreError>>;

    /// Returns tasks without their content, the newest first, of those visible to
    /// `visibility`. Examines a bounded number of tasks: a page may have fewer than `limit`
    /// items, even none, and still have a cursor. Tasks that are not visible are
    /// neither read nor revealed by the end of a page.
    fn tasks(
        &self,
        visibility: Visibility,
        filter: TaskFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Task>, StoreError>>;

    /// Returns the position of a waiting task in its queue, as far as `visibility` may know.
    fn queue_position(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<QueuePosition, StoreError>>;

    /// Returns the state of the queue; rates and waits are left empty.
    fn queue(&self) -> BoxFuture<'_, Result<QueueStatus, StoreError>>;

    /// Counts tasks by status.
    fn counts(&self) -> BoxFuture<'_, Result<StatusCounts, StoreError>>;

    /// Counts tasks that failed in the last 24 hours.
    fn failures_24h(&self) -> BoxFuture<'_, Result<u64, StoreError>>;
}
