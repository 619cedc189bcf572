//! The workers of `examples/bots/remote`, as a reader starts them. Without what one needs the
//! test says so and is skipped; with `DEIA_TEST_RECEIVERS=must` it fails instead.

use std::{
    io::Write,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::json;

use super::{Worker, far};
use crate::{
    support::{TestApp, until},
    tidy::root,
    webhook_support::example,
};

/// The program that the worker in shell runs for each task: does what the others do.
const PROGRAM: &str = r#"
    text=$(cat)
    case $text in
    reject*) echo "this worker does not do that" >&2; exit 65 ;;
    sleep*) $text ;;
    esac
    printf %s "$text" | tr a-z A-Z"#;

/// A program that ends with the test, and all that it started.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).unwrap();
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Returns whether a program can be run. If not, says that a part was not tested.
fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").output();
    let is_there = asked.is_ok();
    if !is_there {
        let must = std::env::var_os("DEIA_TEST_RECEIVERS").is_some();
        assert!(!must, "{program} cannot be run");
        // Past the test harness, which would keep it to itself.
        let said =
            format!("\nSKIPPED: {program} is not installed; a remote worker was NOT tested\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    is_there
}

/// Returns the command that starts a worker of a bot; `None` if what it needs is not there.
fn command(script: &str, bot: &str) -> Option<Command> {
    let path = root().join("examples/bots/remote").join(script);
    let (needs, mut command): (&[&str], _) = match script {
        "worker.py" => (&["python3"], Command::new("python3")),
        "worker.mjs" => (&["node"], Command::new("node")),
        "worker.sh" => (&["curl", "jq", "setsid"], Command::new("sh")),
        _ => (&[], Command::new(example("remote-worker")?)),
    };
    if !needs.iter().all(|program| is_there(program)) {
        return None;
    }
    if !needs.is_empty() {
        command.arg(path);
    }
    command.arg(bot);
    if script == "worker.sh" {
        command.args(["sh", "-c", PROGRAM]);
    }
    Some(command)
}

async fn completes_fails_and_heeds_cancellations(script: &str) {
    let app = TestApp::start().await;
    let remote = json!({"kind": "remote", "heartbeat_seconds": 1});
    let worker = Worker::of(&app, "far-1", remote).await;
    let Some(mut command) = command(script, &worker.bot) else {
        return;
    };
    let command = command
        .env("DEIA_URL", &app.url)
        .env("DEIA_KEY", &worker.key)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    let mut program = Program(command.spawn().unwrap());
    let done = app.submit(&far("hello")).await;
    assert_eq!(app.result(&done).await["output"], "HELLO");
    let rejected = app.submit(&far("reject this")).await;
    let result = app.result(&rejected).await;
    assert_eq!(
        (&result["success"], &result["failure_class"]),
        (&json!(false), &json!("permanent"))
    );
    let reason = result["error"].as_str().unwrap();
    assert!(reason.contains("this worker does not do that"), "{result}");
    let slow = app.submit(&far("sleep 60")).await;
    app.until("the worker has the task", async |app| {
        let path = format!("/api/v1/tasks/{slow}/status");
        app.get(&path).await.is(200).body["status"] == "running"
    })
    .await;
    app.post(&format!("/api/v1/tasks/{slow}/cancel"), &json!(null))
        .await
        .is(200);
    assert_eq!(app.result(&slow).await["success"], false);
    // The worker goes on with the next task.
    let next = app.submit(&far("again")).await;
    assert_eq!(app.result(&next).await["output"], "AGAIN");
    assert!(program.0.try_wait().unwrap().is_none(), "the worker ended");
    // While it asks for tasks it does not wait for the end of the poll, which takes 20 s.
    let pid = Pid::from_raw(i32::try_from(program.0.id()).unwrap());
    let signal = match script {
        "worker.rs" => Signal::SIGINT,
        _ => Signal::SIGTERM,
    };
    kill(pid, signal).unwrap();
    let asked = Instant::now();
    until("the worker ends", async || {
        program.0.try_wait().unwrap().is_some()
    })
    .await;
    assert!(
        asked.elapsed() < Duration::from_secs(12),
        "{:?}",
        asked.elapsed()
    );
}

#[actix_rt::test]
async fn worker_in_python() {
    completes_fails_and_heeds_cancellations("worker.py").await;
}

#[actix_rt::test]
async fn worker_in_node() {
    completes_fails_and_heeds_cancellations("worker.mjs").await;
}

#[actix_rt::test]
async fn worker_in_shell() {
    completes_fails_and_heeds_cancellations("worker.sh").await;
}

#[actix_rt::test]
async fn worker_in_rust() {
    completes_fails_and_heeds_cancellations("worker.rs").await;
}
