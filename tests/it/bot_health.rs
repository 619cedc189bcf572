//! Health of bots: work goes to those that can do it.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::TestApp;

/// Puts a bot in place and launches it.
async fn launch(app: &TestApp, name: &str, executor: Value, places: u32) {
    let spec = json!({"executor": executor,
        "capabilities": {"specializations": ["shared"], "max_concurrent_tasks": places}});
    let path = format!("/api/v1/bots/{name}");
    app.put(&path, &spec).await.is(201);
    let launched = app.post(&format!("{path}/launch"), &Value::Null).await;
    launched.is(202);
}

/// The program of a bot that fails each task.
fn failing() -> Value {
    json!({"kind": "command", "command": ["sh", "-c", "echo broken >&2; exit 3"]})
}

/// The program of a bot that answers with the task.
fn working() -> Value {
    json!({"kind": "command", "command": ["cat"]})
}

/// A task whose next attempt follows at once.
fn retried_at_once(attempts: u32) -> Value {
    json!({"type": "shared", "content": "x", "max_attempts": attempts,
        "retry": {"min_ms": 0, "max_ms": 0, "jitter": 0}})
}

#[tokio::test]
async fn a_task_that_failed_is_tried_on_another_bot() {
    let app = TestApp::start().await;
    // The bad bot has more slots, so it is the least loaded one at each attempt.
    launch(&app, "bad", failing(), 8).await;
    launch(&app, "good", working(), 2).await;
    for name in ["bad", "good"] {
        app.until("the bot is healthy", async |app| {
            app.get(&format!("/api/v1/bots/{name}")).await.body["status"] == "healthy"
        })
        .await;
    }
    for _ in 0..4 {
        let id = app.submit(&retried_at_once(2)).await;
        let result = app.result(&id).await;
        assert_eq!(result["success"], true, "{result}");
        assert_eq!(result["bot_id"], "good", "{result}");
    }
}

#[tokio::test]
async fn a_task_that_failed_is_tried_on_its_only_bot_again() {
    let app = TestApp::start().await;
    launch(&app, "bad", failing(), 2).await;
    let id = app.submit(&retried_at_once(3)).await;
    let result = app.result(&id).await;
    assert_eq!(
        (&result["success"], &result["attempt"]),
        (&json!(false), &json!(3)),
        "{result}"
    );
}

/// The program of a bot that fails each task until `mended` is there.
fn failing_until(mended: &Path) -> Value {
    let script = format!("test -e {} && cat || exit 3", mended.display());
    json!({"kind": "command", "command": ["sh", "-c", script]})
}

async fn bot(app: &TestApp, name: &str) -> Value {
    app.get(&format!("/api/v1/bots/{name}")).await.is(200).body
}

