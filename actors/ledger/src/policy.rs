//! Rules that the store applies to tasks, from the settings of the hive.

use std::{collections::HashMap, time::Duration};

use bytesize::ByteSize;
use deia_model::{RetryOverride, RetryPolicy, Role, TaskType};
use serde::{Deserialize, Serialize};

/// Defaults and rules that the store applies to tasks. Taken from `tasks.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPolicy {
    /// `max_attempts` of a task that does not say.
    pub default_max_attempts: u32,
    /// `timeout_seconds` of a task that does not say.
    pub default_timeout_seconds: u64,
    /// Bots that a task may take down.
    pub poison_after: u32,
    /// Unclean ends of the hive at which a task that ran is given up.
    pub poison_after_hive_deaths: u32,
    /// Wait of a task that its bot could not carry out.
    pub bot_fault_delay: Duration,
    /// Delays between attempts.
    pub retry: RetryPolicy,
    /// Time for which an idempotency key is remembered.
    pub idempotency_retention: Duration,
    /// Settings of single task types.
    pub by_type: HashMap<TaskType, TypePolicy>,
    /// Tasks that may wait.
    pub max_waiting: u64,
    /// Limits of one submitter.
    pub per_submitter: PerSubmitter,
    /// Answers that are remembered for one submitter.
    pub max_idempotency_answers: u64,
    /// Bytes of these answers.
    pub max_idempotency_bytes: u64,
    /// Different types at a time.
    pub max_types: u32,
    /// Types from which on an external submitter gets no other one.
    pub max_types_external: u32,
    /// Tasks that may wait for one task.
    pub max_dependents: u32,
    /// Bytes of content that one `Claim` may bring.
    pub claim_max_bytes: u64,
    /// Times for which ended tasks are kept.
    pub retention: Retention,
}

/// Settings of one task type, in place of those of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TypePolicy {
    /// `max_attempts` of a task that does not say.
    pub max_attempts: Option<u32>,
    /// `timeout_seconds` of a task that does not say.
    pub timeout_seconds: Option<u64>,
    /// After this time a task that does not say has expired.
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
    /// Returns the limits of that role. Roles that submit nothing have the narrowest.
    pub fn of(&self, role: Role) -> &SubmitterLimits {
        match role {
            Role::Admin => &self.admin,
            Role::Operator => &self.operator,
            Role::External | Role::Viewer | Role::Bot => &self.external,
        }
    }
}

/// Times for which tasks that have ended are kept.
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
