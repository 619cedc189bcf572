//! Tasks.

use std::time::Duration;

use deia_hive::model::{
    NewTask, Page, PageRequest, Submitted, Task, TaskFilter, TaskId, TaskResult,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Client, ClientError, TaskState, wire::BatchIds};

const TASKS: [&str; 3] = ["api", "v1", "tasks"];
/// The longest single poll that is tried first; the hive's `server.max_wait` is not known here.
const POLL: Duration = Duration::from_secs(20);
/// The least that `server.max_wait` may be: a poll that no hive refuses.
const SHORT_POLL: Duration = Duration::from_secs(1);
/// Before the next poll when the hive answered without waiting.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Batch<'a> {
    tasks: &'a [NewTask],
}

impl Client {
    /// Submits a task. It is on disk when this returns. With an idempotency key
    /// the call may be repeated: the task is submitted once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(
        &self,
        task: &NewTask,
        idempotency_key: Option<&str>,
    ) -> Result<Submitted, ClientError> {
        self.post(&["api", "v1", "tasks", "submit"])
            .idempotency_key(idempotency_key)?
            .json(task)?
            .answer()
            .await
    }

    /// Submits tasks, all or none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit_batch(
        &self,
        tasks: &[NewTask],
        idempotency_key: Option<&str>,
    ) -> Result<Vec<TaskId>, ClientError> {
        let accepted: BatchIds = self
            .post(&["api", "v1", "tasks", "batch"])
            .idempotency_key(idempotency_key)?
            .json(&Batch { tasks })?
            .answer()
            .await?;
        Ok(accepted.ids)
    }

    /// One page of tasks, newest first, without their content.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tasks(
        &self,
        filter: &TaskFilter,
        page: &PageRequest,
    ) -> Result<Page<Task>, ClientError> {
        self.get(&TASKS)
            .query("status", filter.status.map(|status| status.as_str()))
            .query("type", filter.task_type.as_ref())
            .query(
                "priority",
                filter.priority.map(|p| format!("P{}", p.rank())),
            )
            .query("bot", filter.bot.as_ref())
            .query("submitter", filter.submitter.as_ref())
            .query("limit", Some(page.limit))
            .query("cursor", page.cursor.as_ref())
            .answer()
            .await
    }

    /// A task, content included.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn task(&self, id: TaskId) -> Result<Task, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string()])
            .answer()
            .await
    }

    /// Where a task is in its life: the cheapest question about it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn task_status(&self, id: TaskId) -> Result<TaskState, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string(), "status"])
            .answer()
            .await
    }

    /// The recorded end of a task. The hive waits up to `wait` for it, and no
    /// longer than its `server.max_wait`.
    ///
    /// # Errors
    /// A problem with code `task_not_finished` when it has not ended by then.
    pub async fn task_result(&self, id: TaskId, wait: Duration) -> Result<TaskResult, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string(), "result"])
            .query("wait_ms", (!wait.is_zero()).then_some(wait.as_millis()))
            .waiting(wait)
            .answer()
            .await
    }

    /// The recorded end of a task, however many polls that takes.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] when it has not ended `within` that time.
    pub async fn wait_for_result(
        &self,
        id: TaskId,
        within: Duration,
    ) -> Result<TaskResult, ClientError> {
        let (start, mut longest) = (Instant::now(), POLL);
        loop {
            let left = within.saturating_sub(start.elapsed());
            let (asked_at, wait) = (Instant::now(), left.min(longest));
            match self.task_result(id, wait).await {
                Err(error) if error.has_code("task_not_finished") => {}
                Err(error) if error.has_code("invalid_parameter") && wait > SHORT_POLL => {
                    longest = SHORT_POLL;
                    continue;
                }
                other => return other,
            }
            if start.elapsed() >= within {
                return Err(ClientError::TimedOut {
                    what: format!("{id} has not ended"),
                    after: within,
                });
            }
            if asked_at.elapsed() < wait / 2 {
                sleep(PAUSE.min(within.saturating_sub(start.elapsed()))).await;
            }
        }
    }

    /// Calls a task off; a running one is cancelled as soon as its bot has ended it.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict when it has ended already.
    pub async fn cancel_task(&self, id: TaskId) -> Result<Task, ClientError> {
        self.post(&["api", "v1", "tasks", &id.to_string(), "cancel"])
            .answer()
            .await
    }
}
