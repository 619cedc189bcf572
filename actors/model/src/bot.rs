//! Bots: their specification, their stored record and their state.

mod containment;
mod fallback;
mod fleet;
mod health;
mod limits;
mod probe;

use serde::{Deserialize, Serialize};

pub use self::{
    containment::{Containment, ContainmentMeans},
    fallback::{FallbackReason, FallbackUse},
    fleet::{BotFilter, Labels},
    health::{BotCircuit, BotFault, BotLiveness, BotPause, CircuitState},
    limits::{BotLimits, OnExcess},
    probe::{BotProbe, ProbeMeans},
};
use super::{
    BotName, Executor, HttpExecutor, LlmExecutor, SecretRefs, TaskType, Timestamp, Violation,
    executor::secret_violations, secret, text::SecretRefs as SecretRefsText,
};

/// The capabilities of a bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// The kind of the bot, for people.
    #[serde(default = "general")]
    #[schema(example = "general", min_length = 1, max_length = 63)]
    pub bot_type: String,
    /// The task types that the bot takes; empty for any.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub specializations: Vec<TaskType>,
    /// Number of tasks that the bot runs at a time, 1 to 10,000.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub max_concurrent_tasks: u32,
}

fn general() -> String {
    "general".into()
}

fn one() -> u32 {
    1
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            bot_type: general(),
            specializations: Vec::new(),
            max_concurrent_tasks: one(),
        }
    }
}

/// The specification of a bot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BotSpec {
    /// The executor that carries out its tasks.
    pub executor: Executor,
    /// The capabilities of the bot.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Secrets of its program: the environment variable of each, and the place of its
    /// value. The value is looked up at the start of each attempt. Bots of the kinds
    /// `http` and `llm` have no program: the name says how the secret is used there
    /// (`SIGNING_SECRET`, `AUTHORIZATION`, `API_KEY`, `HEADER_...`).
    #[serde(default, skip_serializing_if = "SecretRefs::is_empty")]
    #[schema(value_type = SecretRefsText)]
    pub secrets: SecretRefs,
    /// Limits of the resources of its programs.
    #[serde(default, skip_serializing_if = "BotLimits::is_empty")]
    pub limits: BotLimits,
    /// Maximum time, in seconds, for which an attempt may neither write output nor report
    /// progress, for tasks that do not say it; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub idle_timeout_seconds: Option<u64>,
    /// A probe of the bot; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<BotProbe>,
    /// The group of the bot: 1 to 63 of `a-z 0-9 -`, the first a letter or a digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$")]
    pub group: Option<String>,
    /// Labels by which bots are selected: at most 32, with keys of 1 to 63 of
    /// `a-z 0-9 . _ / -` and values of at most 63 characters.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(schema_with = fleet::labels)]
    pub labels: Labels,
    /// The template that the specification was made of, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$")]
    pub template: Option<String>,
    /// Bots that take the tasks of this bot, whatever types they take otherwise, while it is
    /// failing, suspended or behind an open circuit: at most 16. Bots that do not exist are
    /// left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub fallback: Vec<BotName>,
}

impl BotSpec {
    /// Returns the specification of a bot with that executor and the defaults.
    pub fn new(executor: Executor) -> Self {
        Self {
            executor,
            capabilities: Capabilities::default(),
            secrets: SecretRefs::new(),
            limits: BotLimits::default(),
            idle_timeout_seconds: None,
            probe: None,
            group: None,
            labels: Labels::new(),
            template: None,
            fallback: Vec::new(),
        }
    }

