//! The state of the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Priority, TaskStatus, TaskType, Timestamp};

/// Number of tasks in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusCounts {
    /// Scheduled for later, or waiting for the next attempt or for other tasks.
    pub pending: u64,
    /// Ready to run.
    pub queued: u64,
    /// With a bot.
    pub running: u64,
    /// Ended well.
    pub completed: u64,
    /// Ended badly, no attempt left.
    pub failed: u64,
    /// Called off.
    pub cancelled: u64,
}

impl StatusCounts {
    /// The count of one status.
    pub fn slot(&mut self, status: TaskStatus) -> &mut u64 {
        match status {
            TaskStatus::Pending => &mut self.pending,
            TaskStatus::Queued => &mut self.queued,
            TaskStatus::Running => &mut self.running,
            TaskStatus::Completed => &mut self.completed,
            TaskStatus::Failed => &mut self.failed,
            TaskStatus::Cancelled => &mut self.cancelled,
        }
    }
}

/// Rates of the tasks of a lane, or of all, in the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rates {
    /// Tasks accepted a second.
    pub submitted_per_second: f64,
    /// Attempts begun a second.
    pub started_per_second: f64,
    /// Tasks completed a second.
    pub completed_per_second: f64,
    /// Tasks failed for good a second.
    pub failed_per_second: f64,
}

/// Waits of the tasks that were started in the last minute, from ready to started, in
/// milliseconds. Percentiles are exact to a factor of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Waits {
    /// Number of tasks started.
    pub started: u64,
    /// Half of them had waited at most this long.
    pub p50_ms: u64,
    /// 95 of 100.
    pub p95_ms: u64,
    /// 99 of 100.
    pub p99_ms: u64,
}

/// The unfinished tasks of one type and priority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueLane {
    /// The task type.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// The priority.
    pub priority: Priority,
    /// Scheduled for later, or waiting for the next attempt or for other tasks.
    pub pending: u64,
    /// Ready to run.
    pub queued: u64,
    /// With a bot.
    pub running: u64,
    /// Time for which the longest waiting of its first 64 queued tasks has been ready, in
    /// milliseconds.
    pub oldest_queued_ms: Option<u64>,
    /// True if no task of it is started because the queue or its type is paused.
    pub paused: bool,
    /// Rates of the last minute.
    pub rates: Rates,
    /// Waits of its tasks.
    pub waits: Waits,
}

/// Durations that were observed, in milliseconds. Percentiles are exact to a factor of
/// two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Durations {
    /// Number of durations.
    pub count: u64,
    /// Their mean.
    pub mean_ms: u64,
    /// Half of them were at most this long.
    pub p50_ms: u64,
    /// 95 of 100.
    pub p95_ms: u64,
    /// 99 of 100.
    pub p99_ms: u64,
}

/// Work on tasks of one type, or by one bot, over some hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Throughput {
    /// The type or the bot.
    #[schema(example = "general")]
    pub name: String,
    /// Tasks accepted; of a bot always 0.
    pub submitted: u64,
    /// Attempts begun.
    pub started: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Tasks failed for good.
    pub failed: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
    /// Attempts that did not come to an end of their own and were followed by another:
    /// given back, at fault of the bot, or ended with the bot or the hive.
    pub returned: u64,
    /// Waits of tasks, from ready to the begin of an attempt.
    pub waits: Durations,
    /// Run times of attempts that succeeded or failed.
    pub runs: Durations,
}

/// Work of the last hours, from the event log. It may be behind by a second, and by more
/// while the follower `statistics` lags (see the status of the system).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueHistory {
    /// Hours that it goes back, the running one included.
    pub hours: u32,
    /// By type, in alphabetical order.
    pub by_type: Vec<Throughput>,
    /// By bot, in alphabetical order.
    pub by_bot: Vec<Throughput>,
}

/// No task is started while this stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pause {
    /// Of this type only; absent: of any.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<TaskType>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The user who asked for it.
    pub by: String,
    /// Why, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Pause {
    /// Returns `true` if tasks of that type are not started because of it.
    pub fn holds(&self, task_type: &TaskType) -> bool {
        self.task_type
            .as_ref()
            .is_none_or(|paused| paused == task_type)
    }
}

/// The state of the queue. Counts are exact as of the last commit; rates and
/// waits are of the last minute and begin anew with the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueStatus {
    /// All tasks, by status.
    pub totals: StatusCounts,
    /// The pauses in force.
    pub paused: Vec<Pause>,
    /// The longest of those of the lanes.
    pub oldest_queued_ms: Option<u64>,
    /// Rates of all tasks.
    pub rates: Rates,
    /// Waits of all tasks.
    pub waits: Waits,
    /// Unfinished tasks by type and priority.
    pub lanes: Vec<QueueLane>,
    /// Number of tasks that each bot has in hand.
    pub running_by_bot: BTreeMap<String, u64>,
    /// Work of the last 24 hours.
    #[serde(default)]
    #[schema(required = true)]
    pub history: QueueHistory,
}

/// The outcome of a change of many tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Changed {
    /// Tasks that were changed.
    pub changed: u64,
    /// Tasks that were not: they had changed meanwhile, or no more may wait.
    pub skipped: u64,
    /// True if it went over all that the filter names; otherwise ask again.
    pub complete: bool,
}

impl Changed {
    /// Adds what came of more tasks.
    pub fn add(&mut self, more: Self) {
        self.changed += more.changed;
        self.skipped += more.skipped;
        self.complete &= more.complete;
    }
}

/// The outcome of draining the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drained {
    /// True if nothing of it runs any more.
    pub drained: bool,
    /// Number of tasks that still run.
    pub running: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_its_type_or_all() {
        let mut pause = Pause {
            task_type: None,
            since: Timestamp::from_millis(0),
            by: "ada".into(),
            reason: None,
        };
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert!(pause.holds(&a) && pause.holds(&b));
        pause.task_type = Some("a".parse().unwrap());
        assert!(pause.holds(&a) && !pause.holds(&b));
    }
}
