//! Tasks: what is submitted, what is kept, what is asked for.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{BotName, TaskId, Timestamp};
use crate::config::TaskSettings;

/// What kind of work a task is: 1 to 63 characters of `a-z`, `0-9`, `_`, `-`, `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskType(Arc<str>);

impl TaskType {
    /// The least of all in order; no task has it.
    pub(crate) fn least() -> Self {
        Self("".into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
        if text.is_empty() || text.len() > 63 || !text.bytes().all(ok) {
            return Err("expected 1 to 63 characters of a-z, 0-9, '_', '-' and '.'");
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TaskType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TaskType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// How urgent a task is; `P0` goes first.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub enum Priority {
    /// Before everything else.
    P0,
    /// Soon.
    P1,
    /// The default.
    #[default]
    P2,
    /// When there is nothing better to do.
    P3,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Priority; 4] = [Priority::P0, Priority::P1, Priority::P2, Priority::P3];

    /// 0 for the most urgent to 3.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// The priority of that rank.
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rank)).copied()
    }
}

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Scheduled for later, or waiting for the next attempt.
    Pending,
    /// Ready to run.
    Queued,
    /// With a bot.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly, no attempt left.
    Failed,
    /// Called off.
    Cancelled,
}

impl TaskStatus {
    /// All of them, in the order of a life.
    pub const ALL: [TaskStatus; 6] = [
        TaskStatus::Pending,
        TaskStatus::Queued,
        TaskStatus::Running,
        TaskStatus::Completed,
        TaskStatus::Failed,
        TaskStatus::Cancelled,
    ];

    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for TaskStatus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or("expected pending, queued, running, completed, failed or cancelled")
    }
}

/// Which side of a rollout a task belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deployment {
    /// The side in use.
    #[default]
    Blue,
    /// The side being rolled out.
    Green,
}

/// What an integrator submits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// What kind of work it is: `development`, `analysis`, `writing`, `planning`,
    /// `general`, or another name of 1 to 63 characters of `a-z 0-9 _ - .`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "general")]
    pub task_type: TaskType,
    /// What the bot gets to work on. Limit: `tasks.max_content_bytes`.
    #[schema(example = "hello")]
    pub content: String,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// Labels to find it by: at most 32, of 1 to 128 bytes each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The submitter's own data, handed to the bot. Limit: `tasks.max_metadata_bytes`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Not before then; now when absent or past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub run_at: Option<Timestamp>,
    /// How many attempts may fail, 1 to 100; `tasks.default_max_attempts` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_attempts: Option<u32>,
    /// How long one attempt may take, in seconds; `tasks.default_timeout` when absent,
    /// at most `tasks.max_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// How long the submitter thinks it takes, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration_seconds: Option<u64>,
    /// The W3C trace that it belongs to, from the request's `traceparent` header.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

impl NewTask {
    /// One of that type with that content, all else by default.
    pub fn new(task_type: TaskType, content: impl Into<String>) -> Self {
        Self {
            task_type,
            content: content.into(),
            priority: Priority::default(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            run_at: None,
            max_attempts: None,
            timeout_seconds: None,
            estimated_duration_seconds: None,
            traceparent: None,
        }
    }

    /// What is wrong with it under these limits; pointers are relative to the task.
    pub fn violations(&self, limits: &TaskSettings) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut refuse = |pointer: &str, detail: String| {
            found.push(Violation {
                pointer: pointer.into(),
                detail,
            });
        };
        let max_content = limits.max_content_bytes.as_u64();
        if self.content.len() as u64 > max_content {
            refuse(
                "/content",
                format!(
                    "is {} bytes long; the limit is {max_content} (tasks.max_content_bytes)",
                    self.content.len()
                ),
            );
        }
        if !limits.types.is_empty() && !limits.types.contains(&self.task_type) {
            let known: Vec<_> = limits.types.iter().map(TaskType::as_str).collect();
            refuse(
                "/type",
                format!(
                    "is not one of the configured types (tasks.types): {}",
                    known.join(", ")
                ),
            );
        }
        if self.tags.len() > 32 {
            refuse(
                "/tags",
                format!("has {} tags; the limit is 32", self.tags.len()),
            );
        }
        for (i, tag) in self.tags.iter().enumerate() {
            if tag.is_empty() || tag.len() > 128 {
                refuse(
                    &format!("/tags/{i}"),
                    format!("is {} bytes long; allowed are 1 to 128", tag.len()),
                );
            }
        }
        let max_metadata = limits.max_metadata_bytes.as_u64();
        let metadata_bytes =
            serde_json::to_string(&self.metadata).map_or(u64::MAX, |text| text.len() as u64);
        if !self.metadata.is_empty() && metadata_bytes > max_metadata {
            refuse(
                "/metadata",
                format!(
                    "is {metadata_bytes} bytes of JSON; the limit is {max_metadata} (tasks.max_metadata_bytes)"
                ),
            );
        }
        if let Some(n) = self.max_attempts.filter(|n| !(1..=100).contains(n)) {
            refuse("/max_attempts", format!("is {n}; allowed are 1 to 100"));
        }
        let max_timeout = limits.max_timeout.as_secs();
        if let Some(n) = self
            .timeout_seconds
            .filter(|n| !(1..=max_timeout).contains(n))
        {
            refuse(
                "/timeout_seconds",
                format!("is {n}; allowed are 1 to {max_timeout} (tasks.max_timeout)"),
            );
        }
        found
    }
}

