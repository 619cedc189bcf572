//! Tasks.

use std::{sync::Arc, time::Duration};

use deia_ledger::{CancelTask, EraseTask, Idempotency, Ledger, RetryTask, Submission, Submit};
use deia_model::{
    NewTask, Page, PageRequest, Permission, Principal, Task, TaskFilter, TaskId, TaskResult,
    Timestamp, Violation,
};
use tokio::time::Instant;

use super::{TaskNeeds, spans::SubmitSpan};
use crate::{
    HiveError,
    access::AccessApi,
    bots::{BotRegistry, BotsApi, Outputs},
    config::{Config, Settings},
    lifecycle::Lifecycle,
    shedding::SheddingApi,
    subsystem::Deps,
    waiters::Waiters,
};

/// Interface to the tasks that callers may see.
#[derive(Clone)]
pub struct TasksApi {
    pub(super) settings: Settings,
    pub(super) ledger: Ledger,
    pub(super) access: AccessApi,
    pub(super) bots: BotsApi,
    pub(super) registry: BotRegistry,
    pub(super) outputs: Outputs,
    pub(super) lifecycle: Arc<Lifecycle>,
    shedding: SheddingApi,
    watch: Waiters<TaskId>,
}

impl TasksApi {
    pub(super) fn new(deps: &Deps, needs: &TaskNeeds<'_>, watch: Waiters<TaskId>) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: needs.access.clone(),
            bots: needs.bots.api().clone(),
            registry: needs.bots.registry().clone(),
            outputs: needs.bots.outputs().clone(),
            lifecycle: deps.lifecycle.clone(),
            shedding: SheddingApi::new(deps.level.clone()),
            watch,
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.settings.get()
    }

    /// Accepts tasks, all or none; they are on disk when this returns.
    ///
    /// # Errors
    /// [`HiveError::Invalid`] with a pointer to each fault (`/tasks/<n>/...` if there are several
    /// tasks), [`HiveError::SubmissionsShed`] or [`HiveError::ReadOnly`] at a level that does not
    /// admit them, an idempotency mismatch, or a failure of the store to write.
    pub async fn submit(
        &self,
        who: &Principal,
        mut tasks: Vec<NewTask>,
        idempotency: Option<Idempotency>,
    ) -> Result<Submission, HiveError> {
        let wait = self.config().server.max_wait;
        self.lifecycle.takes_work(wait).await?;
        let violations = self.violations(&mut tasks);
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        self.shedding.admits_tasks(&tasks)?;
        let span = SubmitSpan::begin(&mut tasks);
        let command = Submit {
            tasks,
            submitter: who.user.to_string(),
            role: who.role,
            idempotency,
        };
        let outcome = self.access.apply_for(who, command).await;
        span.end(outcome.as_ref().err());
        Ok(outcome?)
    }

    fn violations(&self, tasks: &mut [NewTask]) -> Vec<Violation> {
        let config = self.config();
        let limits = &config.tasks.limits();
        let now = Timestamp::now();
        let in_place = |place: usize, task: &mut NewTask| {
            let mut found = task.settle(now);
            found.extend(task.violations(limits));
            found.extend(task.misplaced(place));
            found
        };
        if let [task] = tasks {
            return in_place(0, task);
        }
        let max = config.tasks.max_batch as usize;
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
            .iter_mut()
            .enumerate()
            .flat_map(|(i, task)| in_place(i, task).into_iter().map(move |found| at(i, found)))
            .take(100)
            .collect()
    }

    /// Returns the current state of a task.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also if the caller may not see the task.
    pub async fn get(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        let task = self.ledger.visible_task(id, who.visibility()).await?;
        task.ok_or_else(|| not_found(id))
    }

    /// Returns the task, with the lengths of the outputs kept of its failed attempts.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also if the caller may not see the task.
    pub async fn get_with_outputs(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        let task = self.get(who, id).await?;
        Ok(self.with_outputs(task).await)
    }

    /// Returns the recorded end of a task; waits up to `wait` for it (at most `server.max_wait`).
    ///
    /// # Errors
    /// [`HiveError::TaskNotFinished`] if the task has not ended by then.
    pub async fn result(
        &self,
        who: &Principal,
        id: TaskId,
        wait: Duration,
    ) -> Result<TaskResult, HiveError> {
        let deadline = Instant::now() + wait.min(self.config().server.max_wait);
        let waiter = self.watch.wait_for(id);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = waiter.woken_within(left);
            let seen = self.ledger.outcome(id, who.visibility()).await?;
            let seen = seen.ok_or_else(|| not_found(id))?;
            if let Some(result) = seen.result {
                return Ok(result);
            }
            // A stopping hive answers as long as it accepts requests.
            if left.is_zero() {
                return Err(HiveError::TaskNotFinished {
                    task: id,
                    status: seen.status,
                });
            }
            ended.await;
        }
    }

    /// Lists tasks without their content, newest first. A restricted caller sees its own.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn list(
        &self,
        who: &Principal,
        filter: TaskFilter,
        page: PageRequest,
    ) -> Result<Page<Task>, HiveError> {
        Ok(self.ledger.tasks(who.visibility(), filter, page).await?)
    }

    /// Cancels a task. A waiting task is cancelled when this returns; a running one is marked,
    /// and cancelled once its bot has ended it.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or a conflict if the task has ended already.
    pub async fn cancel(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        self.get(who, id).await?;
        let command = CancelTask {
            task: id,
            actor: who.user.to_string(),
            only_waiting: false,
        };
        Ok(shown(who, self.access.apply_for(who, command).await?))
    }

    /// Puts a task that has ended back into the queue, with all its attempts. The task waits
    /// again for its dependencies that have not ended.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or a conflict if the task has not ended.
    pub async fn retry(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        self.get(who, id).await?;
        let command = RetryTask {
            task: id,
            actor: who.user.to_string(),
            only_failed: false,
            role: who.role,
        };
        Ok(shown(who, self.access.apply_for(who, command).await?))
    }

    /// Erases the content, the metadata, the outputs and the errors of a task that has ended. The
    /// record stays. A repeated call changes nothing.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or a conflict if the task has not ended or its files stay for
    /// now.
    pub async fn erase(&self, who: &Principal, id: TaskId) -> Result<(), HiveError> {
        self.get(who, id).await?;
        let command = EraseTask {
            task: id,
            actor: who.user.to_string(),
        };
        self.access.apply_for(who, command).await?;
        // The record no longer lists any files: if this is interrupted, the next start removes
        // them.
        self.remove_outputs(id).await
    }
}

/// Returns the part of a task that the caller who has just changed it may see.
fn shown(who: &Principal, task: Task) -> Task {
    match who.may(Permission::TaskRead) {
        true => task,
        false => task.outline(),
    }
}

fn not_found(id: TaskId) -> HiveError {
    HiveError::NotFound {
        kind: "task",
        id: id.to_string(),
    }
}
