//! Programs that turn against the process above them.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{TestApp, command, task};

const QUICK: [&str; 2] = ["bots.seed=[]", "bots.term_grace=200ms"];

async fn shell(app: &TestApp) {
    let executor = json!({"kind": "command", "command": ["sh"]});
    app.bot("shell", executor, &["general"]).await;
}

async fn run(app: &TestApp, script: &str, max_attempts: u32) -> Value {
    let mut task = task(script);
    task["max_attempts"] = max_attempts.into();
    task["timeout_seconds"] = 5.into();
    task["retry"] = json!({"min_ms": 0, "max_ms": 0, "jitter": 0});
    let id = app.submit(&task).await;
    app.result(&id).await
}

/// The same command with another program.
fn with_program(server: &Command, program: &std::path::Path) -> Command {
    let mut other = Command::new(program);
    other
        .args(server.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}

#[tokio::test]
async fn a_stopped_runner_holds_up_neither_its_attempt_nor_the_stop() {
    let mut app = TestApp::start_with(&QUICK).await;
    shell(&app).await;
    let result = run(&app, "kill -STOP $PPID; echo hi", 1).await;
    assert_eq!(result["output"], "hi\n", "{result}");
    // A runner that is stopped while its program is timed out, and when deia ends.
    let result = run(&app, "kill -STOP $PPID; sleep 1000", 1).await;
    let error = result["error"].as_str().unwrap();
    assert!(error.starts_with("timed out after 5 s"), "{result}");
    let id = app.submit(&task("kill -STOP $PPID; sleep 1000")).await;
    app.until("it runs", async |app| {
        let path = format!("/api/v1/tasks/{id}/status");
        app.get(&path).await.body["status"] == "running"
    })
    .await;
    assert!(app.stop().success());
}

#[tokio::test]
async fn a_program_that_kills_its_runner_uses_up_its_attempts() {
    let app = TestApp::start_with(&QUICK).await;
    shell(&app).await;
    let result = run(&app, "echo out; kill -KILL $PPID; sleep 1", 2).await;
    assert_eq!(
        (&result["success"], &result["attempt"]),
        (&json!(false), &json!(2)),
        "{result}"
    );
    let error = result["error"].as_str().unwrap();
    assert!(error.contains("runner"), "{result}");
    // Also when that comes before the runner has said that the program runs.
    for _ in 0..20 {
        let result = run(&app, "kill -KILL $PPID; exit", 1).await;
        let error = result["error"].as_str().unwrap();
        assert!(error.contains("the runner above"), "{result}");
        let result = run(&app, "kill -STOP $PPID; echo hi", 1).await;
        assert_eq!(result["output"], "hi\n", "{result}");
    }
    let bot = app.get("/api/v1/bots/shell").await.body;
    assert_eq!(bot["status"], "healthy", "{bot}");
    assert_eq!(run(&app, "echo fine", 1).await["output"], "fine\n");
}

#[tokio::test]
async fn programs_are_started_when_the_executable_of_deia_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, program) = (dir.path().join("data"), dir.path().join("deia"));
    let settings = [QUICK.as_slice(), &["bots.idle_runners=0"]].concat();
    let server = command(&data, &settings);
    std::fs::copy(server.get_program(), &program).unwrap();
    let app = TestApp::try_start(with_program(&server, &program), &data)
        .await
        .unwrap();
    shell(&app).await;
    std::fs::remove_file(&program).unwrap();
    for _ in 0..3 {
        let result = run(&app, "echo fine", 1).await;
        assert_eq!(result["output"], "fine\n", "{result}");
    }
    // Another version in its place is not run before a restart.
    std::fs::copy("/bin/false", &program).unwrap();
    let result = run(&app, "echo fine", 1).await;
    assert_eq!(result["output"], "fine\n", "{result}");
}

#[tokio::test]
async fn programs_run_below_a_data_directory_that_is_named_relatively() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = command(&data, &QUICK);
    let mut relative = Command::new(server.get_program());
    relative
        .args(server.get_args().map(|arg| match arg == data.as_os_str() {
            true => std::ffi::OsStr::new("data"),
            false => arg,
        }))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let app = TestApp::try_start(relative, &data).await.unwrap();
    shell(&app).await;
    let result = run(&app, "pwd", 1).await;
    let output = result["output"].as_str().unwrap_or_default();
    assert!(output.ends_with("data/work/shell\n"), "{result}");
}
