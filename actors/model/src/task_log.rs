//! Lines about a task in the logs of bots.

use serde::{Deserialize, Serialize};

use crate::{BotName, Timestamp};

/// A line about a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskLogLine {
    /// Time at which the line was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The bot whose log contains the line.
    pub bot: BotName,
    /// The attempt that the line is about.
    pub attempt: u32,
    /// `stderr`: the program's standard error; `deia`: a note about the program.
    pub stream: String,
    /// The line, with control characters escaped.
    pub line: String,
}

/// Lines about one task in the log of its bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskLog {
    /// The last lines, the oldest first.
    pub lines: Vec<TaskLogLine>,
    /// Total number of lines about the task.
    pub total: u64,
}
