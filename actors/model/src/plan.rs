//! The start of a task: retries, dependencies, expiry.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AttemptEnd, FailureClass, RetryPolicy, TaskId, TaskStatus, Timestamp};

/// Retry settings of one task. Absent fields are taken from its type or the
/// configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryOverride {
    /// Delay before the first retry, in milliseconds, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2_592_000_000_u64)]
    pub min_ms: Option<u64>,
    /// Maximum delay, in milliseconds, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2_592_000_000_u64)]
    pub max_ms: Option<u64>,
    /// Factor by which each delay is longer than the one before, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub factor: Option<f64>,
    /// Share by which the delay is randomly spread up and down, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub jitter: Option<f64>,
}

/// Maximum delay: thirty days, in milliseconds. Fact: the API, whose schema states it.
pub(super) const MAX_DELAY_MS: u64 = 30 * 86_400_000;

impl RetryOverride {
    /// Returns `base` with the fields of this override.
    pub fn over(&self, base: RetryPolicy) -> RetryPolicy {
        let min = self.min_ms.map_or(base.min, Duration::from_millis);
        let max = self.max_ms.map_or(base.max, Duration::from_millis);
        RetryPolicy {
            min,
            // A task that sets only a long first delay intends that delay.
            max: if self.max_ms.is_none() {
                max.max(min)
            } else {
                max
            },
            factor: self.factor.unwrap_or(base.factor),
            jitter: self.jitter.unwrap_or(base.jitter),
        }
    }

    /// Returns the errors in it: the field and the reason.
    pub(super) fn violations(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (field, value) in [("min_ms", self.min_ms), ("max_ms", self.max_ms)] {
            if let Some(n) = value.filter(|n| *n > MAX_DELAY_MS) {
                found.push((field, format!("is {n}; allowed are 0 to {MAX_DELAY_MS}")));
            }
        }
        if let (Some(min), Some(max)) = (self.min_ms, self.max_ms)
            && min > max
        {
            found.push(("max_ms", format!("is {max}, less than min_ms ({min})")));
        }
        if let Some(n) = self.factor.filter(|n| !(1.0..=100.0).contains(n)) {
            found.push(("factor", format!("is {n}; allowed are 1 to 100")));
        }
        if let Some(n) = self.jitter.filter(|n| !(0.0..=1.0).contains(n)) {
            found.push(("jitter", format!("is {n}; allowed are 0 to 1")));
        }
        found
    }
}

/// A task that must be completed before another starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// A task that was submitted earlier.
    Task(TaskId),
    /// The task at this index (from 0) of the same batch, which must precede the
    /// dependent task.
    InBatch(u32),
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(id) => id.fmt(f),
            Self::InBatch(place) => write!(f, "@{place}"),
        }
    }
}

impl FromStr for Dependency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected the id of a task, or @<n> for the n-th task of the same batch, counted from 0";
        match text.strip_prefix('@') {
            Some(place) if place.bytes().all(|b| b.is_ascii_digit()) => {
                place.parse().map(Self::InBatch).map_err(|_| EXPECTED)
            }
            Some(_) => Err(EXPECTED),
            None => text.parse().map(Self::Task).map_err(|_| EXPECTED),
        }
    }
}

impl Serialize for Dependency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Consequence for a task when one that it depends on fails or is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DependencyFailure {
    /// The task fails as well, and so do those that depend on it.
    #[default]
    Fail,
    /// The task is cancelled.
    Cancel,
    /// The task starts all the same.
    Start,
}

impl DependencyFailure {
    /// Returns whether this is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Consequence of the state of a dependency for a task that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The task no longer waits for this dependency.
    Satisfied,
    /// The task fails.
    Fail,
    /// The task is cancelled.
    Cancel,
    /// The task continues to wait.
    Wait,
}

