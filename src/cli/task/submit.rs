//! What `task submit` is told, and the task that it makes.

use std::path::Path;

use clap::Args;
use deia_hive::model::{NewTask, Priority, TaskType, Timestamp};
use serde_json::Value;

use super::ResultWait;
use crate::cli::{context, error::CliError, parse};

/// The most that `tasks.max_content_bytes` can allow.
const MAX_CONTENT_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct SubmitArgs {
    /// What the bot gets to work on; `-` for standard input.
    content: String,
    /// What kind of work it is.
    #[arg(long = "type", value_name = "TYPE", default_value = "general")]
    task_type: TaskType,
    /// How urgent it is; P0 goes first.
    #[arg(long, value_parser = parse::priority(), ignore_case = true, default_value = "P2")]
    priority: Priority,
    /// A label to find it by; give it again for more.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Data of your own, handed to the bot; give it again for more.
    #[arg(long, value_name = "KEY=TEXT or KEY:=JSON", value_parser = parse::metadata)]
    metadata: Vec<(String, Value)>,
    /// Not before then: a time such as 2026-11-20T08:30:00Z, or a span such as +30m.
    #[arg(long, value_name = "TIME", value_parser = parse::point_in_time)]
    run_at: Option<Timestamp>,
    /// How many attempts may fail.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    max_attempts: Option<u32>,
    /// How long one attempt may take, in whole seconds or more.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    timeout: Option<u64>,
    /// Makes it safe to repeat this command: the task is submitted once.
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(super) wait: ResultWait,
}

impl SubmitArgs {
    /// The task that was meant.
    ///
    /// # Errors
    /// Standard input that is too long or not text, a metadata key given twice.
    pub(super) fn task(&self) -> Result<NewTask, CliError> {
        let content = match self.content.as_str() {
            "-" => context::read_text(Path::new("-"), MAX_CONTENT_BYTES)?,
            content => content.to_owned(),
        };
        let mut task = NewTask {
            priority: self.priority,
            tags: self.tag.clone(),
            run_at: self.run_at,
            max_attempts: self.max_attempts,
            timeout_seconds: self.timeout,
            ..NewTask::new(self.task_type.clone(), content)
        };
        for (name, value) in &self.metadata {
            if task.metadata.insert(name.clone(), value.clone()).is_some() {
                return Err(CliError::Input {
                    what: format!("--metadata {name}"),
                    reason: "is given twice".into(),
                });
            }
        }
        Ok(task)
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
        submit: SubmitArgs,
    }

    fn parse(words: &[&str]) -> Result<SubmitArgs, clap::Error> {
        let args = ["submit"].iter().chain(words);
        Line::try_parse_from(args).map(|line| line.submit)
    }

    #[test]
    fn everything_reaches_the_task() {
        let words = [
            "hello",
            "--type",
            "analysis",
            "--priority",
            "p0",
            "--tag",
            "a",
            "--tag",
            "b",
            "--metadata",
            "k=v",
            "--metadata",
            "n:=5",
            "--run-at",
            "2026-11-20T08:30:00Z",
            "--max-attempts",
            "2",
            "--timeout",
            "30s",
        ];
        let task = parse(&words).unwrap().task().unwrap();
        assert_eq!(
            serde_json::to_value(task).unwrap(),
            json!({
                "type": "analysis", "content": "hello", "priority": "P0", "tags": ["a", "b"],
                "metadata": {"k": "v", "n": 5}, "run_at": "2026-11-20T08:30:00.000Z",
                "max_attempts": 2, "timeout_seconds": 30,
            })
        );
    }

    #[test]
    fn waiting_is_optional_and_bounded() {
        let wait = |words: &[&str]| parse(words).unwrap().wait.wait.map(|w| w.as_secs());
        assert_eq!(wait(&["x"]), None);
        assert_eq!(wait(&["x", "--wait"]), Some(300));
        assert_eq!(wait(&["x", "--wait", "2s"]), Some(2));
        assert_eq!(wait(&["x", "--wait=1h"]), Some(3_600));
    }

    #[test]
    fn what_is_refused() {
        for words in [
            &[][..],
            &["x", "--priority", "P9"],
            &["x", "--type", "No Such"],
            &["x", "--max-attempts", "0"],
            &["x", "--max-attempts", "101"],
            &["x", "--timeout", "0s"],
            &["x", "--metadata", "k"],
            &["x", "--run-at", "soon"],
            &["x", "--wait", "long"],
            &["x", "y"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        let twice = parse(&["x", "--metadata", "k=1", "--metadata", "k:=2"]).unwrap();
        assert!(twice.task().is_err());
    }
}
