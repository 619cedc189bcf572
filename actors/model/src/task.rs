//! Tasks: what is submitted, what is kept, what is asked for.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    BotName, DependencyFailure, EndReason, FailedAttempt, RetryOverride, TaskId, Timestamp, Toll,
};

/// What kind of work a task is: 1 to 63 characters of `a-z`, `0-9`, `_`, `-`, `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskType(Arc<str>);

impl TaskType {
    /// The least of all in order; no task has it.
    pub fn least() -> Self {
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

/// What a submitter is told once the task is on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Submitted {
    /// The new task.
    pub id: TaskId,
    /// `queued`, or `pending` when it is to run later.
    pub status: TaskStatus,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether this is an unfinished task that was there already with the same
    /// `dedup_key`: then nothing new was accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deduplicated: bool,
}

/// A task as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What kind of work it is.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// How urgent it is.
    pub priority: Priority,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// Who submitted it.
    pub submitter: String,
    /// Input of the task; absent in lists, and when it was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Labels to find it by.
    pub tags: Vec<String>,
    /// The submitter's own data.
    #[schema(value_type = Object)]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// The bot that has it, or had it last.
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
    /// Number of bots that went down because of it; at `tasks.poison_after` it is given
    /// up.
    pub bot_deaths: u32,
    /// Number of bots that went down while it ran beside other tasks. From the first on
    /// it runs on a bot alone.
    #[serde(default)]
    pub suspicions: u32,
    /// Number of unclean ends of the hive while it ran; at
    /// `tasks.poison_after_hive_deaths` it is given up.
    #[serde(default)]
    pub hive_deaths: u32,
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
    /// Why it failed or was called off; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// It fails unless it has started by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// While it is unfinished, the same user's submissions with this key come to this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// The `Idempotency-Key` that it was submitted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Tasks that must be completed before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<TaskId>,
    /// What becomes of it when one of those fails.
    #[serde(default)]
    pub on_dependency_failure: DependencyFailure,
    /// When its content and its outcome were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub erased_at: Option<Timestamp>,
    /// How many of those it still waits for.
    pub waiting_for: u32,
    /// What it wants otherwise than the retry policy of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryOverride>,
    /// How its attempts came to nothing, the last 100; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<FailedAttempt>,
    /// The W3C trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Task {
    /// Returns it without its input and its outcome, for a caller who may change it but
    /// not read it.
    #[must_use]
    pub fn outline(self) -> Self {
        Self {
            content: None,
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            last_error: None,
            dedup_key: None,
            idempotency_key: None,
            depends_on: Vec::new(),
            failed_attempts: Vec::new(),
            traceparent: None,
            ..self
        }
    }

    /// Returns its counts of unsuccessful attempts, by cause.
    pub fn toll(&self) -> Toll {
        Toll {
            failures: self.failures,
            bot_deaths: self.bot_deaths,
            suspicions: self.suspicions,
            hive_deaths: self.hive_deaths,
        }
    }
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
    /// That failed or was called off for this reason.
    pub end_reason: Option<EndReason>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// With these values in its metadata: a key, and its value as text.
    pub metadata: Vec<(String, String)>,
    /// With this `dedup_key`.
    pub dedup_key: Option<String>,
    /// Accepted at this time or later.
    pub created_after: Option<Timestamp>,
    /// Accepted before this time.
    pub created_before: Option<Timestamp>,
}

#[cfg(any(test, feature = "testing"))]
impl Task {
    /// A queued one, for tests.
    pub fn sample() -> Self {
        let at = Timestamp::from_millis(1_700_000_000_000);
        Self {
            id: TaskId::new(),
            task_type: TaskType("general".into()),
            priority: Priority::P2,
            status: TaskStatus::Queued,
            submitter: "ada".into(),
            content: Some("hello".into()),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            assigned_bot: None,
            created_at: at,
            run_at: at,
            started_at: None,
            completed_at: None,
            attempt: 0,
            failures: 0,
            max_attempts: 3,
            bot_deaths: 0,
            suspicions: 0,
            hive_deaths: 0,
            timeout_seconds: 60,
            estimated_duration_seconds: None,
            actual_duration_seconds: None,
            progress: 0.0,
            deployment: Deployment::Blue,
            cancel_requested_at: None,
            last_error: None,
            end_reason: None,
            expires_at: None,
            dedup_key: None,
            idempotency_key: None,
            depends_on: Vec::new(),
            on_dependency_failure: DependencyFailure::default(),
            erased_at: None,
            waiting_for: 0,
            retry: None,
            failed_attempts: Vec::new(),
            traceparent: None,
        }
    }
}
