//! Bots whose program is started once: answers, failures, and programs that break the protocol,
//! each with what the task, the bot and the operator see.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{TestApp, until};

/// Settings under which everything that waits is over within the time of a test.
const QUICK: [&str; 8] = [
    "bots.seed=[]",
    "bots.term_grace=600ms",
    "bots.restart.min=50ms",
    "bots.restart.max=200ms",
    "bots.restart.restarts=1000",
    "bots.worker.start_timeout=10s",
    "tasks.bot_fault_delay=50ms",
    "bots.worker.garbage_window=10s",
];

/// The beginning of every program: what it says, and a loop over what it is told. A test gives
/// the body of `task(t)`, and of `other(m)` for all other messages.
const PRELUDE: &str = r#"
import json, os, sys, threading, time
lock = threading.Lock()
def say(**m):
    with lock:
        sys.stdout.write(json.dumps(m) + "\n"); sys.stdout.flush()
def ok(t, output="", **more):
    say(type="result", id=t["id"], attempt=t["attempt"], output=output, **more)
def bad(t, message, **more):
    say(type="error", id=t["id"], attempt=t["attempt"], message=message, **more)
def once(name):
    # True in the first incarnation only.
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL)); return True
    except FileExistsError:
        return False
def other(m): pass
def start(): say(type="hello", protocol=1, max_concurrent=8)
"#;

const LOOP: &str = r#"
start()
for line in sys.stdin:
    m = json.loads(line)
    if m["type"] == "task": threading.Thread(target=task, args=(m,), daemon=True).start()
    elif m["type"] == "ping": say(type="pong", n=m["n"])
    elif m["type"] == "shutdown": break
    else: other(m)
"#;

/// A hive, and the directory of its programs.
pub(crate) struct Workers {
    pub(crate) app: TestApp,
    dir: tempfile::TempDir,
}

