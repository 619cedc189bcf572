//! Arguments of `bot add`, and the specification that they make.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{ArgGroup, Args};
use deia_hive::config::without_mark;
use deia_model::{
    Behavior, BotName, BotSpec, Capabilities, CommandExecutor, Executor, SecretRef,
    SimulatedExecutor, TaskType, WorkerExecutor, ambiguity,
};

use super::{limits::LimitArgs, probe::ProbeArgs, remote::RemoteArgs, service::ServiceArgs};
use crate::cli::{context, error::CliError, parse, wait::WaitArgs};

/// Maximum size of a specification, in bytes. Fixed: of the command line, which has no
/// settings.
const MAX_SPEC_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("executor").required(true).multiple(true),
    override_usage = "\
deia bot add [OPTIONS] <NAME> --command <WORD>...
       deia bot add [OPTIONS] <NAME> -- <WORD>...
       deia bot add [OPTIONS] <NAME> --http <URL>
       deia bot add [OPTIONS] <NAME> --llm <URL> --model <MODEL>
       deia bot add [OPTIONS] <NAME> --worker <WORD>...
       deia bot add [OPTIONS] <NAME> --remote
       deia bot add [OPTIONS] <NAME> --simulated <BEHAVIOR>
       deia bot add [OPTIONS] <NAME> --file <FILE>"
)]
pub(in crate::cli) struct AddArgs {
    /// The bot's name: a-z, 0-9 and '-', at most 63 of them.
    pub(super) name: BotName,
    /// A program, started for each task with the content on its standard input,
    /// and its arguments. Words that begin with a hyphen go after `--`.
    #[arg(long, value_name = "WORD", num_args = 1.., group = "executor", conflicts_with_all = ["simulated", "file", "http", "llm"])]
    command: Vec<String>,
    /// A program that is started once and handed its tasks as lines of JSON, and its
    /// arguments. Words that begin with a hyphen go after `--`.
    #[arg(long, value_name = "WORD", num_args = 1.., group = "executor", conflicts_with_all = ["simulated", "file", "command", "http", "llm"])]
    worker: Vec<String>,
    /// A program as for --command, or the rest of one; every word is taken literally.
    #[arg(last = true, value_name = "WORD", group = "executor", conflicts_with_all = ["simulated", "file", "http", "llm"])]
    program: Vec<String>,
    /// A built-in bot that behaves like this, for trials.
    #[arg(long, value_name = "BEHAVIOR", value_parser = parse::behavior(), group = "executor", conflicts_with = "file")]
    simulated: Option<Behavior>,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    /// A file with the whole specification as JSON; `-` for standard input.
    #[arg(long, value_name = "FILE", group = "executor", conflicts_with_all = ["max_concurrent", "specialize", "bot_type"])]
    file: Option<PathBuf>,
    /// An environment variable for the program, for values that are not secret: they
    /// are stored and shown.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::pair, conflicts_with_all = ["simulated", "file", "http", "llm"])]
    env: Vec<(String, String)>,
    /// A secret for the program: the environment variable, and the place of the value:
    /// file:PATH, env:NAME or store:NAME, as the settings of the hive allow it. For
    /// --http the names are SIGNING_SECRET, AUTHORIZATION and HEADER_<NAME>, for --llm
    /// API_KEY and HEADER_<NAME>.
    #[arg(long, value_name = "NAME=REFERENCE", conflicts_with_all = ["simulated", "file"])]
    secret: Vec<String>,
    /// The working directory of the program, an absolute path.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["simulated", "file", "http", "llm"])]
    working_dir: Option<String>,
    /// Maximum number of tasks that it runs at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse::whole(1..=10_000_u32))]
    max_concurrent: u32,
    /// A task type that it takes; repeat for more. All types when absent.
    #[arg(long, value_name = "TYPE")]
    specialize: Vec<TaskType>,
    /// The kind of the bot, for people.
    #[arg(long, value_name = "KIND", default_value = "general")]
    bot_type: String,
    /// The group of the bot.
    #[arg(long, value_name = "GROUP", conflicts_with = "file")]
    group: Option<String>,
    /// A label of the bot; repeat for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::pair, conflicts_with = "file")]
    label: Vec<(String, String)>,
    /// A bot that takes its tasks while it is failing, suspended or behind an open circuit;
    /// repeat for more.
    #[arg(long, value_name = "BOT", conflicts_with = "file")]
    fallback: Vec<BotName>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    probe: ProbeArgs,
    /// Replace the specification if the bot exists already. Its running tasks end first, for
    /// bots.replace_drain at most; then they go back to the queue.
    #[arg(long)]
    pub(super) replace: bool,
    /// Do not wait for its running tasks: they go back to the queue at once.
    #[arg(long, requires = "replace")]
    pub(super) now: bool,
    /// Also launch it.
    #[arg(long)]
    pub(super) launch: bool,
    #[command(flatten)]
    pub(super) wait: WaitArgs,
}

