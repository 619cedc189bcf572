//! What came of a task.

use serde::{Deserialize, Serialize};

use super::{BotName, TaskId, Timestamp};

/// The recorded end of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskResult {
    /// The task.
    pub task_id: TaskId,
    /// The bot of the last attempt; absent when no bot ever had it.
    pub bot_id: Option<BotName>,
    /// Whether it did what was asked.
    pub success: bool,
    /// What the bot answered (a `command`: its standard output). Bytes that are
    /// not UTF-8 are replaced. Only the beginning when `output_truncated`.
    pub output: Option<String>,
    /// How long the whole output is, in bytes, when `output` is not all of it, or
    /// not byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Whether `output` is only the beginning.
    #[serde(default)]
    pub output_truncated: bool,
    /// Where the whole output is to be had, when `output_bytes` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/v1/tasks/task_01h455vb4pex5vsknk084sn02q/output")]
    pub output_url: Option<String>,
    /// Why it failed or was cancelled, in a sentence.
    pub error: Option<String>,
    /// How long the last attempt ran, in milliseconds.
    pub execution_time_ms: u64,
    /// When the last attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When the end was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub completed_at: Timestamp,
    /// The number of the last attempt, from 1; 0 when there was none.
    pub attempt: u32,
    /// Tokens that a language model used for it.
    pub tokens_used: Option<u64>,
    /// What it cost, in hundredths of the billing currency.
    pub cost_cents: Option<u64>,
    /// When the output and the error were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub erased_at: Option<Timestamp>,
    /// The exit code of a `command`; absent when a signal ended it.
    pub exit_code: Option<i32>,
}

impl TaskResult {
    /// The same with an output that is kept elsewhere, whole and as it was. The
    /// text is shorter than that exactly when it is cut.
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
