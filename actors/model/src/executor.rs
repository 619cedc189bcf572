//! Executors: the ways in which a bot carries out tasks.

mod http;
mod latency;
mod llm;
mod remote;
mod service;
mod worker;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{
    Schema,
    schema::{ArrayBuilder, ObjectBuilder, Type},
};

pub(super) use self::service::secret_violations;
pub use self::{
    http::HttpExecutor,
    latency::{LatencyMs, LatencyRange},
    llm::{LlmApi, LlmExecutor},
    remote::RemoteExecutor,
    service::{AUTHORIZATION, SECRET_HEADER_PREFIX, header_of_secret},
    worker::WorkerExecutor,
};
use super::{
    Violation, secret,
    text::{NO_NUL, VARIABLE},
};

/// The way in which a bot carries out tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Executor {
    /// A program that is started for each task.
    Command(CommandExecutor),
    /// Workers that lease tasks over HTTP.
    Remote(RemoteExecutor),
    /// A program that is started once and handed its tasks as lines of JSON.
    Worker(WorkerExecutor),
    /// Built in: behaves as configured. For tests, load and demonstrations.
    Simulated(SimulatedExecutor),
    /// A service that is sent each task over HTTP.
    Http(HttpExecutor),
    /// A language model behind an API compatible with that of OpenAI.
    Llm(Box<LlmExecutor>),
}

impl Executor {
    /// Returns the kind of the executor on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Remote(_) => "remote",
            Self::Worker(_) => "worker",
            Self::Simulated(_) => "simulated",
            Self::Http(_) => "http",
            Self::Llm(_) => "llm",
        }
    }

    /// Returns whether the executor starts programs on the host.
    pub fn starts_programs(&self) -> bool {
        self.programs(1) > 0
    }

    /// Returns how many programs run on the host while that many tasks run.
    pub fn programs(&self, tasks: u32) -> u32 {
        match self {
            Self::Command(_) => tasks,
            Self::Worker(_) => 1,
            Self::Remote(_) | Self::Simulated(_) | Self::Http(_) | Self::Llm(_) => 0,
        }
    }

    /// Returns the environment variables in plain text of the programs that the executor
    /// starts; `None` if it starts none.
    pub fn environment(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Command(command) => Some(&command.env),
            Self::Worker(worker) => Some(&worker.env),
            Self::Remote(_) | Self::Simulated(_) | Self::Http(_) | Self::Llm(_) => None,
        }
    }

    /// Returns the errors in the executor, with pointers below `at`.
    pub fn violations(&self, at: &str) -> Vec<Violation> {
        match self {
            Self::Command(command) => command.violations(at),
            Self::Remote(remote) => remote.violations(at),
            Self::Worker(worker) => worker.violations(at),
            Self::Simulated(simulated) => simulated.violations(at),
            Self::Http(http) => http.violations(at),
            Self::Llm(llm) => llm.violations(at),
        }
    }

    /// Returns only the kind, and the behavior of a simulated executor.
    #[must_use]
    pub fn outline(mut self) -> Self {
        match &mut self {
            Self::Command(command) => {
                command.command.clear();
                command.env.clear();
                command.working_dir = None;
            }
            Self::Remote(_) | Self::Simulated(_) => {}
            Self::Http(http) => *http = HttpExecutor::default(),
            Self::Llm(llm) => **llm = LlmExecutor::default(),
            Self::Worker(worker) => *worker = WorkerExecutor::default(),
        }
        self
    }
}

/// Maximum size of the arguments and the environment of a program, in bytes. Linux allows
/// a quarter of the stack limit, 2 MiB by default, and deia adds metadata and variables
/// of its own. Fact: execve(2), limits on size of arguments and environment.
const MAX_START_BYTES: usize = 1 << 20;

/// Maximum number of words of a command, of variables of its environment, and of
/// characters of either. Fact: the API, whose schema states it.
const MAX_WORDS: usize = 256;
/// Maximum number of variables of an environment. Fact: the API, whose schema states it.
const MAX_VARIABLES: usize = 256;
/// Maximum length of a word or a variable, in characters. Fact: the API, whose schema
/// states it.
const MAX_WORD: usize = 32_768;

/// A program that is started for each task: the content of the task is its standard
/// input, the context is in its environment (`DEIA_TASK_ID`, `DEIA_ATTEMPT`, ...), its
/// standard output is the result, its standard error goes to the bot's log. Exit code 0
/// is success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandExecutor {
    /// Program and arguments, started without a shell. The program is found by `PATH`.
    #[schema(schema_with = words)]
    pub command: Vec<String>,
    /// Additional environment variables, for values that are not secret: they are
    /// stored and shown in plain text. Secrets belong in `secrets`. From the server's
    /// environment only `PATH`, `HOME`, `USER`, `LANG`, `LC_ALL`, `TZ` and `TMPDIR` are
    /// passed on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = variables)]
    pub env: BTreeMap<String, String>,
    /// Working directory of the program; the data directory's `work/<bot>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = r"^/[^\u0000]*$")]
    pub working_dir: Option<String>,
}

