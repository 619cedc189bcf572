//! Results of tasks.

use serde::{Deserialize, Serialize};

use super::{BotName, FailureClass, TaskId, Timestamp};

/// The recorded result of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskResult {
    /// The task.
    pub task_id: TaskId,
    /// The bot of the last attempt; absent when no bot ever had it.
    pub bot_id: Option<BotName>,
    /// True if the task completed.
    pub success: bool,
    /// The output of the bot (of a `command`: its standard output). Bytes that are not
    /// UTF-8 are replaced. Only the beginning if `output_truncated`.
    pub output: Option<String>,
    /// Length of the whole output, in bytes, if `output` is incomplete or differs from
    /// the bytes of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// True if `output` is only the beginning.
    #[serde(default)]
    pub output_truncated: bool,
    /// URL of the whole output, present with `output_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/v1/tasks/task_01h455vb4pex5vsknk084sn02q/output")]
    pub output_url: Option<String>,
    /// Reason why the task failed or was cancelled, in a sentence.
    pub error: Option<String>,
    /// Duration of the last attempt, in milliseconds.
    pub execution_time_ms: u64,
    /// Time at which the last attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Time at which the end was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub completed_at: Timestamp,
    /// The number of the last attempt, from 1; 0 when there was none.
    pub attempt: u32,
    /// Number of tokens that a language model used for the task.
    pub tokens_used: Option<u64>,
    /// Cost of the task, in hundredths of the billing currency.
    pub cost_cents: Option<u64>,
    /// Time at which the output and the error were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub erased_at: Option<Timestamp>,
    /// The exit code of a `command`; absent when a signal ended it.
    pub exit_code: Option<i32>,
    /// The class of the failure, if the executor named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
}

impl TaskResult {
    /// Returns the result with the length of an output that is stored whole elsewhere.
    /// The text in the result is shorter than that exactly if it is truncated.
    #[must_use]
    pub fn with_output_bytes(mut self, output_bytes: Option<u64>) -> Self {
        if let Some(whole) = output_bytes {
            let shown = self.output.as_deref().map_or(0, str::len) as u64;
            self.output_truncated = shown < whole;
            self.output_url = Some(format!("/api/v1/tasks/{}/output", self.task_id));
            self.output_bytes = output_bytes;
        }
        self
    }
}
