//! Real programs, and all the ways in which they end.

mod ends;

use std::collections::BTreeMap;

use deia_model::{LeaseToken, Priority, Task, TaskStatus, Timestamp};
use tokio::sync::watch;

use super::*;
use crate::{
    bots::reaper_handle::{
        ReaperHandle,
        tests::{reaper_program, sleeping, unique_hive_id, unique_sleep},
    },
    testing::{PATIENCE, until},
};

/// A context for one test.
pub(crate) struct Setup {
    pub(crate) cx: CommandContext,
    pub(crate) dir: tempfile::TempDir,
}

impl Setup {
    pub(crate) fn of_hive(hive_id: &str, command: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cx = CommandContext {
            spec: CommandExecutor {
                command: command.iter().map(|&word| word.to_owned()).collect(),
                env: BTreeMap::new(),
                working_dir: None,
            },
            bot: "bot-1".parse().unwrap(),
            port: 8_042,
            secrets: BotSecrets::default(),
            hive_id: hive_id.to_owned(),
            work_dir: dir.path().join("work/bot-1"),
            outputs: Outputs::of(dir.path()),
            output_limits: OutputLimits {
                memory: 16 << 20,
                file: 32 << 20,
            },
            kept_outputs: 2,
            term_grace: PATIENCE,
            reaper: ReaperHandle::start(reaper_program(hive_id)).unwrap(),
            log: BotLog::open(dir.path().join("bot-1.log"), 8 << 20),
            pids: Pids::default(),
            meters: Meters::default(),
            limits: BotLimits::default(),
            incarnation: 1,
            on_start: OnStart::unheard(),
        };
        Self { cx, dir }
    }

    fn new(command: &[&str]) -> Self {
        Self::of_hive(&unique_hive_id(), command)
    }

    fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    pub(crate) async fn run(&self, content: &str) -> ExecutionResult {
        let (_keep, stop) = watch::channel(None);
        run(&self.cx, &claimed(content), Progress::told(), stop).await
    }

    /// Runs the program and stops it once `ready` holds.
    async fn run_and_stop(&self, ready: impl Fn() -> bool, cause: StopCause) -> ExecutionResult {
        let (send, stop) = watch::channel(None);
        let claimed = claimed("");
        let stopper = async {
            until("it is ready", async || ready()).await;
            send.send_replace(Some(cause));
        };
        tokio::join!(run(&self.cx, &claimed, Progress::told(), stop), stopper).0
    }

    /// Returns the output files of that attempt number, of all tasks together.
    fn kept(&self, attempt: u32) -> String {
        let tasks = self.cx.outputs.with_files().unwrap();
        let kept = |task: &deia_model::TaskId| {
            std::fs::read_to_string(self.cx.outputs.file(*task, attempt)).unwrap_or_default()
        };
        tasks.iter().map(kept).collect()
    }

    fn log(&self) -> String {
        assert!(self.cx.log.flush(PATIENCE));
        std::fs::read_to_string(self.dir.path().join("bot-1.log")).unwrap_or_default()
    }
}

/// The session of that task.
const SESSION: &str = "session_01h455vb4pex5vsknk084sn02q";

pub(crate) fn claimed(content: &str) -> ClaimedTask {
    let task = Task {
        priority: Priority::P1,
        status: TaskStatus::Running,
        submitter: "admin".into(),
        content: Some(content.into()),
        metadata: [("k".to_owned(), "v".into())].into(),
        started_at: Some(Timestamp::now()),
        attempt: 2,
        failures: 1,
        session_id: Some(SESSION.parse().unwrap()),
        traceparent: Some("00-1-2-01".into()),
        ..Task::sample()
    };
    ClaimedTask {
        task,
        bot: "bot-1".parse().unwrap(),
        incarnation: 1,
        lease: LeaseToken::new(),
    }
}

#[tokio::test]
async fn content_is_stdin_and_stdout_is_the_result() {
    let setup = Setup::new(&["tr", "a-z", "A-Z"]);
    let outcome = setup.run("hello").await;
    assert_eq!(outcome.end, AttemptEnd::Succeeded, "{outcome:?}");
    assert_eq!(outcome.output.as_deref(), Some("HELLO"));
    assert_eq!(outcome.exit_code, Some(0));
    assert_eq!(outcome.error, None);
    assert!(setup.cx.pids.first(16).is_empty());
    assert_eq!(setup.log(), "");
}

