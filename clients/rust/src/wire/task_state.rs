//! The state of a task without its content.

use deia_model::{BotName, Task, TaskId, TaskStatus, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The state of a task without its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskState {
    /// The task.
    pub id: TaskId,
    /// The status.
    pub status: TaskStatus,
    /// Progress, 0 to 1.
    pub progress: f64,
    /// The number of the last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Number of attempts that may fail.
    pub max_attempts: u32,
    /// The bot that runs the task, or ran it last.
    pub assigned_bot: Option<BotName>,
    /// Time of acceptance.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Earliest time of the start.
    #[schema(value_type = String, format = DateTime)]
    pub run_at: Timestamp,
    /// Time at which the last attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Time at which the end was recorded.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// Time at which cancellation was requested while the task ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_requested_at: Option<Timestamp>,
    /// Members that a newer server adds.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

impl From<Task> for TaskState {
    fn from(task: Task) -> Self {
        Self {
            id: task.id,
            status: task.status,
            progress: task.progress,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            assigned_bot: task.assigned_bot,
            created_at: task.created_at,
            run_at: task.run_at,
            started_at: task.started_at,
            completed_at: task.completed_at,
            cancel_requested_at: task.cancel_requested_at,
            more: Map::new(),
        }
    }
}