/// Returns the schema of a program and its arguments.
fn words() -> Schema {
    let word = || {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(NO_NUL))
            .max_length(Some(MAX_WORD))
    };
    ArrayBuilder::new()
        .description(Some(
            "Program and arguments; no shell is involved. The program is found by `PATH`.",
        ))
        .prefix_items([word().min_length(Some(1))])
        .items(word())
        .min_items(Some(1))
        .max_items(Some(MAX_WORDS))
        .examples([serde_json::json!(["tr", "a-z", "A-Z"])])
        .into()
}

/// Returns the schema of the environment variables.
fn variables() -> Schema {
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(VARIABLE));
    let value = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(NO_NUL))
        .max_length(Some(MAX_WORD));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "Additional environment variables, for values that are not secret: they are stored and shown as they are. Secrets belong in `secrets`. From the server's environment only `PATH`, `HOME`, `USER`, `LANG`, `LC_ALL`, `TZ` and `TMPDIR` are passed on.",
        ))
        .property_names(Some(name))
        .additional_properties(Some(value))
        .max_properties(Some(MAX_VARIABLES))
        .into()
}

/// The remedy for a secret in plain text.
const BELONGS_IN_SECRETS: &str =
    "this is stored and shown as it is; put a reference into secrets instead";

/// Returns the kind of secret that an environment variable looks like.
fn clear_secret(name: &str, value: &str) -> Option<&'static str> {
    let by_name = || secret::is_secret_name(name) && !value.is_empty();
    secret::secret_shape(value).or_else(|| by_name().then_some("a secret, by its name"))
}

impl CommandExecutor {
    fn violations(&self, at: &str) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut found_too_large = None;
        let mut refuse = |pointer: String, detail: &str| {
            found.push(Violation {
                pointer,
                detail: detail.into(),
            });
        };
        if self.command.first().is_none_or(String::is_empty) {
            refuse(format!("{at}/command"), "must name a program");
        }
        if self.command.len() > MAX_WORDS {
            refuse(format!("{at}/command"), "has more than 256 words");
        }
        for (i, word) in self.command.iter().enumerate() {
            if word.contains('\0') || word.chars().count() > MAX_WORD {
                refuse(
                    format!("{at}/command/{i}"),
                    "has a NUL character or is over 32768 characters long",
                );
            } else if let Some(what) = secret::secret_shape(word) {
                refuse(
                    format!("{at}/command/{i}"),
                    &format!("looks like {what}: {BELONGS_IN_SECRETS}"),
                );
            }
        }
        let env = self
            .env
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2);
        let words = self.command.iter().map(|word| word.len() + 1);
        let bytes: usize = words.chain(env).sum();
        if bytes > MAX_START_BYTES {
            found_too_large = Some(bytes);
        }
        if self.env.len() > MAX_VARIABLES {
            refuse(format!("{at}/env"), "has more than 256 variables");
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                refuse(
                    format!("{at}/env"),
                    "has an empty name, a '=' in a name, or a NUL character",
                );
            } else if name.starts_with("DEIA_") {
                refuse(
                    format!("{at}/env"),
                    "has a name that starts with DEIA_, which deia sets itself",
                );
            } else if value.chars().count() > MAX_WORD {
                refuse(
                    format!("{at}/env"),
                    "has a value over 32768 characters long",
                );
            } else if let Some(what) = secret::secret_shape(name) {
                refuse(
                    format!("{at}/env"),
                    &format!("has a name that looks like {what}"),
                );
            } else if let Some(what) = clear_secret(name, value) {
                refuse(
                    format!("{at}/env/{}", name.replace('~', "~0").replace('/', "~1")),
                    &format!("looks like {what}: {BELONGS_IN_SECRETS}"),
                );
            }
        }
        let dir = self.working_dir.as_deref();
        if dir.is_some_and(|dir| !dir.starts_with('/') || dir.contains('\0')) {
            refuse(format!("{at}/working_dir"), "must be an absolute path");
        } else if let Some(what) = dir.and_then(secret::secret_shape) {
            refuse(format!("{at}/working_dir"), &format!("looks like {what}"));
        }
        found.extend(found_too_large.map(|bytes| Violation {
            pointer: format!("{at}/command"),
            detail: format!(
                "and env are {bytes} bytes together; no more than {MAX_START_BYTES} can be handed to a program"
            ),
        }));
        found
    }
}