#[tokio::test]
async fn large_content_is_passed_whole() {
    let content = "0123456789abcdef".repeat(512 << 10);
    let outcome = Setup::new(&["cat"]).run(&content).await;
    assert_eq!(outcome.end, AttemptEnd::Succeeded);
    assert!(outcome.output.as_deref() == Some(&content));
}

#[tokio::test]
async fn program_that_ignores_its_content_succeeds() {
    let content = "x".repeat(1 << 20);
    for script in ["true", "exec <&-; sleep 0.1; echo done >&2"] {
        let outcome = Setup::shell(script).run(&content).await;
        assert_eq!(outcome.end, AttemptEnd::Succeeded, "{script}: {outcome:?}");
    }
}

#[tokio::test]
async fn environment_has_the_documented_variables_only() {
    let mut setup = Setup::new(&["env"]);
    setup.cx.spec.env = [("TOKEN".to_owned(), "t 1".to_owned())].into();
    let outcome = setup.run("").await;
    let output = outcome.output.unwrap();
    let mut names: Vec<_> = output
        .lines()
        .map(|line| line.split_once('=').unwrap().0)
        .filter(|name| !["HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"].contains(name))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "DEIA_ATTEMPT",
            "DEIA_BOT_ID",
            "DEIA_BOT_PORT",
            "DEIA_HIVE_ID",
            "DEIA_INSTANCE_ID",
            "DEIA_PRIORITY",
            "DEIA_PROGRESS_FD",
            "DEIA_RUN_ID",
            "DEIA_SESSION_ID",
            "DEIA_TASK_ID",
            "DEIA_TASK_METADATA",
            "DEIA_TASK_TYPE",
            "PATH",
            "TOKEN",
            "TRACEPARENT"
        ]
    );
    for expected in [
        "DEIA_ATTEMPT=2",
        "DEIA_BOT_ID=bot-1",
        "DEIA_BOT_PORT=8042",
        "DEIA_PRIORITY=P1",
        "DEIA_TASK_METADATA={\"k\":\"v\"}",
        "DEIA_TASK_TYPE=general",
        &format!("DEIA_SESSION_ID={SESSION}"),
        "TOKEN=t 1",
        "TRACEPARENT=00-1-2-01",
        &format!("DEIA_HIVE_ID={}", setup.cx.hive_id),
    ] {
        assert!(output.lines().any(|line| line == expected), "{expected}");
    }
}

#[tokio::test]
async fn metadata_too_large_for_a_variable_come_in_a_file() {
    let script = r#"test -z "$DEIA_TASK_METADATA" && cat "$DEIA_TASK_METADATA_FILE""#;
    let setup = Setup::new(&["sh", "-c", script]);
    let mut claimed = claimed("");
    claimed.task.metadata = [("k".to_owned(), "x".repeat(200_000).into())].into();
    let (_keep, stop) = watch::channel(None);
    let outcome = run(&setup.cx, &claimed, Progress::told(), stop).await;
    assert_eq!(outcome.end, AttemptEnd::Succeeded, "{outcome:?}");
    let expected = serde_json::to_string(&claimed.task.metadata).unwrap();
    assert_eq!(outcome.output.unwrap(), expected);
    let left = setup.cx.outputs.directory(claimed.task.id);
    assert!(!left.exists(), "the file is removed after the attempt");
}

#[tokio::test]
async fn program_runs_in_its_own_directory() {
    let mut setup = Setup::new(&["pwd", "-P"]);
    let here = std::fs::canonicalize(setup.dir.path()).unwrap();
    let expected = format!("{}\n", here.join("work/bot-1").display());
    assert_eq!(setup.run("").await.output, Some(expected));
    setup.cx.spec.working_dir = Some("/".into());
    assert_eq!(setup.run("").await.output.as_deref(), Some("/\n"));
}

