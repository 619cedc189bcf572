//! Tasks.

use std::time::Duration;

use deia_ledger::{CancelTask, Dedup, EraseTask, RetryTask, Submit};
use deia_model::{
    AwaitedTask, Bot, BotFit, Event, EventFilter, Facts, NewTask, Page, PageRequest, Permission,
    Principal, Task, TaskExplanation, TaskFilter, TaskId, TaskResult, Timestamp, Violation,
    explain,
};
use tokio::time::Instant;

use super::{Hive, Submission, spans::SubmitSpan};
use crate::HiveError;

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
        mut tasks: Vec<NewTask>,
        dedup: Option<Dedup>,
    ) -> Result<Submission, HiveError> {
        self.takes_work().await?;
        let violations = self.violations(&mut tasks);
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let span = SubmitSpan::begin(&mut tasks);
        let command = Submit {
            tasks,
            submitter: who.user.to_string(),
            role: who.role,
            dedup,
        };
        let outcome = self.apply_for(who, command).await;
        span.end(outcome.as_ref().err());
        Ok(outcome?)
    }

    fn violations(&self, tasks: &mut [NewTask]) -> Vec<Violation> {
        let limits = &self.config().tasks.limits();
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
        let max = self.config().tasks.max_batch as usize;
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

    /// The task as it stands.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also when it is not the caller's to see.
    pub async fn task(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        let task = self.inner.ledger.task_seen(id, who.sight()).await?;
        task.ok_or_else(|| not_found(id))
    }

    /// Returns the task, with the lengths of the outputs kept of its failed attempts.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also when it is not the caller's to see.
    pub async fn task_with_outputs(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        let task = self.task(who, id).await?;
        Ok(self.with_outputs(task).await)
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
            let seen = self.inner.ledger.outcome(id, who.sight()).await?;
            let seen = seen.ok_or_else(|| not_found(id))?;
            if let Some(result) = seen.result {
                return Ok(result);
            }
            // A hive that stops has answers as long as it takes requests.
            if left.is_zero() {
                return Err(HiveError::TaskNotFinished {
                    task: id,
                    status: seen.status,
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
        filter: TaskFilter,
        page: PageRequest,
    ) -> Result<Page<Task>, HiveError> {
        Ok(self.inner.ledger.tasks(who.sight(), filter, page).await?)
    }

    /// Calls a task off. A waiting one is cancelled when this returns; a
    /// running one is marked, and cancelled when its bot has ended it.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or that it has ended already.
    pub async fn cancel_task(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        self.task(who, id).await?;
        let command = CancelTask {
            task: id,
            actor: who.user.to_string(),
            only_waiting: false,
        };
        Ok(shown(who, self.apply_for(who, command).await?))
    }

    /// Puts a task that has ended back into the queue, with all its attempts.
    /// It waits again for those that it depends on and that have not ended.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or that it has not ended.
    pub async fn retry_task(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        self.task(who, id).await?;
        let command = RetryTask {
            task: id,
            actor: who.user.to_string(),
            only_failed: false,
            role: who.role,
        };
        Ok(shown(who, self.apply_for(who, command).await?))
    }

    /// Erases the content, the metadata, the outputs and the errors of a task that has
    /// ended. The record stays. Done again, it changes nothing.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], that it has not ended, or that its files stay for now.
    pub async fn erase_task(&self, who: &Principal, id: TaskId) -> Result<(), HiveError> {
        self.task(who, id).await?;
        let command = EraseTask {
            task: id,
            actor: who.user.to_string(),
        };
        self.apply_for(who, command).await?;
        // The record tells of no files any more: should this be cut short, the next
        // start removes them.
        self.remove_outputs(id).await
    }

    /// Returns the events of a task, oldest first, at most the last 1,000. For a confined
    /// caller they are numbered from 1 on within the task: their places in the log tell
    /// how much happened between them.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn task_events(&self, who: &Principal, id: TaskId) -> Result<Vec<Event>, HiveError> {
        self.task(who, id).await?;
        Ok(self.inner.ledger.task_events(id, who.sight()).await?)
    }

    /// Returns events that the caller may see, the newest first: all of
    /// them, or, for a caller confined to their own tasks, those of each task in turn.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn events_page(
        &self,
        who: &Principal,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<Event>, HiveError> {
        let ledger = &self.inner.ledger;
        Ok(ledger.events_page(who.sight(), filter, page).await?)
    }

    /// Why a task has not started, or where it is.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn explain_task(
        &self,
        who: &Principal,
        id: TaskId,
    ) -> Result<TaskExplanation, HiveError> {
        let task = self.task(who, id).await?;
        let ledger = &self.inner.ledger;
        let standing = ledger.standing(id, who.sight()).await?;
        let fits = |bot: &Bot| {
            let types = &bot.capabilities.specializations;
            types.is_empty() || types.contains(&task.task_type)
        };
        let fit = |bot: Bot| BotFit {
            id: bot.id.to_string(),
            status: bot.status,
            in_hand: self.inner.board.observe(&bot.id).running,
            places: bot.capabilities.max_concurrent_tasks,
            fault: bot.fault.filter(|fault| fault.in_a_row > 0),
        };
        let bots = self.bots().await?.into_iter().filter(fits);
        let awaited = standing.waits_for.into_iter();
        let told = explain(Facts {
            bots: bots.map(fit).collect(),
            paused: ledger.pauses().await?,
            ahead: standing.ahead,
            waits_for: awaited
                .map(|(id, status)| AwaitedTask { id, status })
                .collect(),
            restarting: self.is_restarting(),
            task,
        });
        Ok(match who.is_confined() {
            true => told.for_outsiders(),
            false => told,
        })
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
