//! Settings of tasks, and of the scheduler that assigns them to bots.

use std::{collections::BTreeMap, time::Duration};

use bytesize::ByteSize;
use deia_ledger::{PerSubmitter, Retention};
use deia_model::{RetryOverride, RetryPolicy, TaskLimits, TaskType};
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, GIB, KIB, MIB, MINUTE, SECOND},
};

/// Limits and defaults of tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct TaskSettings {
    pub types: Vec<TaskType>,
    pub max_types: u32,
    pub max_types_external: u32,
    pub max_waiting: u64,
    #[serde(with = "deia_model::duration")]
    pub retry_after: Duration,
    pub per_submitter: PerSubmitter,
    pub max_content_bytes: ByteSize,
    pub max_output_bytes: ByteSize,
    pub max_output_file_bytes: ByteSize,
    pub max_outputs_bytes: ByteSize,
    pub kept_outputs: u32,
    pub max_metadata_bytes: ByteSize,
    pub max_batch: u32,
    pub default_max_attempts: u32,
    #[serde(with = "deia_model::duration")]
    pub default_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_timeout: Duration,
    pub poison_after: u32,
    pub poison_after_hive_deaths: u32,
    #[serde(with = "deia_model::duration")]
    pub bot_fault_delay: Duration,
    pub max_dependencies: u32,
    pub max_dependents: u32,
    pub retry: RetryPolicy,
    pub by_type: BTreeMap<TaskType, TypeSettings>,
    #[serde(with = "deia_model::duration")]
    pub idempotency_retention: Duration,
    pub max_idempotency_answers: u64,
    pub max_idempotency_bytes: ByteSize,
    pub retention: Retention,
}

/// Settings of tasks of one type; absent ones are as for all types.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct TypeSettings {
    #[serde(default)]
    pub max_attempts: Option<u32>,
    #[serde(default, with = "deia_model::duration")]
    pub timeout: Option<Duration>,
    #[serde(default, with = "deia_model::duration")]
    pub expires_after: Option<Duration>,
    #[serde(default)]
    pub retry: TypeRetry,
}

/// Retry policy of one type; absent settings are as for all types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct TypeRetry {
    #[serde(default, with = "deia_model::duration")]
    pub min: Option<Duration>,
    #[serde(default, with = "deia_model::duration")]
    pub max: Option<Duration>,
    #[serde(default)]
    pub factor: Option<f64>,
    #[serde(default)]
    pub jitter: Option<f64>,
}

/// The scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct SchedulerSettings {
    pub window: u32,
    pub claim_max: u32,
    pub claim_max_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub poll_interval: Duration,
    #[serde(with = "deia_model::duration")]
    pub aged_after: Duration,
    pub aged_every: u32,
}

impl TypeRetry {
    /// Returns this policy as an override of the general policy.
    pub fn as_override(&self) -> RetryOverride {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        RetryOverride {
            min_ms: self.min.map(millis),
            max_ms: self.max.map(millis),
            factor: self.factor,
            jitter: self.jitter,
        }
    }
}

