//! What came of a task.

use serde::{Deserialize, Serialize};

use super::{BotName, TaskId, Timestamp};

/// The recorded end of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskResult {
    /// The task.
    #[schema(value_type = String, example = "task_01h455vb4pex5vsknk084sn02q")]
    pub task_id: TaskId,
    /// The bot of the last attempt; absent when no bot ever had it.
    #[schema(value_type = Option<String>, example = "upper-1")]
    pub bot_id: Option<BotName>,
    /// Whether it did what was asked.
    pub success: bool,
    /// What the bot answered (a `command`: its standard output).
    pub output: Option<String>,
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
    /// The exit code of a `command`; absent when a signal ended it.
    pub exit_code: Option<i32>,
}