/// Returns the consequence of the status of a dependency for a task with this policy.
pub fn release(status: TaskStatus, policy: DependencyFailure) -> Release {
    match (status, policy) {
        (TaskStatus::Completed, _) => Release::Satisfied,
        (TaskStatus::Pending | TaskStatus::Queued | TaskStatus::Running, _) => Release::Wait,
        (TaskStatus::Failed | TaskStatus::Cancelled, DependencyFailure::Start) => {
            Release::Satisfied
        }
        (TaskStatus::Failed | TaskStatus::Cancelled, DependencyFailure::Fail) => Release::Fail,
        (TaskStatus::Failed | TaskStatus::Cancelled, DependencyFailure::Cancel) => Release::Cancel,
    }
}

/// Reason why a task failed or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The attempts of the task were used up.
    Attempts,
    /// An attempt failed in a way that no further attempt can mend; `failure_class` has
    /// the class.
    Permanent,
    /// The task took down as many bots as `tasks.poison_after` allows.
    Poison,
    /// The task did not start before `expires_at`.
    Expired,
    /// A task that it depends on did not complete.
    Dependency,
    /// The task was cancelled by a caller.
    Cancelled,
    /// The bot of the session of the task died.
    Session,
}

impl EndReason {
    /// All reasons.
    pub const ALL: [EndReason; 7] = [
        EndReason::Attempts,
        EndReason::Permanent,
        EndReason::Poison,
        EndReason::Expired,
        EndReason::Dependency,
        EndReason::Cancelled,
        EndReason::Session,
    ];

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Permanent => "permanent",
            Self::Poison => "poison",
            Self::Expired => "expired",
            Self::Dependency => "dependency",
            Self::Cancelled => "cancelled",
            Self::Session => "session",
        }
    }
}

impl FromStr for EndReason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(
                "expected attempts, permanent, poison, expired, dependency, cancelled or session",
            )
    }
}

/// An unsuccessful attempt, kept as evidence with a task that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailedAttempt {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The bot that ran the attempt.
    pub bot: String,
    /// The outcome of the attempt.
    pub outcome: AttemptOutcomeKind,
    /// The class of the failure, if the executor named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// The reason, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Exit code of a program that was not ended by a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Length of the stored output of the attempt, in bytes; absent when none was
    /// stored. `GET /api/v1/tasks/{id}/output?attempt=` returns the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Time of the start.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Time at which the end was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
}

/// The outcome of an unsuccessful attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcomeKind {
    /// The attempt failed or ran out of time.
    Failed,
    /// The attempt took its bot down.
    BotDied,
    /// The bot went down while other attempts ran beside this one.
    Suspected,
    /// The hive went down while the attempt ran.
    HiveDied,
    /// The bot returned the task unharmed.
    GivenBack,
    /// The bot or its host could not carry out the task; not counted as a failure.
    BotFault,
    /// The attempt was cancelled.
    Cancelled,
    /// The attempt failed in a way that no further attempt can mend.
    FailedForGood,
    /// The bot or its provider took no tasks for a while; not counted as a failure.
    Refused,
}

impl AttemptOutcomeKind {
    const ALL: [Self; 9] = [
        Self::Failed,
        Self::BotDied,
        Self::Suspected,
        Self::HiveDied,
        Self::GivenBack,
        Self::BotFault,
        Self::Cancelled,
        Self::FailedForGood,
        Self::Refused,
    ];

    /// Returns the outcome of an attempt that ended with `end`; `None` for a success.
    pub fn of(end: AttemptEnd) -> Option<Self> {
        Some(match end {
            AttemptEnd::Succeeded => return None,
            AttemptEnd::Failed => Self::Failed,
            AttemptEnd::BotDied => Self::BotDied,
            AttemptEnd::Suspected => Self::Suspected,
            AttemptEnd::HiveDied => Self::HiveDied,
            AttemptEnd::GivenBack => Self::GivenBack,
            AttemptEnd::BotFault => Self::BotFault,
            AttemptEnd::Cancelled => Self::Cancelled,
            AttemptEnd::FailedForGood => Self::FailedForGood,
            AttemptEnd::Refused => Self::Refused,
        })
    }

