//! The lines about one task in the logs of bots.

use serde::{Deserialize, Serialize};

use crate::{BotName, Timestamp};

/// A line about a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskLogLine {
    /// Time at which it was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The bot in whose log it is.
    pub bot: BotName,
    /// The attempt that it is about.
    pub attempt: u32,
    /// `stderr`: the program's standard error; `deia`: a note about the program.
    pub stream: String,
    /// The line. Control characters are escaped.
    pub line: String,
}

/// Lines about one task in the log of its bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskLog {
    /// The last lines, the oldest first.
    pub lines: Vec<TaskLogLine>,
    /// Number of lines about the task in all.
    pub total: u64,
}
