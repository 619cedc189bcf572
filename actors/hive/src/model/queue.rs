//! How the queue stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Priority, TaskStatus, TaskType};

/// How many tasks are in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusCounts {
    /// Scheduled for later, or waiting for the next attempt.
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

/// How many tasks of one type and priority are in one status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LaneDepth {
    /// The task type.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub task_type: TaskType,
    /// The priority.
    pub priority: Priority,
    /// The status.
    pub status: TaskStatus,
    /// How many.
    pub count: u64,
}

/// How the queue stands, exact as of the last commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueStatus {
    /// All tasks, by status.
    pub totals: StatusCounts,
    /// Unfinished tasks by type and priority.
    pub lanes: Vec<LaneDepth>,
    /// How long the longest waiting queued task has been ready, in milliseconds.
    pub oldest_queued_ms: Option<u64>,
    /// How many tasks each bot has in hand.
    pub running_by_bot: BTreeMap<String, u64>,
}
