//! Resources that the programs of bots use, and their limits.

use serde_json::{Value, json};

use crate::support::TestApp;

const QUICK: [&str; 3] = [
    "bots.seed=[]",
    "bots.measure_every=100ms",
    "bots.term_grace=200ms",
];

/// Puts a bot in place that runs that script, and launches it.
async fn launch(app: &TestApp, script: &str, limits: Value) {
    let spec = json!({"limits": limits,
        "executor": {"kind": "command", "command": ["sh", "-c", script]}});
    let path = "/api/v1/bots/b";
    app.put(path, &spec).await.is(201);
    let launched = app.post(&format!("{path}/launch"), &Value::Null).await;
    launched.is(202);
}

fn task() -> Value {
    json!({"type": "shared", "content": "x", "max_attempts": 1})
}

/// A script that holds that many MiB in a process below its shell.
fn holds(mib: u32) -> String {
    format!("(x=$(head -c {mib}M /dev/zero | tr '\\0' x); sleep 60; echo ${{#x}}); true")
}

#[tokio::test]
async fn use_of_all_processes_of_an_attempt_is_shown() {
    let app = TestApp::start_with(&QUICK).await;
    let script = format!("{{ {}; }} & while :; do :; done", holds(24));
    launch(&app, &script, json!({})).await;
    let id = app.submit(&task()).await;
    let mut bot = Value::Null;
    app.until("the use is shown", async |app| {
        bot = app.get("/api/v1/bots/b").await.is(200).body;
        bot["cpu_percent"].as_f64() > Some(10.0)
            && bot["memory_bytes"].as_u64() > Some(24 << 20)
            && bot["processes"].as_u64() >= Some(3)
            && bot["descriptors"].as_u64() >= Some(6)
    })
    .await;
    let metrics = app.get("/metrics").await.is(200).body;
    let metrics = metrics.as_str().unwrap();
    for name in ["cpu_ratio", "memory_bytes", "open_descriptors", "processes"] {
        let line = format!("\ndeia_bot_{name}{{bot=\"b\"}} ");
        let value = metrics.split(&line).nth(1).unwrap();
        let value = value.split('\n').next().unwrap();
        assert!(value.parse::<f64>().unwrap() > 0.0, "{line}{value}");
    }
    let cancel = format!("/api/v1/tasks/{id}/cancel");
    app.post(&cancel, &Value::Null).await;
    app.until("nothing is measured any more", async |app| {
        let bot = app.get("/api/v1/bots/b").await.is(200).body;
        bot["cpu_percent"].is_null() && bot["memory_bytes"].is_null()
    })
    .await;
}

#[tokio::test]
async fn an_attempt_over_a_limit_is_ended_and_says_why() {
    let busy = "(while :; do :; done) & wait".to_owned();
    let many = "for i in 1 2 3 4 5 6; do sleep 60 & done; wait".to_owned();
    for (script, limits, limit, class) in [
        (
            holds(64),
            json!({"memory_bytes": 32 << 20}),
            "memory_bytes",
            "internal",
        ),
        (
            busy,
            json!({"cpu_seconds": 1, "on_excess": "fail"}),
            "cpu_seconds",
            "budget",
        ),
        (many, json!({"processes": 4}), "processes", "internal"),
    ] {
        let app = TestApp::start_with(&QUICK).await;
        launch(&app, &script, limits.clone()).await;
        let id = app.submit(&task()).await;
        let result = app.result(&id).await;
        assert_eq!(
            (&result["success"], &result["failure_class"]),
            (&json!(false), &json!(class)),
            "{limits}: {result}"
        );
        let error = result["error"].as_str().unwrap();
        assert!(error.contains(&format!("limits.{limit}")), "{result}");
        let bot = app.get("/api/v1/bots/b").await.is(200).body;
        assert_eq!(bot["limits"], limits, "{bot}");
        let log = app.get("/api/v1/bots/b/logs").await.is(200).body;
        assert!(log.to_string().contains(limit), "{log}");
        app.until("no process is left", async |app| {
            let bot = app.get("/api/v1/bots/b").await.is(200).body;
            bot["pids"] == json!([]) && bot["processes"].is_null()
        })
        .await;
    }
}