    /// Returns the errors in the specification; pointers are relative to it.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = self.executor.violations("/executor");
        let n = self.capabilities.max_concurrent_tasks;
        if !(1..=10_000).contains(&n) {
            found.push(Violation {
                pointer: "/capabilities/max_concurrent_tasks".into(),
                detail: format!("is {n}; allowed are 1 to 10000"),
            });
        }
        if !(1..=63).contains(&self.capabilities.bot_type.chars().count()) {
            found.push(Violation {
                pointer: "/capabilities/bot_type".into(),
                detail: "must be 1 to 63 characters long".into(),
            });
        }
        if self.capabilities.specializations.len() > 64 {
            found.push(Violation {
                pointer: "/capabilities/specializations".into(),
                detail: "has more than 64 task types".into(),
            });
        }
        found.extend(self.secret_violations());
        let has_programs = self.executor.starts_programs();
        found.extend(self.limits.violations(has_programs));
        found.extend(self.probe.iter().flat_map(BotProbe::violations));
        found.extend(self.fleet_violations());
        found.extend(self.fallback_violations());
        if self.idle_timeout_seconds == Some(0) {
            found.push(Violation {
                pointer: "/idle_timeout_seconds".into(),
                detail: "is 0; allowed are 1 and more".into(),
            });
        }
        found
    }

    fn secret_violations(&self) -> Vec<Violation> {
        match &self.executor {
            Executor::Command(command) => secret::violations(&self.secrets, &command.env),
            Executor::Worker(worker) => secret::violations(&self.secrets, &worker.env),
            Executor::Http(_) => secret_violations(&self.secrets, &HttpExecutor::SECRETS),
            Executor::Llm(_) => secret_violations(&self.secrets, &LlmExecutor::SECRETS),
            _ if self.secrets.is_empty() => Vec::new(),
            other => vec![Violation {
                pointer: "/secrets".into(),
                detail: format!(
                    "a {} bot has no program that could use secrets",
                    other.kind()
                ),
            }],
        }
    }
}

/// The desired state of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BotDesired {
    /// The bot should run.
    Launched,
    /// The bot takes no new tasks, and is `stopped` once it has finished the running
    /// ones.
    Draining,
    /// The bot should not run.
    Stopped,
}

/// The observed state of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BotStatus {
    /// Never launched.
    Offline,
    /// Starting.
    Starting,
    /// Running and taking tasks.
    Healthy,
    /// Running, but recently restarted or unable to carry out tasks.
    Degraded,
    /// Finishing its running tasks; takes no new ones.
    Draining,
    /// Down and not restarted automatically, or repeatedly unable to carry out tasks;
    /// `fault` has the reason.
    Failing,
    /// Stopped on purpose.
    Stopped,
}

/// The stored record of a bot.
#[derive(Clone, Debug, PartialEq)]
pub struct BotRecord {
    /// The name of the bot.
    pub name: BotName,
    /// The specification.
    pub spec: BotSpec,
    /// The desired state.
    pub desired: BotDesired,
    /// Version of the specification: rises with each change, from 1.
    pub version: u64,
    /// The TCP port on loopback that is reserved for the bot.
    pub port: u16,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last launch.
    pub launched_at: Option<Timestamp>,
    /// Number of attempts that succeeded.
    pub tasks_completed: u64,
    /// Number of attempts that failed.
    pub tasks_failed: u64,
}

/// One launch of a bot with one version of its specification. A bot gets a new
/// generation when it is launched again or its specification is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BotGeneration {
    /// Version of the specification.
    pub version: u64,
    /// Time of the launch.
    pub launched_at: Option<Timestamp>,
}

impl BotRecord {
    /// Returns the stored generation.
    pub fn generation(&self) -> BotGeneration {
        BotGeneration {
            version: self.version,
            launched_at: self.launched_at,
        }
    }

    /// Returns the generation that may take tasks; `None` if the bot is to stop or to
    /// drain.
    pub fn eligible(&self) -> Option<BotGeneration> {
        (self.desired == BotDesired::Launched).then(|| self.generation())
    }
}

