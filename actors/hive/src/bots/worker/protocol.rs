//! The protocol of workers, version 1: a JSON object a line, in both directions.
//! `docs/BOT-AUTHORS-GUIDE.md` is its description for authors.

mod garbage;
mod head;
mod orders;

use deia_model::{FailureClass, TaskId};
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::{
    garbage::{Garbage, GarbageCount, GarbagePolicy},
    head::attempt_ended_by,
    orders::Order,
};
use crate::bots::bot::AttemptKey;

/// Version of the protocol that this hive speaks. Fact: docs/BOT-AUTHORS-GUIDE.md.
pub(super) const VERSION: u32 = 1;

/// A message of a program.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Message {
    /// The greeting, which is the first message.
    Hello(Hello),
    /// Progress of an attempt, 0 to 1.
    Progress {
        id: TaskId,
        attempt: u32,
        value: f64,
    },
    /// A piece of the output of an attempt.
    Output {
        id: TaskId,
        attempt: u32,
        text: String,
    },
    /// The success of an attempt.
    Result(Success),
    /// The failure of an attempt.
    Error(Failure),
    /// A line for the bot's log.
    Log {
        level: LogLevel,
        message: String,
        #[serde(default)]
        id: Option<TaskId>,
    },
    /// The answer to a ping.
    Pong {
        #[allow(dead_code, reason = "any line is a sign of life")]
        n: u64,
    },
}

/// The greeting of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    /// Version of the protocol that the program speaks.
    pub(super) protocol: u32,
    /// Number of tasks that the program runs at a time; no limit of its own when absent.
    #[serde(default)]
    pub(super) max_concurrent: Option<u32>,
    /// False for a program that does not read while it works, and so answers no pings.
    #[serde(default = "yes")]
    pub(super) pings: bool,
}

fn yes() -> bool {
    true
}

/// The success of an attempt.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Success {
    pub(super) id: TaskId,
    pub(super) attempt: u32,
    /// The end of the output, or all of it.
    #[serde(default)]
    pub(super) output: Option<String>,
    #[serde(default)]
    pub(super) tokens_used: Option<u64>,
    #[serde(default)]
    pub(super) cost_cents: Option<u64>,
}

/// The failure of an attempt.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    pub(super) id: TaskId,
    pub(super) attempt: u32,
    pub(super) message: String,
    #[serde(default)]
    pub(super) class: Option<FailureClass>,
    /// Time for which the bot wants no tasks, if the class pauses it.
    #[serde(default)]
    pub(super) retry_after_ms: Option<u64>,
    #[serde(default)]
    pub(super) tokens_used: Option<u64>,
    #[serde(default)]
    pub(super) cost_cents: Option<u64>,
}

/// Level of a line for the bot's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

impl LogLevel {
    /// Returns the name on the wire and in the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Decodes a line.
///
/// # Errors
/// [`Garbage`]: the line is no message.
pub(super) fn decode(line: &[u8]) -> Result<Message, Garbage> {
    let message = serde_json::from_slice(line).map_err(|error| explain(line, &error))?;
    match message {
        Message::Progress { value, .. } if !(0.0..=1.0).contains(&value) => {
            Err(Garbage::WrongFields {
                reason: format!("value is {value}; allowed are 0 to 1"),
                answers: None,
            })
        }
        message => Ok(message),
    }
}

/// Types of messages that a program may send.
const TYPES: [&str; 7] = [
    "hello", "progress", "output", "result", "error", "log", "pong",
];

/// Returns why a line is no message.
fn explain(line: &[u8], error: &serde_json::Error) -> Garbage {
    let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
        return Garbage::NotJson;
    };
    let kind = fields.get("type").and_then(Value::as_str);
    let Some(kind) = kind.filter(|kind| TYPES.contains(kind)) else {
        return Garbage::UnknownType;
    };
    let id = fields.get("id").and_then(Value::as_str);
    let attempt = fields.get("attempt").and_then(Value::as_u64);
    let key = || {
        Some(AttemptKey {
            task: id?.parse().ok()?,
            number: attempt?.try_into().ok()?,
        })
    };
    Garbage::WrongFields {
        reason: error.to_string(),
        // The program believes that the attempt has ended.
        answers: key().filter(|_| matches!(kind, "result" | "error")),
    }
}

#[cfg(test)]
mod tests;