impl TaskSettings {
    /// Returns the limits that the model applies to a new task.
    pub fn limits(&self) -> TaskLimits<'_> {
        TaskLimits {
            types: &self.types,
            max_content_bytes: self.max_content_bytes.as_u64(),
            max_metadata_bytes: self.max_metadata_bytes.as_u64(),
            max_timeout_seconds: self.max_timeout.as_secs(),
            max_dependencies: self.max_dependencies,
        }
    }

    pub(super) fn check(&self, check: &mut Checker) {
        check.number("tasks.max_types", self.max_types, 1..=100_000);
        check.number(
            "tasks.max_types_external",
            self.max_types_external,
            1..=100_000,
        );
        check.duration("tasks.retry_after", self.retry_after, SECOND..=10 * MINUTE);
        check.number("tasks.max_waiting", self.max_waiting, 1..=100_000_000);
        check_submitters(&self.per_submitter, check);
        check.number(
            "tasks.max_idempotency_answers",
            self.max_idempotency_answers,
            1..=100_000_000,
        );
        check.size(
            "tasks.max_idempotency_bytes",
            self.max_idempotency_bytes,
            64 * KIB..=64 * GIB,
        );
        check.size(
            "tasks.max_content_bytes",
            self.max_content_bytes,
            1..=64 * MIB,
        );
        check.size(
            "tasks.max_output_bytes",
            self.max_output_bytes,
            1..=64 * MIB,
        );
        check.size(
            "tasks.max_output_file_bytes",
            self.max_output_file_bytes,
            self.max_output_bytes.as_u64()..=1_024 * GIB,
        );
        check.size(
            "tasks.max_outputs_bytes",
            self.max_outputs_bytes,
            0..=1_024 * 1_024 * GIB,
        );
        check.number("tasks.kept_outputs", self.kept_outputs, 1..=100);
        check.size("tasks.max_metadata_bytes", self.max_metadata_bytes, 2..=MIB);
        check.number("tasks.max_batch", self.max_batch, 1..=10_000);
        check.number(
            "tasks.default_max_attempts",
            self.default_max_attempts,
            1..=100,
        );
        check.duration("tasks.max_timeout", self.max_timeout, SECOND..=30 * DAY);
        check.duration(
            "tasks.default_timeout",
            self.default_timeout,
            SECOND..=self.max_timeout.max(SECOND),
        );
        check.number("tasks.poison_after", self.poison_after, 1..=100);
        check.number(
            "tasks.poison_after_hive_deaths",
            self.poison_after_hive_deaths,
            1..=100,
        );
        check.duration(
            "tasks.bot_fault_delay",
            self.bot_fault_delay,
            Duration::ZERO..=MINUTE,
        );
        check.number("tasks.max_dependencies", self.max_dependencies, 0..=1_000);
        check.number("tasks.max_dependents", self.max_dependents, 0..=1_000_000);
        check.duration("tasks.retry.min", self.retry.min, Duration::ZERO..=DAY);
        check.duration(
            "tasks.retry.max",
            self.retry.max,
            self.retry.min..=(30 * DAY).max(self.retry.min),
        );
        check.fraction("tasks.retry.factor", self.retry.factor, 1.0..=100.0);
        check.fraction("tasks.retry.jitter", self.retry.jitter, 0.0..=1.0);
        for (task_type, settings) in &self.by_type {
            settings.check(check, &format!("tasks.by_type.{task_type}"), self);
        }
        check.duration(
            "tasks.idempotency_retention",
            self.idempotency_retention,
            MINUTE..=30 * DAY,
        );
        let allowed = SECOND..=3_650 * DAY;
        let Retention {
            completed,
            failed,
            cancelled,
        } = self.retention;
        check.duration("tasks.retention.completed", completed, allowed.clone());
        check.duration("tasks.retention.failed", failed, allowed.clone());
        check.duration("tasks.retention.cancelled", cancelled, allowed);
    }
}

fn check_submitters(of: &PerSubmitter, check: &mut Checker) {
    for (role, limits) in [
        ("external", of.external),
        ("operator", of.operator),
        ("admin", of.admin),
    ] {
        let at = |key: &str| format!("tasks.per_submitter.{role}.{key}");
        check.number(&at("max_waiting"), limits.max_waiting, 1..=100_000_000);
        check.size(
            &at("max_waiting_bytes"),
            limits.max_waiting_bytes,
            1..=1_024 * GIB,
        );
        check.number(&at("max_types"), limits.max_types, 1..=100_000);
    }
}

impl TypeSettings {
    fn check(&self, check: &mut Checker, at: &str, tasks: &TaskSettings) {
        if let Some(n) = self.max_attempts {
            check.number(&format!("{at}.max_attempts"), n, 1..=100);
        }
        if let Some(timeout) = self.timeout {
            let allowed = SECOND..=tasks.max_timeout.max(SECOND);
            check.duration(&format!("{at}.timeout"), timeout, allowed);
        }
        if let Some(after) = self.expires_after {
            check.duration(&format!("{at}.expires_after"), after, SECOND..=365 * DAY);
        }
        let retry = self.retry.as_override().over(tasks.retry);
        check.duration(&format!("{at}.retry.min"), retry.min, Duration::ZERO..=DAY);
        check.duration(
            &format!("{at}.retry.max"),
            retry.max,
            retry.min..=(30 * DAY).max(retry.min),
        );
        check.fraction(&format!("{at}.retry.factor"), retry.factor, 1.0..=100.0);
        check.fraction(&format!("{at}.retry.jitter"), retry.jitter, 0.0..=1.0);
    }
}

impl SchedulerSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.number("scheduler.window", self.window, 16..=100_000);
        check.number("scheduler.claim_max", self.claim_max, 1..=4_096);
        check.size(
            "scheduler.claim_max_bytes",
            self.claim_max_bytes,
            64 * KIB..=4_096 * MIB,
        );
        check.duration(
            "scheduler.poll_interval",
            self.poll_interval,
            Duration::from_millis(100)..=MINUTE,
        );
        check.duration("scheduler.aged_after", self.aged_after, SECOND..=30 * DAY);
        check.number("scheduler.aged_every", self.aged_every, 2..=1_000);
    }
}
