//! Tasks.

use std::time::Duration;

use tokio::time::Instant;

use super::{Hive, State, Submission};
use crate::{
    HiveError,
    auth::Principal,
    ledger::{Command, Dedup, Outcome},
    model::{
        NewTask, Page, PageRequest, QueueStatus, Task, TaskFilter, TaskId, TaskResult, Violation,
    },
};

impl Hive {
    /// Accepts tasks, all or none; they are on disk when this returns.
    ///
    /// # Errors
    /// [`HiveError::Invalid`] with a pointer to each fault (`/tasks/<n>/...`
    /// when there are several tasks), an idempotency mismatch, or what keeps
    /// the store from writing.
    pub async fn submit(
        &self,
        who: &Principal,
        tasks: Vec<NewTask>,
        dedup: Option<Dedup>,
    ) -> Result<Submission, HiveError> {
        match self.state() {
            State::Ready => {}
            other => return Err(HiveError::Unavailable(other.as_str())),
        }
        let violations = self.violations(&tasks);
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let command = Command::Submit {
            tasks,
            submitter: who.user.to_string(),
            dedup,
        };
        match self.inner.ledger.apply(command).await? {
            Outcome::Submitted { tasks, replayed } => Ok(Submission { tasks, replayed }),
            other => Err(unexpected(&other)),
        }
    }

    fn violations(&self, tasks: &[NewTask]) -> Vec<Violation> {
        let limits = &self.config().tasks;
        if let [task] = tasks {
            return task.violations(limits);
        }
        let max = limits.max_batch as usize;
        if tasks.is_empty() || tasks.len() > max {
            let detail = format!(
                "has {} tasks; allowed are 1 to {max} (tasks.max_batch)",
                tasks.len()
            );
            return vec![Violation {
                pointer: "/tasks".into(),
                detail,
            }];
        }
        let at = |i: usize, found: Violation| Violation {
            pointer: format!("/tasks/{i}{}", found.pointer),
            ..found
        };
        tasks
            .iter()
            .enumerate()
            .flat_map(|(i, task)| {
                task.violations(limits)
                    .into_iter()
                    .map(move |found| at(i, found))
            })
            .take(100)
            .collect()
    }

    /// The task as it stands.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also when it is not the caller's to see.
    pub async fn task(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        let task = self.inner.ledger.task(id).await?;
        task.filter(|task| may_see(who, task))
            .ok_or_else(|| not_found(id))
    }

    /// The recorded end of a task; waits up to `wait` for it (at most `server.max_wait`).
    ///
    /// # Errors
    /// [`HiveError::TaskNotFinished`] when it has none by then.
    pub async fn task_result(
        &self,
        who: &Principal,
        id: TaskId,
        wait: Duration,
    ) -> Result<TaskResult, HiveError> {
        let deadline = Instant::now() + wait.min(self.config().server.max_wait);
        let waiter = self.inner.watch.wait_for(id);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = waiter.ended_or_look_again(left);
            let task = self.task(who, id).await?;
            if task.status.is_final()
                && let Some(result) = self.inner.ledger.result(id).await?
            {
                return Ok(result);
            }
            if left.is_zero() || self.state() == State::Stopping {
                return Err(HiveError::TaskNotFinished {
                    task: id,
                    status: task.status,
                });
            }
            ended.await;
        }
    }

    /// Tasks without their content, newest first. A confined caller sees its own.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn tasks(
        &self,
        who: &Principal,
        mut filter: TaskFilter,
        page: PageRequest,
    ) -> Result<Page<Task>, HiveError> {
        if let Some(own) = who.confined_to() {
            if filter
                .submitter
                .as_deref()
                .is_some_and(|asked| asked != own)
            {
                return Ok(Page {
                    items: Vec::new(),
                    next_cursor: None,
                });
            }
            filter.submitter = Some(own.to_owned());
        }
        Ok(self.inner.ledger.tasks(filter, page).await?)
    }

    /// Calls a task off. A waiting one is cancelled when this returns; a
    /// running one is marked, and cancelled when its bot has ended it.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or that it has ended already.
    pub async fn cancel_task(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        self.task(who, id).await?;
        match self
            .inner
            .ledger
            .apply(Command::Cancel {
                task: id,
                actor: who.user.to_string(),
            })
            .await?
        {
            Outcome::Task(task) => Ok(*task),
            other => Err(unexpected(&other)),
        }
    }

    /// How the queue stands, exact as of the last commit.
    ///
    /// # Errors
    /// What keeps the store from reading.
    pub async fn queue(&self) -> Result<QueueStatus, HiveError> {
        Ok(self.inner.ledger.queue().await?)
    }
}

fn may_see(who: &Principal, task: &Task) -> bool {
    who.confined_to().is_none_or(|own| task.submitter == own)
}

fn not_found(id: TaskId) -> HiveError {
    HiveError::NotFound {
        kind: "task",
        id: id.to_string(),
    }
}

/// A store that answers with the wrong kind of outcome is broken.
pub(super) fn unexpected(outcome: &Outcome) -> HiveError {
    HiveError::Internal(format!("the store answered with {outcome:?}"))
}
