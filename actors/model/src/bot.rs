//! Bots: their specification, their stored record and their state.

use serde::{Deserialize, Serialize};

use super::{
    BotName, Executor, SecretRefs, TaskType, Timestamp, Violation, secret,
    text::SecretRefs as SecretRefsText,
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
    /// value. The value is looked up at the start of each attempt.
    #[serde(default, skip_serializing_if = "SecretRefs::is_empty")]
    #[schema(value_type = SecretRefsText)]
    pub secrets: SecretRefs,
}

impl BotSpec {
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
        found
    }

    fn secret_violations(&self) -> Vec<Violation> {
        match &self.executor {
            Executor::Command(command) => secret::violations(&self.secrets, &command.env),
            Executor::Simulated(_) if self.secrets.is_empty() => Vec::new(),
            Executor::Simulated(_) => vec![Violation {
                pointer: "/secrets".into(),
                detail: "a simulated bot has no program that could use secrets".into(),
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
            // Both may contain the name of the program.
            fault: None,
            warnings: Vec::new(),
            ..self
        }
    }
}

/// A fault of a bot, not of its tasks: a program that cannot be started, or a host
/// without a free descriptor, process or disk space. The bot's tasks are returned
/// without being counted as failed, and the bot takes no tasks for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotFault {
    /// The reason, in a sentence.
    pub reason: String,
    /// Number of consecutive faults; 0 once the bot carries out tasks again. At
    /// `bots.fault.failing_after` the status of the bot is `failing`.
    pub in_a_row: u32,
    /// Time of the first of these faults.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Time of the next try; absent once the bot carries out tasks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_at: Option<Timestamp>,
}

/// Way in which the processes of an attempt are found and ended with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainmentMeans {
    /// Each program is below a process that inherits all of its descendants and
    /// ends them.
    Subreaper,
    /// Processes are found by the variables of their environment.
    EnvironmentMarks,
}

/// Means by which the processes of attempts are ended on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Containment {
    /// The means in use.
    pub means: ContainmentMeans,
    /// Processes that could escape the means.
    #[schema(
        example = "processes that another service starts for a program (systemd-run, at, docker)"
    )]
    pub escape: String,
}

impl Containment {
    /// Returns the description of `means`.
    pub fn by(means: ContainmentMeans) -> Self {
        let escape = match means {
            ContainmentMeans::Subreaper => {
                "processes that another service starts for a program (systemd-run, at, docker), and processes that kill their runner, leave their group and clear their environment"
            }
            ContainmentMeans::EnvironmentMarks => {
                "processes that leave their group and clear their environment, and processes that another service starts for a program"
            }
        };
        Self {
            means,
            escape: escape.to_owned(),
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