/// A named set of simulated behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Behavior {
    /// Immediate, always successful.
    Perfect,
    /// 50 to 200 ms, 98 % successful.
    Normal,
    /// 1 to 3 s, 98 % successful.
    Slow,
    /// 50 to 500 ms, 70 % successful, crashes in 5 %.
    Unreliable,
    /// Takes tasks and never answers.
    Offline,
    /// 200 to 800 ms, 95 % successful, 64 MiB of memory and 100 ms of CPU per task.
    ResourceConstrained,
}

/// A bot with configured behaviour. Fields that are set override the preset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulatedExecutor {
    /// The preset that absent fields are taken from; `perfect` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// Time that a task takes, in milliseconds, up to 86,400,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<LatencyMs>,
    /// Share of the attempts that succeed, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub success_rate: Option<f64>,
    /// Share of the attempts that take the bot down, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub crash_rate: Option<f64>,
    /// Share of the attempts that hang, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub hang_rate: Option<f64>,
    /// Memory held while a task runs, in bytes, up to 1 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_073_741_824)]
    pub memory_bytes: Option<u64>,
    /// CPU time burnt for a task, in milliseconds, up to 60,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 60_000)]
    pub cpu_ms: Option<u64>,
    /// Seed that makes the run repeatable: the same seed gives the same draws in the
    /// same order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A [`SimulatedExecutor`] with its preset applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimulatedProfile {
    /// Minimum latency, in milliseconds.
    pub latency_min_ms: u64,
    /// Maximum latency, in milliseconds.
    pub latency_max_ms: u64,
    /// Share of the attempts that succeed.
    pub success_rate: f64,
    /// Share of the attempts that take the bot down.
    pub crash_rate: f64,
    /// Share of the attempts that hang.
    pub hang_rate: f64,
    /// Memory held while a task runs, in bytes.
    pub memory_bytes: u64,
    /// CPU time burnt for a task, in milliseconds.
    pub cpu_ms: u64,
    /// Seed of the draws.
    pub seed: u64,
}

impl SimulatedExecutor {
    /// Returns the profile, with the preset applied.
    pub fn profile(&self) -> SimulatedProfile {
        let (latency, success, crash, hang, memory, cpu) =
            match self.behavior.unwrap_or(Behavior::Perfect) {
                Behavior::Perfect => ((0, 0), 1.0, 0.0, 0.0, 0, 0),
                Behavior::Normal => ((50, 200), 0.98, 0.0, 0.0, 0, 0),
                Behavior::Slow => ((1_000, 3_000), 0.98, 0.0, 0.0, 0, 0),
                Behavior::Unreliable => ((50, 500), 0.70, 0.05, 0.0, 0, 0),
                Behavior::Offline => ((0, 0), 1.0, 0.0, 1.0, 0, 0),
                Behavior::ResourceConstrained => ((200, 800), 0.95, 0.0, 0.0, 64 << 20, 100),
            };
        let (latency_min_ms, latency_max_ms) = match self.latency_ms {
            None => latency,
            Some(LatencyMs::Fixed(ms)) => (ms, ms),
            Some(LatencyMs::Range(LatencyRange { min, max })) => (min, max),
        };
        SimulatedProfile {
            latency_min_ms,
            latency_max_ms,
            success_rate: self.success_rate.unwrap_or(success),
            crash_rate: self.crash_rate.unwrap_or(crash),
            hang_rate: self.hang_rate.unwrap_or(hang),
            memory_bytes: self.memory_bytes.unwrap_or(memory),
            cpu_ms: self.cpu_ms.unwrap_or(cpu),
            seed: self.seed.unwrap_or(0),
        }
    }

    fn violations(&self, at: &str) -> Vec<Violation> {
        let profile = self.profile();
        let mut found = Vec::new();
        let mut refuse = |field: &str, detail: &str| {
            found.push(Violation {
                pointer: format!("{at}/{field}"),
                detail: detail.into(),
            });
        };
        if profile.latency_min_ms > profile.latency_max_ms || profile.latency_max_ms > 86_400_000 {
            refuse(
                "latency_ms",
                "must be 0 to 86400000, with min not above max",
            );
        }
        for (field, share) in [
            ("success_rate", profile.success_rate),
            ("crash_rate", profile.crash_rate),
            ("hang_rate", profile.hang_rate),
        ] {
            if !(0.0..=1.0).contains(&share) {
                refuse(field, "must be 0 to 1");
            }
        }
        if profile.memory_bytes > 1 << 30 {
            refuse("memory_bytes", "must be at most 1073741824");
        }
        if profile.cpu_ms > 60_000 {
            refuse("cpu_ms", "must be at most 60000");
        }
        found
    }
}

#[cfg(test)]
mod tests;
