//! Tasks: their form, their states, and filters of them.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    BotName, DependencyFailure, EndReason, FailedAttempt, RetryOverride, SessionId, TaskId,
    Timestamp, Toll,
};

/// The type of a task: 1 to 63 characters of `a-z`, `0-9`, `_`, `-`, `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskType(Arc<str>);

impl TaskType {
    /// Returns the least type in sort order; no task has this type.
    pub fn least() -> Self {
        Self("".into())
    }

    /// Returns the text.
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

/// The priority of a task; `P0` goes first.
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
    /// Lowest: started when no other task is ready.
    P3,
}

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Priority; 4] = [Priority::P0, Priority::P1, Priority::P2, Priority::P3];

    /// Returns 0 for the most urgent to 3 for the least.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// Returns the priority of a rank.
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rank)).copied()
    }
}

/// The status of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Scheduled for later, or waiting for the next attempt.
    Pending,
    /// Ready to start.
    Queued,
    /// Running on a bot.
    Running,
    /// Completed.
    Completed,
    /// Failed, with no attempts left.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl TaskStatus {
    /// All statuses, in the order of the life cycle.
    pub const ALL: [TaskStatus; 6] = [
        TaskStatus::Pending,
        TaskStatus::Queued,
        TaskStatus::Running,
        TaskStatus::Completed,
        TaskStatus::Failed,
        TaskStatus::Cancelled,
    ];

    /// Returns whether the status is final.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Returns the name on the wire.
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

/// The side of a rollout that a task belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deployment {
    /// The side in use.
    #[default]
    Blue,
    /// The side being rolled out.
    Green,
}

/// The answer to a submission, sent once the task is on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Submitted {
    /// The new task.
    pub id: TaskId,
    /// `queued`, or `pending` if the task starts later.
    pub status: TaskStatus,
    /// Time of acceptance.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// True if this is an existing unfinished task with the same `dedup_key`: no new
    /// task was accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deduplicated: bool,
}

/// A task in its current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Task {
    /// The id of the task.
    pub id: TaskId,
    /// The type of the task.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// The priority of the task.
    pub priority: Priority,
    /// The status of the task.
    pub status: TaskStatus,
    /// The user who submitted the task.
    pub submitter: String,
    /// The input of the task; absent in lists, and after erasure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Labels for filtering.
    pub tags: Vec<String>,
    /// The submitter's own data.
    #[schema(value_type = Object)]
    pub metadata: BTreeMap<String, serde_json::Value>,
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
    /// The number of the last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Number of attempts that failed. Deaths of bots are not counted here.
    pub failures: u32,
    /// Number of attempts that may fail.
    pub max_attempts: u32,
    /// Number of bots that went down because of the task; the task fails at
    /// `tasks.poison_after`.
    pub bot_deaths: u32,
    /// Number of bots that went down while the task ran beside others. From the first
    /// on, the task runs on a bot alone.
    #[serde(default)]
    pub suspicions: u32,
    /// Number of unclean ends of the hive while the task ran; the task fails at
    /// `tasks.poison_after_hive_deaths`.
    #[serde(default)]
    pub hive_deaths: u32,
    /// Maximum duration of one attempt, in seconds.
    pub timeout_seconds: u64,
    /// Maximum time, in seconds, for which an attempt may neither write output nor report
    /// progress; that of its bot when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// Expected duration, in seconds, as estimated by the submitter.
    pub estimated_duration_seconds: Option<u64>,
    /// Duration of the last attempt, in seconds.
    pub actual_duration_seconds: Option<f64>,
    /// Progress of the running attempt, 0 to 1.
    pub progress: f64,
    /// The side of a rollout that the task belongs to.
    pub deployment: Deployment,
    /// Time at which cancellation was requested while the task ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_requested_at: Option<Timestamp>,
    /// Reason why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Reason why the task failed or was cancelled; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// Time at which the task fails unless it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// While the task is unfinished, submissions of the same user with this key return
    /// this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// The session that the task belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The `Idempotency-Key` of the submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Tasks that must be completed before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<TaskId>,
    /// Consequence for this task when one of those fails or is cancelled.
    #[serde(default)]
    pub on_dependency_failure: DependencyFailure,
    /// Time at which the content and the outcome were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub erased_at: Option<Timestamp>,
    /// Number of dependencies that the task still waits for.
    pub waiting_for: u32,
    /// Retry settings of this task, where they differ from those of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryOverride>,
    /// The unsuccessful attempts, the last 100; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<FailedAttempt>,
    /// The W3C trace that the task belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Task {
    /// Returns the task without its input and its outcome, for a caller who may change
    /// the task but not read it.
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

    /// Returns the counts of unsuccessful attempts, by cause.
    pub fn toll(&self) -> Toll {
        Toll {
            failures: self.failures,
            bot_deaths: self.bot_deaths,
            suspicions: self.suspicions,
            hive_deaths: self.hive_deaths,
        }
    }
}

/// A filter of tasks; an absent field does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Tasks in this status.
    pub status: Option<TaskStatus>,
    /// Tasks of this type.
    pub task_type: Option<TaskType>,
    /// Tasks of this priority.
    pub priority: Option<Priority>,
    /// Tasks that this bot runs, or ran last.
    pub bot: Option<BotName>,
    /// Tasks submitted by this user.
    pub submitter: Option<String>,
    /// Tasks that failed or were cancelled for this reason.
    pub end_reason: Option<EndReason>,
    /// Tasks with all of these tags.
    pub tags: Vec<String>,
    /// Tasks with these values in their metadata: a key, and its value as text.
    pub metadata: Vec<(String, String)>,
    /// Tasks of this session.
    pub session: Option<SessionId>,
    /// Tasks with this `dedup_key`.
    pub dedup_key: Option<String>,
    /// Tasks accepted at this time or later.
    pub created_after: Option<Timestamp>,
    /// Tasks accepted before this time.
    pub created_before: Option<Timestamp>,
}

#[cfg(any(test, feature = "testing"))]
impl Task {
    /// Returns a queued task, for tests.
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
            idle_timeout_seconds: None,
            estimated_duration_seconds: None,
            actual_duration_seconds: None,
            progress: 0.0,
            deployment: Deployment::Blue,
            cancel_requested_at: None,
            last_error: None,
            end_reason: None,
            expires_at: None,
            dedup_key: None,
            session_id: None,
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