impl AddArgs {
    /// Returns whether the specification is in a file.
    pub(super) fn is_from_file(&self) -> bool {
        self.file.is_some()
    }

    /// Returns the specification.
    ///
    /// # Errors
    /// A file that cannot be read or is not a specification, a variable given twice.
    pub(super) fn spec(&self) -> Result<BotSpec, CliError> {
        if let Some(path) = &self.file {
            let what = || format!("the specification in {}", path.display());
            let text = context::read_text("--file", path, MAX_SPEC_BYTES)?;
            return from_json(&text).map_err(|reason| CliError::Input {
                what: what(),
                reason,
            });
        }
        let words = |first: &[String]| first.iter().chain(&self.program).cloned().collect();
        let elsewhere = self.service.executor()?.or_else(|| self.remote.executor());
        let executor = match (self.simulated, elsewhere) {
            (_, Some(elsewhere)) => elsewhere,
            (Some(behavior), None) => Executor::Simulated(SimulatedExecutor {
                behavior: Some(behavior),
                ..SimulatedExecutor::default()
            }),
            (None, None) if !self.worker.is_empty() => Executor::Worker(WorkerExecutor {
                command: words(&self.worker),
                env: once("--env", &self.env)?,
                working_dir: self.working_dir.clone(),
            }),
            (None, None) => Executor::Command(CommandExecutor {
                command: words(&self.command),
                env: once("--env", &self.env)?,
                working_dir: self.working_dir.clone(),
            }),
        };
        Ok(BotSpec {
            executor,
            capabilities: Capabilities {
                bot_type: self.bot_type.clone(),
                specializations: self.specialize.clone(),
                max_concurrent_tasks: self.max_concurrent,
            },
            secrets: once("--secret", &self.references()?)?,
            limits: self.limits.limits(),
            idle_timeout_seconds: self.limits.idle_timeout,
            probe: self.probe.probe(),
            group: self.group.clone(),
            labels: once("--label", &self.label)?,
            template: None,
            fallback: self.fallback.clone(),
        })
    }
}

impl AddArgs {
    /// Reads the references of `--secret`. A malformed one is not repeated in the
    /// error: it may be a secret itself.
    fn references(&self) -> Result<Vec<(String, SecretRef)>, CliError> {
        let read = |text: &String| {
            let pair = parse::pair(text).ok();
            pair.and_then(|(name, reference)| Some((name, reference.parse().ok()?)))
                .ok_or_else(|| CliError::Input {
                    what: "--secret".into(),
                    reason: "expected NAME=file:PATH, NAME=env:NAME or NAME=store:NAME".into(),
                })
        };
        self.secret.iter().map(read).collect()
    }
}