#[tokio::test]
async fn error_of_a_failure_has_the_end_of_stderr() {
    let setup = Setup::shell("echo out; echo first >&2; echo last >&2; exit 3");
    let outcome = setup.run("").await;
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert_eq!(outcome.error.as_deref(), Some("exit code 3: first\nlast"));
    assert_eq!(outcome.exit_code, Some(3));
    assert_eq!(outcome.output.as_deref(), Some("out\n"));
    let log = setup.log();
    let ends: Vec<_> = log
        .lines()
        .map(|l| l.split_once(" task_").unwrap().1)
        .collect();
    assert!(ends[0].ends_with(" stderr first"), "{log}");
    assert!(ends[1].ends_with(" stderr last"), "{log}");
    assert!(ends[2].ends_with(" deia exit code 3"), "{log}");

    let outcome = Setup::shell("kill -9 $$").run("").await;
    assert_eq!(
        outcome.error.as_deref(),
        Some("ended by signal 9 (SIGKILL)")
    );
    assert_eq!((outcome.end, outcome.exit_code), (AttemptEnd::Failed, None));
}

#[tokio::test]
async fn a_program_that_cannot_be_started_fails_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let garbage = dir.path().join("garbage");
    std::fs::write(&garbage, "\0no program").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&garbage, mode).unwrap();
    for (program, expected) in [
        ("deia-no-such-program", "was not found in PATH"),
        ("/nonexistent/program", "there is no such file"),
        (plain.to_str().unwrap(), "permission denied"),
        (garbage.to_str().unwrap(), "neither a program nor a script"),
    ] {
        let setup = Setup::new(&[program]);
        let outcome = setup.run("hello").await;
        assert_eq!(outcome.end, AttemptEnd::BotFault, "{program}");
        let error = outcome.error.unwrap();
        assert!(
            error.contains(expected) && error.contains(program),
            "{error}"
        );
        assert!(setup.log().contains(expected), "{program}");
    }
    let mut setup = Setup::new(&["true"]);
    setup.cx.spec.working_dir = Some("/nonexistent".into());
    let error = setup.run("").await.error.unwrap();
    assert_eq!(error, "the working directory /nonexistent does not exist");
    setup.cx.spec.env = [("PATH".to_owned(), dir.path().to_str().unwrap().to_owned())].into();
    setup.cx.spec.command = vec!["plain".into()];
    let error = setup.run("").await.error.unwrap();
    assert!(error.contains("permission denied"), "{error}");
}

#[tokio::test]
async fn too_much_output_fails_and_takes_no_memory() {
    let mut setup = Setup::shell("head -c 1073741824 /dev/zero; sleep 1000");
    setup.cx.output_limits.memory = 1 << 20;
    setup.cx.output_limits.file = 1 << 21;
    let outcome = setup.run("").await;
    assert_eq!(outcome.end, AttemptEnd::Failed);
    let error = outcome.error.unwrap();
    assert!(
        error.contains("2097152 bytes") && error.contains("tasks.max_output_file_bytes"),
        "{error}"
    );
    assert_eq!(outcome.output_bytes, Some(2_097_152), "what fits is kept");

    for (printed, end) in [(100, AttemptEnd::Succeeded), (101, AttemptEnd::Failed)] {
        let mut setup = Setup::shell(&format!("head -c {printed} /dev/zero"));
        setup.cx.output_limits = OutputLimits {
            memory: 10,
            file: 100,
        };
        assert_eq!(setup.run("").await.end, end, "{printed}");
    }
}

#[tokio::test]
async fn output_and_end_of_stderr_are_kept_after_every_end() {
    let script = "echo transcript; echo warn >&2; touch ready; exec sleep 1000";
    for (cause, error) in [
        (StopCause::Cancelled("cancelled by ada".into()), None),
        (StopCause::BotStopping, None),
        (
            StopCause::TimedOut { after_seconds: 3 },
            Some("timed out after 3 s: warn"),
        ),
    ] {
        let setup = Setup::shell(script);
        let said = || setup.cx.work_dir.join("ready").exists();
        let outcome = setup.run_and_stop(said, cause.clone()).await;
        assert_eq!(outcome.output.as_deref(), Some("transcript\n"), "{cause:?}");
        assert_eq!(outcome.error.as_deref(), error, "{cause:?}");
        assert_eq!(setup.kept(2), "transcript\n", "{cause:?}");
    }

    let setup = Setup::shell(script);
    // Standard output was read before this line of standard error.
    let said = || setup.log().contains(" stderr warn");
    tokio::select! {
        _ = setup.run("") => unreachable!("it ended by itself"),
        () = until("it is ready", async || said()) => {}
    }
    until("what it printed is there", async || {
        !setup.kept(2).is_empty()
    })
    .await;
}