/// A bot as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Bot {
    /// The name of the bot.
    pub id: BotName,
    /// The group of the bot: 1 to 63 of `a-z 0-9 -`, the first a letter or a digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Labels by which bots are selected: at most 32, with keys of 1 to 63 of
    /// `a-z 0-9 . _ / -` and values of at most 63 characters.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// The template that the specification was made of, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Bots that take its tasks while it is failing, suspended or behind an open circuit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<BotName>,
    /// Use of its fallback bots; absent while it takes its tasks itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_in_use: Option<FallbackUse>,
    /// Bots whose tasks it takes now, besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stands_in_for: Vec<BotName>,
    /// The executor that carries out its tasks. Values of `env` are shown: they are not
    /// secret.
    pub executor: Executor,
    /// Secrets of its program: the environment variable of each, and the place of its
    /// value, never the value.
    #[serde(default, skip_serializing_if = "SecretRefs::is_empty")]
    #[schema(value_type = SecretRefsText)]
    pub secrets: SecretRefs,
    /// The observed state.
    pub status: BotStatus,
    /// The desired state.
    pub desired: BotDesired,
    /// Version of the specification: rises with each change; the `ETag`.
    pub version: u64,
    /// The TCP port on loopback that is reserved for the bot.
    pub port: u16,
    /// Process ids of its running programs, at most 16 of them.
    pub pids: Vec<u32>,
    /// Limits of the resources of its programs.
    #[serde(default, skip_serializing_if = "BotLimits::is_empty")]
    pub limits: BotLimits,
    /// Share of one processor that its programs use, with all that they started, in
    /// percent, as measured last (`bots.measure_every`); absent while none was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Memory that these processes have resident, in bytes. What they share is counted
    /// for each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Number of their open descriptors; absent also if the host does not show them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u64>,
    /// Number of these processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// The capabilities of the bot.
    pub capabilities: Capabilities,
    /// Share of its finished attempts that succeeded, 0 to 1; absent before the first.
    pub success_rate: Option<f64>,
    /// Running tasks divided by `max_concurrent_tasks`, 0 to 1.
    pub current_load: f64,
    /// Number of running tasks.
    pub running_tasks: u32,
    /// Time of the last sign of life.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_heartbeat: Option<Timestamp>,
    /// Time of the last launch.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub launched_at: Option<Timestamp>,
    /// Number of attempts that succeeded.
    pub tasks_completed: u64,
    /// Number of attempts that failed.
    pub tasks_failed: u64,
    /// Number of restarts since this server started.
    pub restarts: u64,
    /// Reason why the bot last went down.
    pub last_exit: Option<String>,
    /// Fault that keeps the bot from carrying out tasks, or did in the last minute;
    /// absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<BotFault>,
    /// Pause during which the bot takes no tasks, at the wish of its service or provider;
    /// absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<BotPause>,
    /// Circuit of the bot: open after failures in a row, or a high rate of them; absent
    /// while it is closed and no attempt has failed lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<BotCircuit>,
    /// The parts of the bot that live.
    #[serde(default)]
    pub liveness: BotLiveness,
    /// Maximum time, in seconds, for which an attempt may neither write output nor report
    /// progress, for tasks that do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// The probe of the bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<BotProbe>,
    /// Reason why a launched bot can be given no tasks, in a sentence; absent when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
    /// In the answers to creating or launching a bot: reasons why it could not carry
    /// out a task now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Means by which the processes of its attempts are ended; absent when the bot
    /// starts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
}

impl Bot {
    /// Returns the bot without its program, for a caller who may start and stop it but
    /// not read it.
    #[must_use]
    pub fn outline(self) -> Self {
        Self {
            executor: self.executor.outline(),
            // Each may contain the name of the program.
            fault: None,
            pause: None,
            probe: None,
            unreachable: None,
            warnings: Vec::new(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_the_contract_is_accepted() {
        let spec: BotSpec = serde_json::from_str(
            r#"{"executor":{"kind":"command","command":["tr","a-z","A-Z"]},
                "capabilities":{"bot_type":"general","specializations":[],"max_concurrent_tasks":4}}"#,
        )
        .unwrap();
        assert_eq!(spec.violations(), vec![]);
        assert_eq!(spec.capabilities.max_concurrent_tasks, 4);
    }

    #[test]
    fn violations_name_the_place() {
        let bad: BotSpec = serde_json::from_str(
            r#"{"executor":{"kind":"command","command":[]},"capabilities":{"max_concurrent_tasks":0,"bot_type":""}}"#,
        )
        .unwrap();
        let pointers: Vec<_> = bad.violations().into_iter().map(|v| v.pointer).collect();
        assert_eq!(
            pointers,
            [
                "/executor/command",
                "/capabilities/max_concurrent_tasks",
                "/capabilities/bot_type"
            ]
        );
    }
}