/// One thing that is wrong with an input, and where (RFC 6901 JSON pointer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Violation {
    /// Where in the body, as a JSON pointer; empty for the whole.
    #[schema(example = "/content")]
    pub pointer: String,
    /// What is wrong there and what is allowed.
    pub detail: String,
}

/// What a submitter is told once the task is on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Submitted {
    /// The new task.
    #[schema(value_type = String, example = "task_01h455vb4pex5vsknk084sn02q")]
    pub id: TaskId,
    /// `queued`, or `pending` when it is to run later.
    pub status: TaskStatus,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A task as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Task {
    /// Its id.
    #[schema(value_type = String, example = "task_01h455vb4pex5vsknk084sn02q")]
    pub id: TaskId,
    /// What kind of work it is.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "general")]
    pub task_type: TaskType,
    /// How urgent it is.
    pub priority: Priority,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// Who submitted it.
    pub submitter: String,
    /// What the bot gets to work on; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Labels to find it by.
    pub tags: Vec<String>,
    /// The submitter's own data.
    #[schema(value_type = Object)]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// The bot that has it, or had it last.
    #[schema(value_type = Option<String>)]
    pub assigned_bot: Option<BotName>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Not before then.
    #[schema(value_type = String, format = DateTime)]
    pub run_at: Timestamp,
    /// When the last attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When its end was recorded.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// The number of the last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// How many attempts failed. A bot's death is not counted here.
    pub failures: u32,
    /// How many attempts may fail.
    pub max_attempts: u32,
    /// How many bots went down with it; at `tasks.poison_after` it is given up.
    pub bot_deaths: u32,
    /// How long one attempt may take, in seconds.
    pub timeout_seconds: u64,
    /// How long the submitter thought it takes, in seconds.
    pub estimated_duration_seconds: Option<u64>,
    /// How long the last attempt took, in seconds.
    pub actual_duration_seconds: Option<f64>,
    /// How far it is, 0 to 1.
    pub progress: f64,
    /// Which side of a rollout it belongs to.
    pub deployment: Deployment,
    /// When its cancellation was asked for while it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_requested_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The W3C trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Which tasks are wanted; an absent field does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// In this status.
    pub status: Option<TaskStatus>,
    /// Of this type.
    pub task_type: Option<TaskType>,
    /// Of this priority.
    pub priority: Option<Priority>,
    /// With, or last with, this bot.
    pub bot: Option<BotName>,
    /// Submitted by this user.
    pub submitter: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> TaskSettings {
        crate::config::Config::defaults().unwrap().tasks
    }

    #[test]
    fn violations_name_the_place_and_the_range() {
        let ok = NewTask::new("general".parse().unwrap(), "hello");
        assert_eq!(ok.violations(&limits()), vec![]);

        let max = usize::try_from(limits().max_content_bytes.as_u64()).unwrap();
        let cases: Vec<(&str, NewTask)> = vec![
            (
                "/content",
                NewTask {
                    content: "x".repeat(max + 1),
                    ..ok.clone()
                },
            ),
            (
                "/tags",
                NewTask {
                    tags: vec!["t".into(); 33],
                    ..ok.clone()
                },
            ),
            (
                "/tags/1",
                NewTask {
                    tags: vec!["t".into(), String::new()],
                    ..ok.clone()
                },
            ),
            (
                "/metadata",
                NewTask {
                    metadata: [("k".to_owned(), "x".repeat(70_000).into())].into(),
                    ..ok.clone()
                },
            ),
            (
                "/max_attempts",
                NewTask {
                    max_attempts: Some(0),
                    ..ok.clone()
                },
            ),
            (
                "/max_attempts",
                NewTask {
                    max_attempts: Some(101),
                    ..ok.clone()
                },
            ),
            (
                "/timeout_seconds",
                NewTask {
                    timeout_seconds: Some(0),
                    ..ok.clone()
                },
            ),
            (
                "/timeout_seconds",
                NewTask {
                    timeout_seconds: Some(u64::MAX),
                    ..ok.clone()
                },
            ),
        ];
        for (pointer, task) in cases {
            let found = task.violations(&limits());
            assert_eq!(found.len(), 1, "{pointer}: {found:?}");
            assert_eq!(found[0].pointer, pointer);
        }
        let at_limit = NewTask {
            content: "x".repeat(max),
            ..ok
        };
        assert_eq!(at_limit.violations(&limits()), vec![]);
    }

    #[test]
    fn only_configured_types_when_types_are_configured() {
        let mut limits = limits();
        limits.types = vec!["general".parse().unwrap()];
        let task = NewTask::new("writing".parse().unwrap(), "");
        assert_eq!(task.violations(&limits)[0].pointer, "/type");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<NewTask>(r#"{"type":"general","content":"","prio":1}"#);
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("unknown field `prio`")
        );
    }
}
