//! Work of remote workers: leases on tasks, and reports about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    BotName, FailureClass, LeaseToken, Priority, SessionId, TaskId, TaskStatus, TaskType,
    Timestamp, Violation,
};

/// A request for tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Maximum number of tasks, 1 to 100.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 100)]
    pub max: u32,
    /// Time to wait for a task, in milliseconds, up to `server.max_wait`; 0 when absent.
    #[serde(default)]
    pub wait_ms: u64,
    /// Name of the worker among those of the bot, 1 to 128 characters. A worker that asks
    /// again with the same `request` after a lost answer is given the same tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128, example = "host-7/3")]
    pub worker: Option<String>,
    /// Number of the worker's request, any text of 1 to 64 characters that it uses once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64, example = "1041")]
    pub request: Option<String>,
}

fn one() -> u32 {
    1
}

impl LeaseRequest {
    /// Returns the errors in the request.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut refuse = |pointer: &str, detail: String| {
            found.push(Violation {
                pointer: pointer.to_owned(),
                detail,
            });
        };
        if !(1..=100).contains(&self.max) {
            refuse("/max", format!("is {}; allowed are 1 to 100", self.max));
        }
        let is_long = |text: &Option<String>, max: usize| {
            text.as_ref()
                .is_some_and(|text| !(1..=max).contains(&text.chars().count()))
        };
        if is_long(&self.worker, 128) {
            refuse("/worker", "must be 1 to 128 characters long".into());
        }
        if is_long(&self.request, 64) {
            refuse("/request", "must be 1 to 64 characters long".into());
        }
        if self.request.is_some() && self.worker.is_none() {
            refuse(
                "/worker",
                "is missing: request numbers the requests of a worker".into(),
            );
        }
        found
    }
}

/// A leased task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeasedTask {
    /// The task.
    pub id: TaskId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The lease on the attempt: every report about it carries this token.
    pub lease_token: LeaseToken,
    /// Type of the task.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// Priority of the task.
    pub priority: Priority,
    /// The instruction or data of the task.
    pub content: String,
    /// Tags of the task.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Metadata of the task.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Time limit of the attempt, in seconds. At `deadline_at` the lease ends.
    pub timeout_seconds: u64,
    /// End of the time limit.
    #[schema(value_type = String, format = DateTime)]
    pub deadline_at: Timestamp,
    /// Interval in which heartbeats are expected, in seconds. After three without one the
    /// lease ends.
    pub heartbeat_seconds: u64,
    /// The session that the task belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// W3C trace context of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// The answer to a request for tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Leased {
    /// The leased tasks; empty when none came in time.
    pub tasks: Vec<LeasedTask>,
}

/// A sign of life of the worker that holds an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatReport {
    /// The number of the attempt.
    #[schema(minimum = 1)]
    pub attempt: u32,
    /// The lease on the attempt.
    pub lease_token: LeaseToken,
    /// Progress, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub progress: Option<f64>,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HeartbeatAnswer {
    /// Time at which the lease ends unless another heartbeat comes.
    #[schema(value_type = String, format = DateTime)]
    pub lease_expires_at: Timestamp,
    /// True if the attempt is to be ended: the task was cancelled.
    pub cancel: bool,
    /// Reason of the cancellation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A piece of the output of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputReport {
    /// The number of the attempt.
    #[schema(minimum = 1)]
    pub attempt: u32,
    /// The lease on the attempt.
    pub lease_token: LeaseToken,
    /// Offset of the piece in the output, in bytes. A piece, or a part of one, that the
    /// hive has already is left out, so a report may be repeated.
    pub offset: u64,
    /// The piece.
    pub text: String,
}

/// The answer to a piece of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutputAnswer {
    /// Length of the output so far, in bytes: the offset of the next piece.
    pub length: u64,
}

/// The report that an attempt succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionReport {
    /// The number of the attempt.
    #[schema(minimum = 1)]
    pub attempt: u32,
    /// The lease on the attempt.
    pub lease_token: LeaseToken,
    /// The output, or its end: it is appended to the pieces that were reported before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Tokens used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_cents: Option<u64>,
}

/// The report that an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailureReport {
    /// The number of the attempt.
    #[schema(minimum = 1)]
    pub attempt: u32,
    /// The lease on the attempt.
    pub lease_token: LeaseToken,
    /// The reason, in a sentence, 1 to 10,000 characters.
    #[schema(min_length = 1, max_length = 10_000)]
    pub error: String,
    /// The class of the failure, which decides what it costs the task and the bot;
    /// `internal` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// For `rate_limited`, `quota` and `overloaded`: time for which the bot takes no
    /// tasks, in seconds; `bots.pause.default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Exit code of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Tokens used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_cents: Option<u64>,
}

/// Maximum length of the reason of a failure, in characters. Fact: the API, whose schema
/// states it.
const MAX_ERROR: usize = 10_000;

impl FailureReport {
    /// Returns the errors in the report.
    pub fn violations(&self) -> Vec<Violation> {
        let is_long = !(1..=MAX_ERROR).contains(&self.error.chars().count());
        let found = is_long.then(|| Violation {
            pointer: "/error".into(),
            detail: format!("must be 1 to {MAX_ERROR} characters long"),
        });
        found.into_iter().collect()
    }
}

/// The answer to the report of an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReportAnswer {
    /// The task.
    pub task_id: TaskId,
    /// The bot that reported.
    pub bot_id: BotName,
    /// Status of the task.
    pub status: TaskStatus,
    /// True if the end had been reported before: the first report counts.
    pub repeated: bool,
}
