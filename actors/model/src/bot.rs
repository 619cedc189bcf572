//! Bots: what an operator puts in place, and how it is doing.

use serde::{Deserialize, Serialize};

use super::{
    BotName, Executor, SecretRefs, TaskType, Timestamp, Violation, secret,
    text::SecretRefs as SecretRefsText,
};

/// What a bot can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// What kind of bot it is, for people.
    #[serde(default = "general")]
    #[schema(example = "general", min_length = 1, max_length = 63)]
    pub bot_type: String,
    /// The task types it takes; empty for any.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub specializations: Vec<TaskType>,
    /// How many tasks it works on at a time, 1 to 10,000.
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

/// What an operator says of a bot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BotSpec {
    /// How it does its work.
    pub executor: Executor,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Secrets of its program: the environment variable of each, and where its value
    /// is. The value is looked up at the start of each attempt.
    #[serde(default, skip_serializing_if = "SecretRefs::is_empty")]
    #[schema(value_type = SecretRefsText)]
    pub secrets: SecretRefs,
}

impl BotSpec {
    /// What is wrong with it; pointers are relative to the specification.
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

/// Whether a bot is meant to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BotDesired {
    /// It is meant to run.
    Launched,
    /// It takes nothing new, and is `stopped` once it has nothing in hand.
    Draining,
    /// It is not.
    Stopped,
}

/// How a bot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BotStatus {
    /// Never launched.
    Offline,
    /// Coming up.
    Starting,
    /// Up and taking tasks.
    Healthy,
    /// Up, but restarted, or unable to carry out tasks, lately.
    Degraded,
    /// Finishing what it has in hand; it takes nothing new.
    Draining,
    /// Down and not coming back by itself, or unable to carry out tasks again and
    /// again; `fault` says why.
    Failing,
    /// Stopped on purpose.
    Stopped,
}

/// What is stored of a bot.
#[derive(Clone, Debug, PartialEq)]
pub struct BotRecord {
    /// Its name.
    pub name: BotName,
    /// What the operator said.
    pub spec: BotSpec,
    /// Whether it is meant to run.
    pub desired: BotDesired,
    /// Rises with each change of the specification, from 1.
    pub version: u64,
    /// The TCP port on loopback that is its own.
    pub port: u16,
    /// When it was put in place.
    pub created_at: Timestamp,
    /// When it was last launched.
    pub launched_at: Option<Timestamp>,
    /// Attempts that ended well.
    pub tasks_completed: u64,
    /// Attempts that ended badly.
    pub tasks_failed: u64,
}

/// A launch of a bot with one specification. A bot that is launched anew, or whose
/// specification is replaced, is of another generation from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BotGeneration {
    /// Version of the specification.
    pub version: u64,
    /// Time of the launch.
    pub launched_at: Option<Timestamp>,
}

impl BotRecord {
    /// Returns the generation that is stored.
    pub fn generation(&self) -> BotGeneration {
        BotGeneration {
            version: self.version,
            launched_at: self.launched_at,
        }
    }

    /// Returns the generation that may be given tasks; none if the bot is to stop, or to
    /// take nothing new.
    pub fn eligible(&self) -> Option<BotGeneration> {
        (self.desired == BotDesired::Launched).then(|| self.generation())
    }
}

/// A bot as the outside sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Bot {
    /// Its name.
    pub id: BotName,
    /// Kind of work it does. Values of `env` are shown: they are not secret.
    pub executor: Executor,
    /// Secrets of its program: the environment variable of each, and where its value
    /// is, never the value.
    #[serde(default, skip_serializing_if = "SecretRefs::is_empty")]
    #[schema(value_type = SecretRefsText)]
    pub secrets: SecretRefs,
    /// How it is.
    pub status: BotStatus,
    /// Whether it is meant to run.
    pub desired: BotDesired,
    /// Rises with each change of the specification; the `ETag`.
    pub version: u64,
    /// The TCP port on loopback that is its own.
    pub port: u16,
    /// Process ids of the programs it runs now, at most 16 of them.
    pub pids: Vec<u32>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Completed share of its finished attempts, 0 to 1; absent before the first.
    pub success_rate: Option<f64>,
    /// Tasks in hand by `max_concurrent_tasks`, 0 to 1.
    pub current_load: f64,
    /// Tasks in hand.
    pub running_tasks: u32,
    /// When it last gave a sign of life.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_heartbeat: Option<Timestamp>,
    /// When it was last launched.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub launched_at: Option<Timestamp>,
    /// Attempts that ended well.
    pub tasks_completed: u64,
    /// Attempts that ended badly.
    pub tasks_failed: u64,
    /// Restarts since this server started.
    pub restarts: u64,
    /// Why it last went down.
    pub last_exit: Option<String>,
    /// Why it cannot carry out its tasks, or could not in the last minute; absent
    /// while it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<BotFault>,
    /// In the answers that put or launch it: reasons why it could not carry out a
    /// task now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Means by which the processes of its attempts are ended; absent when it starts
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
}

impl Bot {
    /// Returns it without what it runs, for a caller who may start and stop it but not
    /// read it.
    #[must_use]
    pub fn outline(self) -> Self {
        Self {
            executor: self.executor.outline(),
            // Both may name its program.
            fault: None,
            warnings: Vec::new(),
            ..self
        }
    }
}

/// A fault of a bot, not of its tasks: a program that cannot be started, or a host that
/// has no descriptor, process or disk space left. The bot's tasks go back without being
/// counted as failed, and it takes none for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotFault {
    /// Why, in a sentence.
    pub reason: String,
    /// Number of faults in a row; 0 once the bot carries out tasks again. At
    /// `bots.fault.failing_after` its status is `failing`.
    pub in_a_row: u32,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it tries again; absent once it carries out tasks again.
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
    /// The means that holds.
    pub means: ContainmentMeans,
    /// Processes that could escape the means.
    #[schema(example = "what another service starts for a program (systemd-run, at, docker)")]
    pub escape: String,
}

impl Containment {
    /// Returns the description of `means`.
    pub fn by(means: ContainmentMeans) -> Self {
        let escape = match means {
            ContainmentMeans::Subreaper => {
                "what another service starts for a program (systemd-run, at, docker), and a process that kills its runner, leaves its group and clears its environment"
            }
            ContainmentMeans::EnvironmentMarks => {
                "a process that leaves its group and clears its environment, and what another service starts for a program"
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