/// A worker in Python that carries out `body` for each task.
fn worker(body: &str) -> String {
    format!(
        r#"
import json, os, subprocess, sys, time
def say(**m):
    sys.stdout.write(json.dumps(m) + "\n"); sys.stdout.flush()
say(type="hello", protocol=1, max_concurrent=4)
for line in sys.stdin:
    t = json.loads(line)
    if t["type"] == "shutdown": break
    if t["type"] != "task": continue
    if t["content"] == "fine":
        say(type="result", id=t["id"], attempt=t["attempt"], output="done")
        continue
    {body}
"#
    )
}

#[tokio::test]
async fn worker_over_a_limit_is_ended_and_its_sole_task_says_why() {
    let dir = tempfile::tempdir().unwrap();
    for (body, limits, limit, class) in [
        (
            "held = bytes(1) * (96 << 20); time.sleep(60)",
            json!({"memory_bytes": 64 << 20}),
            "memory_bytes",
            "internal",
        ),
        (
            "while True: pass",
            json!({"cpu_seconds": 1, "on_excess": "fail"}),
            "cpu_seconds",
            "budget",
        ),
        (
            // The start of an interpreter may take some processes of its own.
            "for _ in range(30): subprocess.Popen(['sleep', '60'])",
            json!({"processes": 20}),
            "processes",
            "internal",
        ),
    ] {
        let app = TestApp::start_with(&[&QUICK[..], &["bots.restart.min=50ms"]].concat()).await;
        let path = dir.path().join("worker.py");
        std::fs::write(&path, worker(body)).unwrap();
        let spec = json!({"limits": limits,
            "executor": {"kind": "worker", "command": ["python3", "-u", path]}});
        app.put("/api/v1/bots/b", &spec).await.is(201);
        let launched = app.post("/api/v1/bots/b/launch", &Value::Null).await;
        launched.is(202);
        let id = app.submit(&task()).await;
        let result = app.result(&id).await;
        assert_eq!(
            (&result["success"], &result["failure_class"]),
            (&json!(false), &json!(class)),
            "{limits}: {result}"
        );
        let name = format!("limits.{limit}");
        let error = result["error"].as_str().unwrap();
        assert!(error.contains(&name), "{result}");
        // The next incarnation works, and its time counts from its own tasks.
        let mut fine = task();
        fine["content"] = json!("fine");
        let id = app.submit(&fine).await;
        assert_eq!(app.result(&id).await["output"], "done");
        let bot = app.get("/api/v1/bots/b").await.is(200).body;
        assert_eq!(bot["restarts"], 1, "{bot}");
        assert!(bot["last_exit"].as_str().unwrap().contains(&name), "{bot}");
        app.until("the use of the worker is shown", async |app| {
            let bot = app.get("/api/v1/bots/b").await.is(200).body;
            bot["memory_bytes"].as_u64() > Some(1 << 20) && bot["processes"] == 1
        })
        .await;
    }
}

#[tokio::test]
async fn descriptors_of_a_program_are_limited_by_the_kernel() {
    let app = TestApp::start_with(&QUICK).await;
    // The limit cannot be raised any more a moment after the start.
    let script = "ulimit -n; sleep 0.5; ulimit -Hn; (ulimit -n 1000) 2>/dev/null && echo raised";
    launch(&app, &format!("{script}; true"), json!({"descriptors": 40})).await;
    let id = app.submit(&task()).await;
    let result = app.result(&id).await;
    assert_eq!(result["output"], "40\n40\n", "{result}");
    // The runner serves other attempts, and keeps its own limit.
    let spec = json!({"executor": {"kind": "command", "command": ["sh", "-c", "ulimit -n"]}});
    app.put("/api/v1/bots/b", &spec).await.is(200);
    let id = app.submit(&task()).await;
    assert_ne!(app.result(&id).await["output"], "40\n");
}

#[tokio::test]
async fn limits_that_cannot_be_kept_are_refused() {
    let app = TestApp::start_with(&QUICK).await;
    let program = json!({"kind": "command", "command": ["cat"]});
    for (executor, limits, pointer) in [
        (
            program.clone(),
            json!({"memory_bytes": 1}),
            "/limits/memory_bytes",
        ),
        (
            program.clone(),
            json!({"descriptors": 3}),
            "/limits/descriptors",
        ),
        (program.clone(), json!({"memory": 1}), "/limits/memory"),
        (
            program,
            json!({"on_excess": "explode"}),
            "/limits/on_excess",
        ),
        (
            json!({"kind": "simulated"}),
            json!({"processes": 9}),
            "/limits",
        ),
    ] {
        let spec = json!({"executor": executor, "limits": limits});
        let refused = app.put("/api/v1/bots/b", &spec).await.is(422).body;
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
}
