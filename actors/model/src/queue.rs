//! The state of the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Priority, TaskStatus, TaskType, Timestamp};

/// Number of tasks in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusCounts {
    /// Scheduled for later, or waiting for the next attempt or for other tasks.
    pub pending: u64,
    /// Ready to start.
    pub queued: u64,
    /// Running on a bot.
    pub running: u64,
    /// Completed.
    pub completed: u64,
    /// Failed, with no attempts left.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl StatusCounts {
    /// Returns the count of one status.
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

/// Rates of the tasks of one lane, or of all lanes, in the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rates {
    /// Tasks accepted per second.
    pub submitted_per_second: f64,
    /// Attempts started per second.
    pub started_per_second: f64,
    /// Tasks completed per second.
    pub completed_per_second: f64,
    /// Tasks failed per second.
    pub failed_per_second: f64,
}

/// Times that the tasks started in the last minute had waited, from ready to started,
/// in milliseconds. Percentiles are exact to a factor of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Waits {
    /// Number of tasks started.
    pub started: u64,
    /// Median wait.
    pub p50_ms: u64,
    /// 95th percentile.
    pub p95_ms: u64,
    /// 99th percentile.
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
    /// Ready to start.
    pub queued: u64,
    /// Running on a bot.
    pub running: u64,
    /// Longest time for which one of its first 64 queued tasks has been ready, in
    /// milliseconds.
    pub oldest_queued_ms: Option<u64>,
    /// True if no task of the lane is started because the queue or its type is paused.
    pub paused: bool,
    /// Rates of the last minute.
    pub rates: Rates,
    /// Waits of the tasks of the lane.
    pub waits: Waits,
}

/// Observed durations, in milliseconds. Percentiles are exact to a factor of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Durations {
    /// Number of durations.
    pub count: u64,
    /// Mean duration.
    pub mean_ms: u64,
    /// Median duration.
    pub p50_ms: u64,
    /// 95th percentile.
    pub p95_ms: u64,
    /// 99th percentile.
    pub p99_ms: u64,
}

/// Work on tasks of one type, or by one bot, over several hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Throughput {
    /// The type or the bot.
    #[schema(example = "general")]
    pub name: String,
    /// Tasks accepted; always 0 for a bot.
    pub submitted: u64,
    /// Attempts started.
    pub started: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Tasks failed.
    pub failed: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Failed attempts that were followed by another attempt.
    pub retried: u64,
    /// Attempts that were interrupted and followed by another attempt: given back,
    /// fault of the bot, or the bot or the hive went down.
    pub returned: u64,
    /// Waits of tasks, from ready to the start of an attempt.
    pub waits: Durations,
    /// Run times of attempts that succeeded or failed.
    pub runs: Durations,
}

/// Work of the last hours, from the event log. May be behind by a second, and by more
/// while the follower `statistics` lags (see the status of the system).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueHistory {
    /// Number of hours covered, including the current one.
    pub hours: u32,
    /// By type, in alphabetical order.
    pub by_type: Vec<Throughput>,
    /// By bot, in alphabetical order.
    pub by_bot: Vec<Throughput>,
}

/// A pause: no task that it covers is started while it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pause {
    /// The paused task type; absent: all types.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<TaskType>,
    /// Time at which the pause began.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The user who requested the pause.
    pub by: String,
    /// The reason, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Pause {
    /// Returns `true` if the pause covers `task_type`.
    pub fn holds(&self, task_type: &TaskType) -> bool {
        self.task_type
            .as_ref()
            .is_none_or(|paused| paused == task_type)
    }
}

/// The state of the queue. Counts are exact as of the last commit; rates and waits
/// cover the last minute and are reset when the server starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueStatus {
    /// All tasks, by status.
    pub totals: StatusCounts,
    /// The pauses in force.
    pub paused: Vec<Pause>,
    /// The longest of these times over all lanes.
    pub oldest_queued_ms: Option<u64>,
    /// Rates of all tasks.
    pub rates: Rates,
    /// Waits of all tasks.
    pub waits: Waits,
    /// Unfinished tasks by type and priority.
    pub lanes: Vec<QueueLane>,
    /// Number of tasks that each bot runs.
    pub running_by_bot: BTreeMap<String, u64>,
    /// Work of the last 24 hours.
    #[serde(default)]
    #[schema(required = true)]
    pub history: QueueHistory,
}

/// The outcome of a bulk change of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Changed {
    /// Number of tasks that were changed.
    pub changed: u64,
    /// Number of tasks that were not changed: they had changed meanwhile, or no more
    /// may wait.
    pub skipped: u64,
    /// True if all tasks that match the filter were processed; otherwise repeat the
    /// request.
    pub complete: bool,
}

impl Changed {
    /// Adds the outcome for more tasks.
    pub fn add(&mut self, more: Self) {
        self.changed += more.changed;
        self.skipped += more.skipped;
        self.complete &= more.complete;
    }
}

/// The outcome of draining the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drained {
    /// True if none of its tasks is running any more.
    pub drained: bool,
    /// Number of tasks that are still running.
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