/// Collects pairs into a map; each name may occur once.
pub(super) fn once<T: Clone>(
    option: &str,
    pairs: &[(String, T)],
) -> Result<BTreeMap<String, T>, CliError> {
    let mut all = BTreeMap::new();
    for (name, value) in pairs {
        if all.insert(name.clone(), value.clone()).is_some() {
            return Err(CliError::Input {
                what: format!("{option} {name}"),
                reason: "is given twice".into(),
            });
        }
    }
    Ok(all)
}

fn from_json(text: &str) -> Result<BotSpec, String> {
    let text = without_mark(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    let spec = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        match error.path().to_string().as_str() {
            "." => error.inner().to_string(),
            path => format!("{path}: {}", error.inner()),
        }
    })?;
    reader.end().map_err(|error| error.to_string())?;
    match ambiguity(text) {
        None => Ok(spec),
        Some(found) => Err(format!("{} {}", found.pointer, found.detail)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        add: AddArgs,
    }

    fn parse(words: &[&str]) -> Result<AddArgs, clap::Error> {
        let args = ["add", "b-1"].iter().chain(words);
        Line::try_parse_from(args).map(|line| line.add)
    }

    fn executor(words: &[&str]) -> serde_json::Value {
        let spec = parse(words).unwrap().spec().unwrap();
        serde_json::to_value(spec.executor).unwrap()
    }

    #[test]
    fn ways_to_name_a_program() {
        let sh = json!({"kind": "command", "command": ["sh", "-c", "id"]});
        assert_eq!(executor(&["--", "sh", "-c", "id"]), sh);
        assert_eq!(executor(&["--command", "sh", "--", "-c", "id"]), sh);
        assert_eq!(
            executor(&["--command", "tr", "a-z", "A-Z", "--launch"]),
            json!({"kind": "command", "command": ["tr", "a-z", "A-Z"]})
        );
        assert_eq!(
            executor(&["--env", "A=1", "--env", "B=", "--command", "x"]),
            json!({"kind": "command", "command": ["x"], "env": {"A": "1", "B": ""}})
        );
        assert_eq!(
            executor(&["--worker", "python3", "agent.py", "--", "-v"]),
            json!({"kind": "worker", "command": ["python3", "agent.py", "-v"]})
        );
        assert_eq!(
            executor(&["--simulated", "slow"]),
            json!({"kind": "simulated", "behavior": "slow"})
        );
    }

    #[test]
    fn services_are_named_by_their_urls() {
        let words = [
            "--http",
            "https://a.example/run",
            "--header",
            "x-team=billing",
            "--health-url",
            "https://a.example/health",
        ];
        assert_eq!(
            executor(&words),
            json!({"kind": "http", "url": "https://a.example/run",
                "headers": {"x-team": "billing"}, "health_url": "https://a.example/health"})
        );
        let words = ["--llm", "https://a.example/v1", "--model", "m"];
        assert_eq!(
            executor(&words),
            json!({"kind": "llm", "base_url": "https://a.example/v1", "model": "m", "api": "chat"})
        );
    }

    #[test]
    fn remote_workers_have_heartbeats() {
        assert_eq!(executor(&["--remote"]), json!({"kind": "remote"}));
        assert_eq!(
            executor(&["--remote", "--heartbeat", "1m"]),
            json!({"kind": "remote", "heartbeat_seconds": 60})
        );
    }

    #[test]
    fn limits_and_a_probe_are_taken_over() {
        let words = "--command serve --max-memory 512MiB --max-cpu 10m --max-descriptors 64 \
            --max-processes 8 --on-excess fail --idle-timeout 2m --probe-command curl \
            --probe-command=-f --probe-every 5s";
        let words: Vec<&str> = words.split_whitespace().collect();
        let spec = serde_json::to_value(parse(&words).unwrap().spec().unwrap()).unwrap();
        assert_eq!(
            spec["limits"],
            json!({"memory_bytes": 512 << 20, "cpu_seconds": 600, "descriptors": 64,
                "processes": 8, "on_excess": "fail"})
        );
        assert_eq!(spec["idle_timeout_seconds"], 120);
        assert_eq!(
            spec["probe"],
            json!({"command": ["curl", "-f"], "every_seconds": 5, "timeout_seconds": 2,
                "failures": 3})
        );
        let spec = parse(&["--command", "x"]).unwrap().spec().unwrap();
        assert!(spec.limits.is_empty() && spec.probe.is_none());
    }

    #[test]
    fn what_does_not_go_together() {
        for words in [
            &[][..],
            &["--launch"],
            &["--command", "x", "--simulated", "slow"],
            &["--command", "x", "--worker", "y"],
            &["--worker", "x", "--simulated", "slow"],
            &["--simulated", "slow", "--", "x"],
            &["--simulated", "wild"],
            &["--simulated", "slow", "--env", "A=1"],
            &["--file", "f", "--command", "x"],
            &["--file", "f", "--max-concurrent", "2"],
            &["--command", "x", "--max-concurrent", "0"],
            &["--command", "x", "--env", "A"],
            &["--command", "x", "--specialize", "No Such"],
            &["--command", "sh", "-c", "id"],
            &["--http", "https://a.example/", "--command", "x"],
            &[
                "--http",
                "https://a.example/",
                "--llm",
                "https://b.example/",
            ],
            &["--http", "https://a.example/", "--env", "A=1"],
            &["--llm", "https://a.example/v1"],
            &["--model", "m", "--command", "x"],
            &["--health-url", "https://a.example/", "--command", "x"],
            &["--remote", "--command", "x"],
            &["--remote", "--worker", "x"],
            &["--remote", "--", "x"],
            &["--remote", "--simulated", "slow"],
            &["--remote", "--file", "f"],
            &["--remote", "--http", "https://a.example/"],
            &["--remote", "--env", "A=1"],
            &["--remote", "--secret", "A=env:B"],
            &["--remote", "--heartbeat", "1500ms"],
            &["--heartbeat", "5s", "--command", "x"],
            &["--max-memory", "much", "--command", "x"],
            &["--max-cpu", "1500ms", "--command", "x"],
            &["--max-processes", "0", "--command", "x"],
            &["--max-memory", "1GiB", "--file", "f"],
            &["--idle-timeout", "1m", "--file", "f"],
            &["--probe-every", "5s", "--command", "x"],
            &["--probe-tcp", "--probe-http", "/", "--command", "x"],
            &["--probe-tcp", "--file", "f"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        let twice = parse(&["--env", "A=1", "--env", "A=2", "--command", "x"]).unwrap();
        assert!(twice.spec().is_err());
        let value = parse(&["--secret", "A=hunter2", "--command", "x"]).unwrap();
        let told = value.spec().unwrap_err().to_string();
        assert!(told.contains("NAME=file:PATH") && !told.contains("hunter2"));
    }

    #[test]
    fn capabilities_are_taken_over() {
        let words = [
            "--specialize",
            "writing",
            "--specialize",
            "analysis",
            "--max-concurrent",
            "7",
            "--bot-type",
            "writer",
            "--simulated",
            "perfect",
        ];
        let spec = parse(&words).unwrap().spec().unwrap();
        assert_eq!(
            serde_json::to_value(spec.capabilities).unwrap(),
            json!({"bot_type": "writer", "specializations": ["writing", "analysis"], "max_concurrent_tasks": 7})
        );
    }

    #[test]
    fn a_wrong_file_is_told_where() {
        for (text, expected) in [
            (r#"{"executor":{"kind":"command","command":["a"]}}"#, "ok"),
            (
                r#"{"capabilities":{"max_concurrent_tasks":"x"}}"#,
                "capabilities.max_concurrent_tasks",
            ),
            (
                r#"{"executor":{"kind":"command","command":["a"]}} x"#,
                "trailing",
            ),
            ("", "EOF"),
        ] {
            let got = from_json(text).map_or_else(|error| error, |_| "ok".into());
            assert!(got.contains(expected), "{text}: {got}");
        }
    }
}
