//! Arguments of `task submit`, and the task that they make.

use std::path::{Path, PathBuf};

use clap::Args;
use deia_model::{
    Dependency, DependencyFailure, NewTask, Priority, RetryOverride, SessionId, TaskId, TaskType,
};
use serde_json::Value;

use super::ResultWait;
use crate::cli::{
    context,
    error::CliError,
    parse::{self, When},
};

/// Maximum size of content: the largest possible `tasks.max_content_bytes`. Fixed: the
/// largest value that the setting may have.
const MAX_CONTENT_BYTES: u64 = 64 << 20;

/// Options for a single task only.
const ONE_TASK: [&str; 20] = [
    "content",
    "task_type",
    "priority",
    "tag",
    "metadata",
    "run_at",
    "delay",
    "expires",
    "max_attempts",
    "timeout",
    "retry_min",
    "retry_max",
    "retry_factor",
    "retry_jitter",
    "dedup_key",
    "session",
    "depends_on",
    "on_dependency_failure",
    "wait",
    "estimate",
];

#[derive(Debug, Args)]
pub(in crate::cli) struct SubmitArgs {
    /// The input of the task; `-` for standard input.
    #[arg(required_unless_present = "file")]
    content: Option<String>,
    /// Submit the tasks of this file, or of standard input (`-`): one per line in the
    /// form of the API, for example {"type":"general","content":"x"}. Each may depend
    /// on an earlier one in `depends_on`: `@0` is the first.
    #[arg(long, value_name = "FILE", conflicts_with_all = ONE_TASK)]
    pub(super) file: Option<PathBuf>,
    /// Number of tasks of the file that are submitted at once, all or none of them.
    #[arg(long, value_name = "N", requires = "file", conflicts_with_all = ONE_TASK, default_value_t = 1_000, value_parser = parse::whole(1..=10_000_u32))]
    batch_size: u32,
    /// The type of the task.
    #[arg(long = "type", value_name = "TYPE", default_value = "general")]
    task_type: TaskType,
    /// The priority; P0 goes first.
    #[arg(long, value_parser = parse::priority(), ignore_case = true, default_value = "P2")]
    priority: Priority,
    /// A label for filtering; repeat for more.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Data of your own, passed to the bot; repeat for more.
    #[arg(long, value_name = "KEY=TEXT or KEY:=JSON", value_parser = parse::metadata)]
    metadata: Vec<(String, Value)>,
    /// Earliest time of the start: a time such as 2026-11-20T08:30:00Z, or a span such
    /// as +30m.
    #[arg(long, value_name = "TIME", value_parser = parse::time_or_span)]
    run_at: Option<When>,
    /// Earliest start, as a span from now.
    #[arg(long, value_name = "DURATION", value_parser = parse::milliseconds, conflicts_with = "run_at")]
    delay: Option<u64>,
    /// The task fails unless it has started by then: a time, or a span such as +2h.
    #[arg(long, value_name = "TIME", value_parser = parse::time_or_span)]
    expires: Option<When>,
    /// Number of attempts that may fail.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=100_u32))]
    max_attempts: Option<u32>,
    /// Time limit of one attempt, in whole seconds or more.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    timeout: Option<u64>,
    /// Time for which an attempt may neither write output nor report progress, in whole
    /// seconds or more.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    idle_timeout: Option<u64>,
    /// Expected duration, in whole seconds or more.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    estimate: Option<u64>,
    /// Delay before the first retry.
    #[arg(long, value_name = "DURATION", value_parser = parse::milliseconds)]
    retry_min: Option<u64>,
    /// Maximum delay before a retry.
    #[arg(long, value_name = "DURATION", value_parser = parse::milliseconds)]
    retry_max: Option<u64>,
    /// Factor by which each delay is longer than the one before, 1 to 100.
    #[arg(long, value_name = "N", value_parser = parse::number)]
    retry_factor: Option<f64>,
    /// Share by which the delay is spread up and down, 0 to 1.
    #[arg(long, value_name = "N", value_parser = parse::number)]
    retry_jitter: Option<f64>,
    /// While an unfinished task of yours has this key, that task is returned and
    /// nothing new is submitted.
    #[arg(long, value_name = "KEY")]
    dedup_key: Option<String>,
    /// A session of yours: the task goes to the bot of the session.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// A task that must be completed first; repeat for more.
    #[arg(long, value_name = "ID")]
    depends_on: Vec<TaskId>,
    /// Consequence when one of those fails or is cancelled.
    #[arg(long, value_parser = parse::dependency_failure(), default_value = "fail")]
    on_dependency_failure: DependencyFailure,
    /// Key that makes it safe to repeat this command: its tasks are submitted once.
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(super) wait: ResultWait,
}

impl SubmitArgs {
    /// Returns the number of tasks of a file that are submitted at once.
    pub(super) fn batch(&self) -> usize {
        self.batch_size as usize
    }