async fn actions_of(app: &TestApp, action: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?action={action}");
    let page = app.get(&path).await.is(200).body;
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_queue_drains_through_the_good_bot_beside_a_bad_one() {
    let circuit = ["bots.circuit.failures=3", "bots.circuit.open_for=5m"];
    let app = TestApp::start_with(&[&["bots.seed=[]"], &circuit[..]].concat()).await;
    launch(&app, "bad", failing(), 4).await;
    launch(&app, "good", working(), 1).await;
    let batch = json!({"tasks": vec![retried_at_once(3); 30]});
    let accepted = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    for id in accepted["ids"].as_array().unwrap() {
        let result = app.result(id.as_str().unwrap()).await;
        assert_eq!(
            (&result["success"], &result["bot_id"]),
            (&json!(true), &json!("good")),
            "{result}"
        );
    }
    let bad = bot(&app, "bad").await;
    assert_eq!(
        (&bad["status"], &bad["circuit"]["state"]),
        (&json!("degraded"), &json!("open")),
        "{bad}"
    );
    assert!(bad["circuit"]["failures"].as_u64() >= Some(3), "{bad}");
    assert!(bad["circuit"]["until"].is_string(), "{bad}");
    // Only tasks that ran beside each other when it opened have failed.
    assert!(bad["tasks_failed"].as_u64() <= Some(8), "{bad}");
    let good = bot(&app, "good").await;
    assert!(good["circuit"].is_null(), "{good}");
    let opened = actions_of(&app, "bot.circuit_opened").await;
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!(opened[0]["target"]["id"], "bad");
    assert_eq!(opened[0]["details"]["failure_class"], "internal");
    let metrics = app.get("/metrics").await.is(200).body;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "deia_bot_circuit_open{bot=\"bad\"} 1",
        "deia_bot_circuit_open{bot=\"good\"} 0",
        "deia_bot_up{bot=\"bad\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn deaths_of_a_bot_open_its_circuit() {
    let settings = [
        "bots.seed=[]",
        "bots.restart.min=1ms",
        "bots.restart.max=5ms",
        "bots.restart.restarts=1000",
        "bots.circuit.failures=3",
        "bots.circuit.open_for=5m",
    ];
    let app = TestApp::start_with(&settings).await;
    let crashing = json!({"kind": "simulated", "crash_rate": 1.0, "latency_ms": 1});
    launch(&app, "bad", crashing, 2).await;
    let batch = json!({"tasks": vec![retried_at_once(1); 12]});
    let accepted = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    app.until("the circuit is open", async |app| {
        let bad = app.get("/api/v1/bots/bad").await.is(200).body;
        bad["circuit"]["state"] == "open" && bad["status"] == "degraded"
    })
    .await;
    let opened = actions_of(&app, "bot.circuit_opened").await;
    assert_eq!(opened.len(), 1, "{opened:?}");
    let mut waiting = 0;
    for id in accepted["ids"].as_array().unwrap() {
        let path = format!("/api/v1/tasks/{}", id.as_str().unwrap());
        let task = app.get(&path).await.is(200).body;
        waiting += u32::from(task["status"] != "failed");
    }
    assert!(waiting >= 8, "the queue outlives the bot: {waiting}");
}

#[tokio::test]
async fn one_task_tries_behind_an_open_circuit_and_closes_it() {
    let dir = tempfile::tempdir().unwrap();
    let mended = dir.path().join("mended");
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "bots.circuit.failures=2",
        "bots.circuit.open_for=100ms",
        "bots.circuit.max_open=200ms",
    ])
    .await;
    launch(&app, "late", failing_until(&mended), 4).await;
    let batch = json!({"tasks": vec![retried_at_once(30); 4]});
    let accepted = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    app.until("the circuit opened more than once", async |app| {
        actions_of(app, "bot.circuit_opened").await.len() > 1
    })
    .await;
    std::fs::write(&mended, "").unwrap();
    for id in accepted["ids"].as_array().unwrap() {
        let result = app.result(id.as_str().unwrap()).await;
        assert_eq!(result["success"], true, "{result}");
    }
    let late = bot(&app, "late").await;
    assert_eq!(late["status"], "healthy", "{late}");
    assert_eq!(actions_of(&app, "bot.circuit_closed").await.len(), 1);
}

#[tokio::test]
async fn tasks_wait_uncounted_while_all_circuits_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let mended = dir.path().join("mended");
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "bots.circuit.failures=2",
        "bots.circuit.open_for=5m",
    ])
    .await;
    launch(&app, "late", failing_until(&mended), 1).await;
    for _ in 0..2 {
        let id = app.submit(&retried_at_once(1)).await;
        assert_eq!(app.result(&id).await["success"], false);
    }
    let id = app.submit(&retried_at_once(1)).await;
    let mut why = Value::Null;
    app.until("the task waits for the circuit", async |app| {
        let path = format!("/api/v1/tasks/{id}/explain");
        why = app.get(&path).await.is(200).body;
        why["hold"] == "bots_are_cut_off"
    })
    .await;
    let detail = why["detail"].as_str().unwrap();
    assert!(
        detail.contains("bot late") && detail.contains("circuit"),
        "{why}"
    );
    assert!(why["until"].is_string(), "{why}");
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(
        (&task["status"], &task["failures"]),
        (&json!("queued"), &json!(0)),
        "{task}"
    );
    // To launch it anew closes the circuit.
    std::fs::write(&mended, "").unwrap();
    let path = "/api/v1/bots/late";
    app.post(&format!("{path}/stop"), &Value::Null)
        .await
        .is(202);
    app.post(&format!("{path}/launch"), &Value::Null)
        .await
        .is(202);
    assert_eq!(app.result(&id).await["success"], true);
    assert!(bot(&app, "late").await["circuit"].is_null());
}