#[tokio::test]
async fn outputs_of_the_last_attempts_are_kept_by_number() {
    let setup = Setup::shell("echo $DEIA_ATTEMPT; exit 1");
    let mut claimed = claimed("");
    for attempt in 1..=4 {
        claimed.task.attempt = attempt;
        let (_keep, stop) = watch::channel(None);
        run(&setup.cx, &claimed, Progress::told(), stop).await;
    }
    let mut kept = setup.cx.outputs.attempts(claimed.task.id).unwrap();
    kept.sort_unstable();
    assert_eq!(kept, [(3, 2), (4, 2)]);
}

#[tokio::test]
async fn unterminated_line_of_stderr_is_in_the_log_while_it_runs() {
    let setup = Setup::shell(
        "printf 'Password: ' >&2; until [ -e go ]; do sleep 0.01; done; echo; echo ok >&2",
    );
    let shown = async {
        until("it is shown", async || {
            setup.log().contains(" stderr Password: ")
        })
        .await;
        std::fs::write(setup.cx.work_dir.join("go"), "").unwrap();
    };
    let (outcome, ()) = tokio::join!(setup.run(""), shown);
    assert_eq!(outcome.end, AttemptEnd::Succeeded);
    assert!(setup.log().ends_with(" stderr ok\n"));
}

#[tokio::test]
async fn any_amount_of_log_is_bounded() {
    let setup =
        Setup::shell("head -c 268435456 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2");
    let outcome = setup.run("").await;
    assert_eq!(outcome.end, AttemptEnd::Succeeded, "{outcome:?}");
    let log = setup.log();
    assert!(
        log.len() < 10_000 && log.contains(" bytes more]\n"),
        "{}",
        log.len()
    );
    assert!(log.ends_with(" stderr end\n"));
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_replaced_and_noted() {
    let setup = Setup::shell("printf 'a\\377b'");
    let outcome = setup.run("").await;
    assert_eq!(outcome.output.as_deref(), Some("a\u{fffd}b"));
    assert!(setup.log().contains("not UTF-8"));
}

#[tokio::test]
async fn many_programs_run_at_once() {
    let setup = Setup::new(&["cat"]);
    let contents: Vec<_> = (0..64).map(|n| format!("task {n}")).collect();
    let runs = contents.iter().map(|content| setup.run(content));
    let outcomes = futures_util::future::join_all(runs).await;
    for (content, outcome) in contents.iter().zip(outcomes) {
        assert_eq!(
            outcome.output.as_ref(),
            Some(content),
            "{:?}",
            outcome.error
        );
    }
    assert!(setup.cx.pids.first(16).is_empty());
}

#[tokio::test]
async fn progress_reaches_the_own_attempt_only() {
    let script = "for said in 10% nonsense 0.25 2; do
        echo $said >/dev/fd/$DEIA_PROGRESS_FD; done; echo ${said}";
    let setup = Setup::shell(&format!(
        "{script}; until [ -e go ]; do sleep 0.01; done; yes 0.5 | head -n 100000 >/dev/fd/$DEIA_PROGRESS_FD"
    ));
    let (_keep, stop) = watch::channel(None);
    let (progress, claimed) = (Progress::told(), claimed(""));
    let watching = async {
        let heard = progress.clone();
        until("it has said so", async || heard.now() == Some(0.25)).await;
        std::fs::write(setup.cx.work_dir.join("go"), "").unwrap();
    };
    let running = run(&setup.cx, &claimed, progress.clone(), stop);
    let (outcome, ()) = tokio::join!(running, watching);
    assert_eq!(outcome.end, AttemptEnd::Succeeded, "{outcome:?}");
    assert_eq!(outcome.output.as_deref(), Some("2\n"));
    assert_eq!(progress.now(), Some(0.5));
    let log = setup.log();
    assert_eq!(log.matches("not a progress").count(), 1, "{log}");

    // One descriptor more than any program started by a task has: the pipe.
    let plain = std::process::Command::new("ls")
        .arg("/proc/self/fd")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let plain = plain.stdout.split(|byte| *byte == b'\n').count() - 1;
    let setup = Setup::new(&["ls", "/proc/self/fd"]);
    let all = (0..64).map(|_| setup.run(""));
    for outcome in futures_util::future::join_all(all).await {
        let output = outcome.output.unwrap();
        assert_eq!(output.lines().count(), plain + 1, "{output}");
    }
}
