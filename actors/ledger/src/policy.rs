//! Rules that the store applies to tasks, from the settings of the hive.

use std::{collections::HashMap, time::Duration};

use bytesize::ByteSize;
use deia_model::{RetryOverride, RetryPolicy, Role, TaskType};
use serde::{Deserialize, Serialize};

/// Defaults and rules that the store applies to tasks, from `tasks.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPolicy {
    /// Default of `max_attempts`.
    pub default_max_attempts: u32,
    /// Default of `timeout_seconds`.
    pub default_timeout_seconds: u64,
    /// Number of bots that a task may take down.
    pub poison_after: u32,
    /// Number of unclean ends of the hive at which a task that was running fails.
    pub poison_after_hive_deaths: u32,
    /// Delay of a task that its bot could not carry out.
    pub bot_fault_delay: Duration,
    /// Delays between attempts.
    pub retry: RetryPolicy,
    /// Time for which idempotency keys are stored.
    pub idempotency_retention: Duration,
    /// Settings of individual task types.
    pub by_type: HashMap<TaskType, TypePolicy>,
    /// Maximum number of waiting tasks.
    pub max_waiting: u64,
    /// Limits of one submitter.
    pub per_submitter: PerSubmitter,
    /// Maximum number of stored answers of one submitter.
    pub max_idempotency_answers: u64,
    /// Maximum size of these answers, in bytes.
    pub max_idempotency_bytes: u64,
    /// Maximum number of different types at a time.
    pub max_types: u32,
    /// Number of types beyond which external submitters may not add another.
    pub max_types_external: u32,
    /// Maximum number of tasks that may wait for one task.
    pub max_dependents: u32,
    /// Maximum size of the content of the tasks of one `Claim`, in bytes.
    pub claim_max_bytes: u64,
    /// Retention of finished tasks.
    pub retention: Retention,
}

/// Settings of one task type, which override those of all types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TypePolicy {
    /// Default of `max_attempts`.
    pub max_attempts: Option<u32>,
    /// Default of `timeout_seconds`.
    pub timeout_seconds: Option<u64>,
    /// Default time after which an unstarted task expires.
    pub expires_after: Option<Duration>,
    /// Delays between attempts.
    pub retry: RetryOverride,
}

impl TaskPolicy {
    /// Returns the delays between attempts at a task: its own, its type's, or the default.
    pub fn retry_of(&self, task_type: &TaskType, task: Option<&RetryOverride>) -> RetryPolicy {
        let of_type = self.by_type.get(task_type);
        let base = of_type.map_or(self.retry, |of_type| of_type.retry.over(self.retry));
        task.map_or(base, |task| task.over(base))
    }
}

/// Limits of one submitter, by the role that the submitter acts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct PerSubmitter {
    pub external: SubmitterLimits,
    pub operator: SubmitterLimits,
    pub admin: SubmitterLimits,
}

/// Limits of one submitter's tasks in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct SubmitterLimits {
    pub max_waiting: u64,
    pub max_waiting_bytes: ByteSize,
    pub max_types: u32,
}

impl PerSubmitter {
    /// Returns the limits of a role. Roles that may not submit get the lowest.
    pub fn of(&self, role: Role) -> &SubmitterLimits {
        match role {
            Role::Admin => &self.admin,
            Role::Operator => &self.operator,
            Role::External | Role::Viewer | Role::Bot => &self.external,
        }
    }
}

/// Retention of finished tasks, by outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct Retention {
    #[serde(with = "deia_model::duration")]
    pub completed: Duration,
    #[serde(with = "deia_model::duration")]
    pub failed: Duration,
    #[serde(with = "deia_model::duration")]
    pub cancelled: Duration,
}
