//! Programs that do not behave, through the front door: each is kept within its
//! limits, and its bot goes on working.

use serde_json::{Value, json};

use crate::support::{TestApp, task, unique_sleep, until};

/// Returns the number of processes that sleep for this time.
pub(crate) fn sleeping(seconds: &str) -> usize {
    let wanted = format!("sleep\0{seconds}\0");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_wanted = |process: &std::fs::DirEntry| {
        let line = std::fs::read(process.path().join("cmdline"));
        line.is_ok_and(|line| line == wanted.as_bytes())
    };
    processes.filter(is_wanted).count()
}

async fn hive() -> TestApp {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "bots.term_grace=300ms",
        "bots.log_max_bytes=64KiB",
        "tasks.max_output_bytes=4KiB",
        "tasks.max_output_file_bytes=256KiB",
        "tasks.default_max_attempts=1",
    ])
    .await;
    // Does what its tasks say.
    let shell = json!({"kind": "command", "command": ["sh"]});
    app.bot("shell", shell, &["general"]).await;
    app
}

async fn run(app: &TestApp, script: &str, timeout_seconds: u64) -> Value {
    let mut task = task(script);
    task["timeout_seconds"] = timeout_seconds.into();
    let id = app.submit(&task).await;
    app.result(&id).await
}

async fn goes_on(app: &TestApp) {
    assert_eq!(run(app, "echo fine", 60).await["output"], "fine\n");
    let bot = app.get("/api/v1/bots/shell").await.is(200).body;
    assert_eq!(
        (&bot["status"], &bot["restarts"]),
        (&json!("healthy"), &json!(0)),
        "{bot}"
    );
}

#[tokio::test]
async fn programs_that_fail_fail_with_the_reason() {
    let app = hive().await;
    for (script, timeout_seconds, reason) in [
        ("yes", 60, "tasks.max_output_file_bytes"),
        ("yes & yes & wait", 60, "tasks.max_output_file_bytes"),
        ("yes >&2", 1, "timed out after 1 s"),
        ("exec sleep 1000", 1, "timed out after 1 s"),
        ("while :; do :; done", 1, "timed out after 1 s"),
        ("exec >&- 2>&-; exec sleep 1000", 1, "timed out after 1 s"),
        (
            "trap '' TERM; while :; do sleep 1000; done",
            1,
            "timed out after 1 s",
        ),
        ("kill -STOP $$", 1, "timed out after 1 s"),
        ("kill -KILL $$", 60, "ended by signal 9 (SIGKILL)"),
        ("echo why >&2; exit 7", 60, "exit code 7: why"),
    ] {
        let result = run(&app, script, timeout_seconds).await;
        let error = result["error"].as_str().unwrap_or_default();
        assert!(
            result["success"] == false && error.contains(reason),
            "{script}: {result}"
        );
        goes_on(&app).await;
    }
    let mut logged = 0;
    for file in std::fs::read_dir(app.data_dir().join("logs/bots")).unwrap() {
        logged += file.unwrap().metadata().unwrap().len();
    }
    assert!(logged < 3 * 65_536, "{logged}");
    // The output of each is kept, within its limit.
    let outputs = std::fs::read_dir(app.data_dir().join("outputs")).unwrap();
    for task in outputs {
        let kept = std::fs::metadata(task.unwrap().path().join("1")).unwrap();
        assert!(kept.len() <= 256 << 10, "{kept:?}");
    }
}

#[tokio::test]
async fn programs_that_are_odd_succeed_all_the_same() {
    let app = hive().await;
    for (script, output) in [
        (r"printf 'a\377b'", "a\u{fffd}b"),
        ("echo one; exec >&-; sleep 0.1; echo more >&2", "one\n"),
        ("head -c 20000000 /dev/zero >&2; echo done", "done\n"),
        ("(sleep 0.1; echo late) & echo early; wait", "early\nlate\n"),
        ("true", ""),
    ] {
        let result = run(&app, script, 60).await;
        assert_eq!(
            (&result["success"], &result["output"]),
            (&json!(true), &json!(output)),
            "{script}: {result}"
        );
        goes_on(&app).await;
    }
    // Much to read, and nobody reads it.
    let deaf = json!({"kind": "command", "command": ["echo", "not listening"]});
    app.bot("deaf", deaf, &["deaf"]).await;
    let id = app
        .submit(&json!({"type": "deaf", "content": "x".repeat(1 << 20)}))
        .await;
    assert_eq!(app.result(&id).await["output"], "not listening\n");
}

#[tokio::test]
async fn nothing_is_left_of_what_a_program_started() {
    let app = hive().await;
    for (script, timeout_seconds, success) in [
        ("sleep @ & echo started", 60, true),
        ("trap '' TERM; sleep @ & sleep @", 1, false),
        ("setsid -f sleep @; sleep @ & sleep @", 1, false),
        ("(setsid sleep @ &); sleep @; echo never", 1, false),
        ("setsid -f sleep @; yes", 60, false),
    ] {
        let seconds = unique_sleep();
        let result = run(&app, &script.replace('@', &seconds), timeout_seconds).await;
        assert_eq!(result["success"], success, "{script}: {result}");
        app.until(script, async |_| sleeping(&seconds) == 0).await;
        goes_on(&app).await;
    }
    // Processes that have left the group of a program that ended well may go on, but not
    // beyond the end of deia.
    let seconds = unique_sleep();
    let left = format!("setsid -f sleep {seconds} >&- 2>&-; echo ok");
    assert_eq!(run(&app, &left, 60).await["output"], "ok\n");
    drop(app);
    until("it ends with deia", async || sleeping(&seconds) == 0).await;
}

#[tokio::test]
async fn progress_is_shown_while_a_task_runs() {
    let app = hive().await;
    let simulated = json!({"kind": "simulated", "latency_ms": 100_000});
    app.bot("simulated", simulated, &["simulated"]).await;
    let timed = app
        .submit(&json!({"type": "simulated", "content": "x"}))
        .await;
    let script = "say() { echo $1 >/dev/fd/$DEIA_PROGRESS_FD; }
        await() { until [ -e $1 ]; do sleep 0.02; done; }
        say 30%; await more; say 0.75; await go";
    let id = app.submit(&task(script)).await;
    let path = format!("/api/v1/tasks/{id}");
    let is = async |progress: f64| {
        app.until("it is that far", async |app| {
            app.get(&path).await.is(200).body["progress"] == progress
        })
        .await;
    };
    is(0.3).await;
    let file = |name: &str| app.data_dir().join("work/shell").join(name);
    std::fs::write(file("more"), "").unwrap();
    is(0.75).await;
    std::fs::write(file("go"), "").unwrap();
    assert_eq!(app.result(&id).await["success"], true);
    is(1.0).await;
    app.until("time tells of the other", async |app| {
        let task = app.get(&format!("/api/v1/tasks/{timed}")).await.is(200);
        let progress = task.body["progress"].as_f64().unwrap();
        assert!(progress < 1.0);
        progress > 0.0
    })
    .await;
}