    /// Returns the name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::BotDied => "bot_died",
            Self::Suspected => "suspected",
            Self::HiveDied => "hive_died",
            Self::GivenBack => "given_back",
            Self::BotFault => "bot_fault",
            Self::Cancelled => "cancelled",
            Self::FailedForGood => "failed_for_good",
            Self::Refused => "refused",
        }
    }
}

impl From<AttemptOutcomeKind> for AttemptEnd {
    fn from(kind: AttemptOutcomeKind) -> Self {
        match kind {
            AttemptOutcomeKind::Failed => Self::Failed,
            AttemptOutcomeKind::BotDied => Self::BotDied,
            AttemptOutcomeKind::Suspected => Self::Suspected,
            AttemptOutcomeKind::HiveDied => Self::HiveDied,
            AttemptOutcomeKind::GivenBack => Self::GivenBack,
            AttemptOutcomeKind::BotFault => Self::BotFault,
            AttemptOutcomeKind::Cancelled => Self::Cancelled,
            AttemptOutcomeKind::FailedForGood => Self::FailedForGood,
            AttemptOutcomeKind::Refused => Self::Refused,
        }
    }
}

impl FromStr for AttemptOutcomeKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or("expected failed, bot_died, suspected, hive_died, given_back, bot_fault, cancelled, failed_for_good or refused")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_changes_only_its_fields() {
        let base = RetryPolicy {
            min: Duration::from_secs(1),
            max: Duration::from_secs(60),
            factor: 2.0,
            jitter: 0.2,
        };
        assert_eq!(RetryOverride::default().over(base), base);
        let long = RetryOverride {
            min_ms: Some(120_000),
            ..RetryOverride::default()
        };
        assert_eq!(long.over(base).max, Duration::from_secs(120));
        let all = RetryOverride {
            min_ms: Some(5),
            max_ms: Some(7),
            factor: Some(1.0),
            jitter: Some(0.0),
        };
        let over = all.over(base);
        assert_eq!(
            (over.min, over.max),
            (Duration::from_millis(5), Duration::from_millis(7))
        );
        assert_eq!((over.factor, over.jitter), (1.0, 0.0));
    }

    #[test]
    fn invalid_overrides_are_refused() {
        let wrong = RetryOverride {
            min_ms: Some(u64::MAX),
            max_ms: Some(1),
            factor: Some(0.5),
            jitter: Some(f64::NAN),
        };
        let fields: Vec<_> = wrong.violations().iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["min_ms", "max_ms", "factor", "jitter"]);
        assert!(RetryOverride::default().violations().is_empty());
    }

    #[test]
    fn dependencies_read_back() {
        let id = TaskId::new();
        for (text, expected) in [
            (id.to_string(), Some(Dependency::Task(id))),
            ("@0".into(), Some(Dependency::InBatch(0))),
            ("@17".into(), Some(Dependency::InBatch(17))),
            ("@".into(), None),
            ("@-1".into(), None),
            ("@+1".into(), None),
            ("@99999999999".into(), None),
            ("7".into(), None),
            (String::new(), None),
        ] {
            let read = text.parse::<Dependency>().ok();
            assert_eq!(read, expected, "{text}");
            if let Some(dependency) = read {
                assert_eq!(dependency.to_string(), text);
            }
        }
    }

    #[test]
    fn the_table_of_releases() {
        use DependencyFailure::{Cancel, Fail, Start};
        use TaskStatus::*;
        for (status, policy, expected) in [
            (Completed, Fail, Release::Satisfied),
            (Completed, Cancel, Release::Satisfied),
            (Running, Start, Release::Wait),
            (Pending, Fail, Release::Wait),
            (Queued, Cancel, Release::Wait),
            (Failed, Fail, Release::Fail),
            (Failed, Cancel, Release::Cancel),
            (Failed, Start, Release::Satisfied),
            (Cancelled, Fail, Release::Fail),
            (Cancelled, Cancel, Release::Cancel),
            (Cancelled, Start, Release::Satisfied),
        ] {
            assert_eq!(release(status, policy), expected, "{status:?} {policy:?}");
        }
    }
}
