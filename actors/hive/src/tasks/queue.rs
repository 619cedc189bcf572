//! The queue as a whole.

use std::time::Duration;

use deia_ledger::{
    Apply, CancelTask, Ledger, PauseQueue, RecordEvents, Rejection, ResumeQueue, RetryTask, hour_of,
};
use deia_model::{
    Action, Changed, Drained, NewEvent, Page, PageRequest, Principal, QueueLane, QueueStatus, Task,
    TaskFilter, TaskId, TaskStatus, TaskType, Timestamp, Violation,
};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::Instant;

use super::{TasksApi, meter::ThroughputMeter};
use crate::{HiveError, statistics::history, subsystem::Deps};

/// Number of tasks per page when many are changed at once; their commands share commits.
/// Fixed: bounds one step, so that others get their turn; the whole has no limit here.
const AT_ONCE: u32 = 500;
/// Interval at which a drain checks for running tasks. Fixed: short enough that nobody
/// waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Maximum number of pages that one call processes. The remainder is reported. Fixed:
/// bounds one step, so that others get their turn; the whole has no limit here.
const PAGES_MAX: usize = 2_000;

/// Name of the whole queue in events.
const WHOLE: &str = "queue";

/// Number of hours of history in the status of the queue. Fact: the API, whose schema
/// states it.
const HISTORY_HOURS: u32 = 24;

/// Maximum length of the reason of a pause or a suspension, in characters. Fact: the API,
/// whose schema states it.
const REASON_MAX: usize = 1_024;

/// Refuses a reason that is too long to be read.
///
/// # Errors
/// [`HiveError::Invalid`].
pub(crate) fn reason_fits(reason: Option<&str>) -> Result<(), HiveError> {
    let length = reason.map_or(0, |reason| reason.chars().count());
    if length <= REASON_MAX {
        return Ok(());
    }
    Err(HiveError::Invalid(vec![Violation {
        pointer: "/reason".into(),
        detail: format!("is {length} characters long; the limit is {REASON_MAX}"),
    }]))
}

/// Operation that is applied to each of many tasks.
#[derive(Clone, Copy)]
enum Bulk {
    CancelWaiting,
    Retry,
}

/// The queue as a whole.
#[derive(Clone)]
pub struct QueueApi {
    ledger: Ledger,
    tasks: TasksApi,
    meter: ThroughputMeter,
}

impl QueueApi {
    pub(super) fn new(deps: &Deps, tasks: TasksApi, meter: ThroughputMeter) -> Self {
        Self {
            ledger: deps.ledger.clone(),
            tasks,
            meter,
        }
    }

    /// Returns the state of the queue, exact as of the last commit.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be read.
    pub async fn status(&self) -> Result<QueueStatus, HiveError> {
        let mut queue = self.ledger.queue().await?;
        self.meter.fill(&mut queue);
        let from = hour_of(Timestamp::now()).saturating_sub(HISTORY_HOURS - 1);
        let statistics = self.ledger.statistics(from).await?;
        queue.history = history(statistics, HISTORY_HOURS);
        Ok(queue)
    }

    /// Stops starting tasks of that type, or all tasks. No task is started any more when this
    /// returns; running tasks continue. Returns true if the pause is new.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be written.
    pub async fn pause(
        &self,
        who: &Principal,
        task_type: Option<TaskType>,
        reason: Option<String>,
    ) -> Result<bool, HiveError> {
        reason_fits(reason.as_deref())?;
        let actor = who.user.to_string();
        let command = PauseQueue {
            task_type,
            actor,
            reason,
        };
        Ok(self.tasks.access.apply_for(who, command).await?)
    }

    /// Ends the pause of that type, or that of the whole queue. Returns true if there was one.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be written.
    pub async fn resume(
        &self,
        who: &Principal,
        task_type: Option<TaskType>,
    ) -> Result<bool, HiveError> {
        let actor = who.user.to_string();
        Ok(self
            .tasks
            .access
            .apply_for(who, ResumeQueue { task_type, actor })
            .await?)
    }