    /// Returns the task.
    ///
    /// # Errors
    /// Standard input that is too long or not text, a metadata key given twice.
    pub(super) fn task(&self) -> Result<NewTask, CliError> {
        let content = match self.content.as_deref().unwrap_or_default() {
            "-" => context::read_text("", Path::new("-"), MAX_CONTENT_BYTES)?,
            content => content.to_owned(),
        };
        let mut task = NewTask {
            priority: self.priority,
            tags: self.tag.clone(),
            run_at: self.run_at.and_then(When::at),
            delay_ms: self.delay.or(self.run_at.and_then(When::span)),
            expires_at: self.expires.and_then(When::at),
            expires_in_ms: self.expires.and_then(When::span),
            max_attempts: self.max_attempts,
            timeout_seconds: self.timeout,
            idle_timeout_seconds: self.idle_timeout,
            estimated_duration_seconds: self.estimate,
            retry: self.retry(),
            dedup_key: self.dedup_key.clone(),
            session_id: self.session,
            depends_on: self
                .depends_on
                .iter()
                .copied()
                .map(Dependency::Task)
                .collect(),
            on_dependency_failure: self.on_dependency_failure,
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

    fn retry(&self) -> Option<RetryOverride> {
        let retry = RetryOverride {
            min_ms: self.retry_min,
            max_ms: self.retry_max,
            factor: self.retry_factor,
            jitter: self.retry_jitter,
        };
        (retry != RetryOverride::default()).then_some(retry)
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

    const SESSION: &str = "session_01h455vb4pex5vsknk084sn02q";
    const OTHER: &str = "task_01h455vb4pex5vsknk084sn02q";

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
            "--expires",
            "2026-11-21T08:30:00Z",
            "--estimate",
            "2m",
            "--retry-min",
            "500ms",
            "--retry-max",
            "1m",
            "--retry-factor",
            "1.5",
            "--retry-jitter",
            "0",
            "--dedup-key",
            "d",
            "--session",
            SESSION,
            "--depends-on",
            OTHER,
            "--on-dependency-failure",
            "start",
        ];
        let task = parse(&words).unwrap().task().unwrap();
        assert_eq!(
            serde_json::to_value(task).unwrap(),
            json!({
                "type": "analysis", "content": "hello", "priority": "P0", "tags": ["a", "b"],
                "metadata": {"k": "v", "n": 5}, "run_at": "2026-11-20T08:30:00.000Z",
                "max_attempts": 2, "timeout_seconds": 30, "estimated_duration_seconds": 120,
                "expires_at": "2026-11-21T08:30:00.000Z", "dedup_key": "d",
                "session_id": SESSION,
                "retry": {"min_ms": 500, "max_ms": 60_000, "factor": 1.5, "jitter": 0.0},
                "depends_on": [OTHER], "on_dependency_failure": "start",
            })
        );
    }

    #[test]
    fn waiting_is_optional_and_bounded() {
        let wait = |words: &[&str]| parse(words).unwrap().wait.wait.map(|w| w.as_secs());
        assert_eq!(wait(&["x"]), None);
        assert_eq!(wait(&["x", "--wait"]), Some(300));
        assert_eq!(wait(&["x", "--wait=2s"]), Some(2));
        assert_eq!(wait(&["x", "--wait=1h"]), Some(3_600));
    }

    #[test]
    fn spans_are_counted_by_the_hive() {
        let task = |words: &[&str]| parse(words).unwrap().task().unwrap();
        let delayed = task(&["x", "--delay", "1h", "--expires", "+2h"]);
        assert_eq!((delayed.run_at, delayed.expires_at), (None, None));
        assert_eq!(delayed.delay_ms, Some(3_600_000));
        assert_eq!(delayed.expires_in_ms, Some(7_200_000));
        assert_eq!(task(&["x", "--run-at", "+30m"]).delay_ms, Some(1_800_000));
        assert_eq!(task(&["x"]).delay_ms, None);
    }

    #[test]
    fn a_file_stands_for_itself() {
        let args = parse(&["--file", "-", "--idempotency-key", "k"]).unwrap();
        assert_eq!((args.file, args.batch_size), (Some("-".into()), 1_000));
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
            &["x", "--wait=long"],
            &["x", "y"],
            &["x", "--delay", "1h", "--run-at", "+1h"],
            &["x", "--delay", "soon"],
            &["x", "--depends-on", "@0"],
            &["x", "--on-dependency-failure", "hope"],
            &["x", "--retry-factor", "much"],
            &["x", "--batch-size", "5"],
            &["x", "--file", "f"],
            &["--file", "f", "--type", "a"],
            &["--file", "f", "--wait"],
            &["--file", "f", "--batch-size", "0"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        let twice = parse(&["x", "--metadata", "k=1", "--metadata", "k:=2"]).unwrap();
        assert!(twice.task().is_err());
    }
}