impl Workers {
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let all: Vec<&str> = QUICK.iter().chain(settings).copied().collect();
        Self {
            app: TestApp::start_with(&all).await,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Launches a bot `w` with a program of that body, for that many tasks at a time.
    pub(crate) async fn launch(&self, body: &str, places: u32) {
        self.launch_program(&format!("{PRELUDE}{body}{LOOP}"), places)
            .await;
    }

    /// Launches a bot `w` with that program in Python.
    pub(crate) async fn launch_program(&self, program: &str, places: u32) {
        let path = self.dir.path().join("worker.py");
        std::fs::write(&path, program).unwrap();
        let spec = json!({
            "executor": {"kind": "worker", "command": ["python3", "-u", path],
                "working_dir": self.dir.path()},
            "capabilities": {"specializations": ["w"], "max_concurrent_tasks": places},
        });
        self.app.put("/api/v1/bots/w", &spec).await.is(201);
        self.app
            .post("/api/v1/bots/w/launch", &Value::Null)
            .await
            .is(202);
    }

    pub(crate) async fn submit(&self, content: &str) -> String {
        self.submit_with(content, json!({})).await
    }

    /// Submits a task with these fields beside its content. It is not tried again.
    pub(crate) async fn submit_with(&self, content: &str, fields: Value) -> String {
        let mut task = json!({"type": "w", "content": content, "max_attempts": 1,
            "retry": {"min_ms": 0, "max_ms": 0, "jitter": 0}});
        for (name, value) in fields.as_object().unwrap() {
            task[name] = value.clone();
        }
        self.app.submit(&task).await
    }

    pub(crate) async fn task(&self, id: &str) -> Value {
        let path = format!("/api/v1/tasks/{id}");
        self.app.get(&path).await.is(200).body
    }

    pub(crate) async fn bot(&self) -> Value {
        self.app.get("/api/v1/bots/w").await.is(200).body
    }

    pub(crate) async fn log(&self) -> String {
        let path = "/api/v1/bots/w/logs?lines=1000";
        self.app.get(path).await.is(200).body["lines"].to_string()
    }

    /// Waits until the bot's last exit has that text.
    pub(crate) async fn until_exit(&self, text: &str) {
        self.app
            .until(text, async |_| {
                let bot = self.bot().await;
                bot["last_exit"]
                    .as_str()
                    .is_some_and(|it| it.contains(text))
            })
            .await;
    }

    /// Waits until the bot's log has that text.
    pub(crate) async fn until_logged(&self, text: &str) {
        self.app
            .until(text, async |_| self.log().await.contains(text))
            .await;
    }

    pub(crate) async fn until_status(&self, status: &str) {
        self.app
            .until(status, async |_| self.bot().await["status"] == status)
            .await;
    }

    /// Waits until a running task has printed that.
    pub(crate) async fn until_output(&self, id: &str, expected: &str) {
        until(expected, async || {
            let path = format!("/api/v1/tasks/{id}/output");
            let mut stream = self.app.client_get(&self.app.admin, &path).await;
            let mut seen = Vec::new();
            while seen.len() < expected.len()
                && let Ok(Some(piece)) = stream.chunk().await
            {
                seen.extend_from_slice(&piece);
            }
            seen == expected.as_bytes()
        })
        .await;
    }

    /// Waits until a task has that status.
    pub(crate) async fn until_task(&self, id: &str, status: &str) {
        self.app
            .until(status, async |_| self.task(id).await["status"] == status)
            .await;
    }
}

#[tokio::test]
async fn tasks_are_answered_at_the_same_time_by_one_program() {
    let hive = Workers::start(&[]).await;
    let body = r#"
gate = threading.Barrier(3)
def task(t):
    gate.wait()
    say(type="progress", id=t["id"], attempt=t["attempt"], value=0.5)
    say(type="output", id=t["id"], attempt=t["attempt"], text=t["content"].upper())
    ok(t, " %d %s" % (os.getpid(), os.environ["DEIA_BOT_PORT"]), tokens_used=5, cost_cents=2)
"#;
    hive.launch(body, 3).await;
    let mut outputs = Vec::new();
    let mut ids = Vec::new();
    for content in ["a", "b\nb", "ü"] {
        ids.push(hive.submit(content).await);
    }
    for id in &ids {
        let result = hive.app.result(id).await;
        assert_eq!(result["success"], true, "{result}");
        assert_eq!(result["tokens_used"], 5, "{result}");
        assert_eq!(result["cost_cents"], 2, "{result}");
        outputs.push(result["output"].as_str().unwrap().to_owned());
    }
    let (bot, pid) = (hive.bot().await, outputs[0].split(' ').nth(1).unwrap());
    assert_eq!(bot["status"], "healthy", "{bot}");
    assert_eq!(bot["pids"], json!([pid.parse::<u32>().unwrap()]), "{bot}");
    let tail = format!(" {pid} {}", bot["port"]);
    assert_eq!(
        outputs,
        ["A", "B\nB", "Ü"].map(|it| format!("{it}{tail}")),
        "one program answers all"
    );
    assert_eq!(bot["tasks_completed"], 3, "{bot}");
}

#[tokio::test]
async fn failures_cost_what_their_class_says() {
    let hive = Workers::start(&["bots.pause.default=100ms", "bots.pause.max=300ms"]).await;
    let body = r#"
def task(t):
    if t["content"] == "busy" and once("busy"):
        bad(t, "slow down", **{"class": "rate_limited", "retry_after_ms": 60000})
    elif t["content"] == "busy": ok(t, "second time")
    elif t["content"] == "never": bad(t, "cannot be done", **{"class": "permanent"})
    else: bad(t, "went wrong", tokens_used=9)
"#;
    hive.launch(body, 1).await;
    let id = hive.submit("x").await;
    let result = hive.app.result(&id).await;
    assert_eq!(result["error"], "went wrong", "{result}");
    assert_eq!(result["failure_class"], "internal", "{result}");
    assert_eq!(result["tokens_used"], 9, "{result}");
    let id = hive.submit_with("never", json!({"max_attempts": 5})).await;
    let result = hive.app.result(&id).await;
    assert_eq!(result["failure_class"], "permanent", "{result}");
    assert_eq!(hive.task(&id).await["attempt"], 1);
    let id = hive.submit("busy").await;
    let result = hive.app.result(&id).await;
    assert_eq!(result["output"], "second time", "{result}");
    assert_eq!(
        hive.task(&id).await["failures"],
        0,
        "a pause costs no attempt"
    );
    let bot = hive.bot().await;
    assert_eq!((&bot["restarts"], &bot["fault"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn an_attempt_that_times_out_or_is_cancelled_is_given_up() {
    let hive = Workers::start(&[]).await;
    let body = r#"
asked = {}
def task(t):
    asked[t["id"]] = threading.Event()
    say(type="output", id=t["id"], attempt=t["attempt"], text="begun")
    asked[t["id"]].wait()
    bad(t, "given up")
def other(m):
    if m["type"] == "cancel":
        say(type="log", level="info", message="told: " + m["reason"], id=m["id"])
        asked[m["id"]].set()
"#;
    hive.launch(body, 2).await;
    let slow = hive.submit_with("x", json!({"timeout_seconds": 1})).await;
    let cancelled = hive.submit("x").await;
    hive.until_task(&cancelled, "running").await;
    let path = format!("/api/v1/tasks/{cancelled}/cancel");
    hive.app.post(&path, &Value::Null).await.is(200);
    hive.until_task(&cancelled, "cancelled").await;
    let result = hive.app.result(&slow).await;
    assert_eq!(result["failure_class"], "timed_out", "{result}");
    assert_eq!(result["output"], "begun", "{result}");
    hive.until_logged("told: timed out after 1 s").await;
    hive.until_logged("worker info: told: cancelled by").await;
    assert_eq!(hive.bot().await["restarts"], 0, "the program went on");
}

#[tokio::test]
async fn a_program_that_gives_nothing_up_is_killed_and_its_other_tasks_are_not_charged() {
    let hive = Workers::start(&[]).await;
    let body = r#"
def task(t):
    if t["content"] == "stubborn": time.sleep(3600)
    if once("first"): time.sleep(3600)
    ok(t, "fine")
"#;
    hive.launch(body, 2).await;
    let neighbour = hive.submit("x").await;
    hive.until_task(&neighbour, "running").await;
    let stubborn = hive
        .submit_with("stubborn", json!({"timeout_seconds": 1}))
        .await;
    let result = hive.app.result(&stubborn).await;
    assert_eq!(result["failure_class"], "timed_out", "{result}");
    hive.until_exit("did not give up task_").await;
    let result = hive.app.result(&neighbour).await;
    assert_eq!(result["output"], "fine", "{result}");
    let task = hive.task(&neighbour).await;
    assert_eq!(task["failures"], 0, "{task}");
    assert_eq!(task["suspicions"], 0, "{task}");
    assert_eq!(hive.bot().await["restarts"], 1);
}