    /// Pauses the queue, or one type, and waits until none of its tasks is running.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be written or read. The pause stays.
    pub async fn drain(
        &self,
        who: &Principal,
        task_type: Option<TaskType>,
        reason: Option<String>,
        wait: Duration,
    ) -> Result<Drained, HiveError> {
        self.pause(who, task_type.clone(), reason).await?;
        let deadline = Instant::now() + wait.min(self.tasks.config().server.max_wait);
        loop {
            let queue = self.ledger.queue().await?;
            let of_it = |lane: &&QueueLane| task_type.as_ref().is_none_or(|t| lane.task_type == *t);
            let running = queue
                .lanes
                .iter()
                .filter(of_it)
                .map(|lane| lane.running)
                .sum();
            if running == 0 || Instant::now() >= deadline {
                let drained = running == 0;
                let target = task_type.as_ref().map_or(WHOLE, TaskType::as_str);
                let event = NewEvent::new(Action::QueueDrained, &*who.user, target)
                    .details(json!({"type": task_type, "running": running}));
                self.record(event.partial_unless(drained)).await;
                return Ok(Drained { drained, running });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lists failed tasks that can be put back, newest first.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn dead(
        &self,
        who: &Principal,
        filter: TaskFilter,
        page: PageRequest,
    ) -> Result<Page<Task>, HiveError> {
        let failed = TaskFilter {
            status: Some(TaskStatus::Failed),
            ..filter
        };
        self.tasks.list(who, failed, page).await
    }

    /// Cancels the waiting tasks (`pending` or `queued`) that match the filter.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be written; tasks that were cancelled before stay so.
    pub async fn purge(&self, who: &Principal, filter: TaskFilter) -> Result<Changed, HiveError> {
        let mut all = Changed {
            complete: true,
            ..Changed::default()
        };
        let both = [TaskStatus::Pending, TaskStatus::Queued];
        for status in both
            .into_iter()
            .filter(|status| filter.status.is_none_or(|wanted| wanted == *status))
        {
            let of_status = TaskFilter {
                status: Some(status),
                ..filter.clone()
            };
            let (ids, complete) = self.listed(who, of_status).await?;
            all.add(self.change_these(who, ids, Bulk::CancelWaiting).await?);
            all.complete &= complete;
        }
        let task_type = filter.task_type.as_ref();
        let target = task_type.map_or(WHOLE, TaskType::as_str);
        let details = json!({"type": task_type, "cancelled": all.changed, "skipped": all.skipped});
        let event = NewEvent::new(Action::QueuePurged, &*who.user, target).details(details);
        self.record(event.partial_unless(all.complete)).await;
        Ok(all)
    }

    /// Records what was done to the queue. It has been done even if this fails; the pause,
    /// and each task that was cancelled, have events of their own.
    async fn record(&self, event: NewEvent) {
        let action = event.action.as_str();
        if let Err(error) = self.ledger.apply(RecordEvents(vec![event])).await {
            tracing::warn!(action, %error, "the action on the queue could not be recorded");
        }
    }

    /// Puts the failed tasks that match the filter back into the queue.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be written; tasks that were put back before stay so.
    pub async fn requeue_dead(
        &self,
        who: &Principal,
        filter: TaskFilter,
    ) -> Result<Changed, HiveError> {
        let failed = TaskFilter {
            status: Some(TaskStatus::Failed),
            ..filter
        };
        // Oldest first, so that dependencies precede the tasks that wait for them instead of
        // running without them.
        let (mut ids, complete) = self.listed(who, failed).await?;
        ids.reverse();
        let mut changed = self.change_these(who, ids, Bulk::Retry).await?;
        changed.complete = complete;
        Ok(changed)
    }

    /// Returns the tasks that match the filter, newest first, and whether these are all.
    async fn listed(
        &self,
        who: &Principal,
        filter: TaskFilter,
    ) -> Result<(Vec<TaskId>, bool), HiveError> {
        let mut ids = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let page = PageRequest {
                limit: AT_ONCE,
                cursor: cursor.take(),
            };
            let ledger = &self.ledger;
            let found = ledger.tasks(who.visibility(), filter.clone(), page).await?;
            ids.extend(found.items.iter().map(|task| task.id));
            match found.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok((ids, true)),
            }
        }
        Ok((ids, false))
    }

    /// Puts these failed tasks back into the queue. Skips tasks that the caller may not see, or
    /// that have not failed.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be written.
    pub async fn requeue_these(
        &self,
        who: &Principal,
        ids: Vec<TaskId>,
    ) -> Result<Changed, HiveError> {
        let mut visible = Vec::new();
        for id in &ids {
            match self.tasks.get(who, *id).await {
                Ok(task) if task.status == TaskStatus::Failed => visible.push(*id),
                Ok(_) | Err(HiveError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let hidden = (ids.len() - visible.len()) as u64;
        // Ids are ordered by time, so dependencies come first.
        visible.sort_unstable();
        let mut changed = self.change_these(who, visible, Bulk::Retry).await?;
        changed.skipped += hidden;
        changed.complete = true;
        Ok(changed)
    }

    /// Begins the changes in that order, so that the store applies them in it.
    async fn change_these(
        &self,
        who: &Principal,
        ids: Vec<TaskId>,
        what: Bulk,
    ) -> Result<Changed, HiveError> {
        if ids.is_empty() {
            // The caller is not checked per change, but a stale caller is still refused.
            self.tasks
                .access
                .apply_for(who, RecordEvents(Vec::new()))
                .await?;
        }
        let mut outcomes = stream::iter(ids)
            .map(|id| self.change(who, id, what))
            .buffer_unordered(AT_ONCE as usize);
        let mut all = Changed {
            complete: true,
            ..Changed::default()
        };
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(()) => all.changed += 1,
                Err(error @ HiveError::Refused(Rejection::AccessChanged)) => return Err(error),
                Err(HiveError::NotFound { .. } | HiveError::Refused(_)) => all.skipped += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    async fn change(&self, who: &Principal, id: TaskId, what: Bulk) -> Result<(), HiveError> {
        let (task, actor) = (id, who.user.to_string());
        match what {
            Bulk::Retry => {
                let command = RetryTask {
                    task,
                    actor,
                    only_failed: true,
                    role: who.role,
                };
                self.tasks.access.apply_for(who, command).await?;
            }
            Bulk::CancelWaiting => {
                let command = CancelTask {
                    task,
                    actor,
                    only_waiting: true,
                };
                self.tasks.access.apply_for(who, command).await?;
            }
        }
        Ok(())
    }
}
