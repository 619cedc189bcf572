//! Journeys of an operator: bots and the tree.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, silent, task, upper};

#[tokio::test]
async fn a_bot_is_put_launched_stopped_and_removed() {
    let app = TestApp::start().await;
    let path = "/api/v1/bots/upper-1";
    let spec = json!({"executor": upper(), "capabilities": {"bot_type": "general",
        "specializations": [], "max_concurrent_tasks": 4}});
    let made = app.put(path, &spec).await.is(201);
    assert_eq!(
        (made.header("location"), made.header("etag")),
        (path, "\"1\"")
    );
    assert_eq!(
        (&made.body["status"], &made.body["desired"]),
        (&json!("offline"), &json!("stopped"))
    );
    app.post(&format!("{path}/launch"), &Value::Null)
        .await
        .is(202);
    let id = app.submit(&task("hello")).await;
    assert_eq!(app.result(&id).await["output"], "HELLO");
    app.delete(path).await.refuses(409, "bot_in_use");

    let stopped = app
        .post(&format!("{path}/stop"), &Value::Null)
        .await
        .is(202);
    assert_eq!(stopped.body["desired"], "stopped");
    app.until("it is stopped", async |app| {
        app.get(path).await.body["status"] == "stopped"
    })
    .await;
    let bots = app.get("/api/v1/bots").await.is(200).body;
    assert_eq!(bots["items"].as_array().unwrap().len(), 1);
    app.until("it is removed", async |app| {
        app.delete(path).await.status == 204
    })
    .await;
    app.get(path).await.refuses(404, "not_found");
    app.delete(path).await.refuses(404, "not_found");
}

/// A bot whose tasks end when the file `go` is in its directory.
fn patient() -> Value {
    let script = "while [ ! -e go ]; do sleep 0.02; done; cat";
    json!({"kind": "command", "command": ["sh", "-c", script]})
}

async fn is_running(app: &TestApp, id: &str) {
    let path = format!("/api/v1/tasks/{id}/status");
    app.until("it runs", async |app| {
        app.get(&path).await.body["status"] == "running"
    })
    .await;
}

async fn is_stopped(app: &TestApp, bot: &str) {
    let path = format!("/api/v1/bots/{bot}");
    app.until("it is stopped", async |app| {
        let bot = app.get(&path).await.body;
        bot["status"] == "stopped" && bot["desired"] == "stopped" && bot["running_tasks"] == 0
    })
    .await;
}

#[tokio::test]
async fn a_draining_bot_finishes_what_it_has_and_stops() {
    let app = TestApp::start().await;
    let order = async |what: &str| {
        let path = format!("/api/v1/bots/patient/{what}");
        app.post(&path, &Value::Null).await.is(202).body
    };
    app.bot("patient", patient(), &[]).await;
    let first = app.submit(&task("first")).await;
    is_running(&app, &first).await;
    let told = order("drain").await;
    assert_eq!(
        (&told["status"], &told["desired"]),
        (&json!("draining"), &json!("draining"))
    );
    app.delete("/api/v1/bots/patient")
        .await
        .refuses(409, "bot_in_use");
    let drained_by_now = || async {
        // The bot has its order once the tree was compared: a task that keeps waiting shows it.
        let waiting = app.submit(&task("waiting")).await;
        let path = format!("/api/v1/tasks/{waiting}/result?wait_ms=1500");
        app.get(&path).await.refuses(409, "task_not_finished");
        app.get(&format!("/api/v1/tasks/{waiting}/status"))
            .await
            .body
    };
    // Launched again it goes on with what it has, and takes what waited.
    let waiting = drained_by_now().await;
    assert_eq!(waiting["status"], "queued", "{waiting}");
    let told = order("launch").await;
    assert_eq!(told["desired"], "launched");
    is_running(&app, waiting["id"].as_str().unwrap()).await;
    let kept = app.get(&format!("/api/v1/tasks/{first}/status")).await.body;
    assert_eq!(
        (&kept["status"], &kept["attempt"]),
        (&json!("running"), &json!(1))
    );

    order("drain").await;
    order("drain").await;
    let late = drained_by_now().await;
    assert_eq!(late["status"], "queued", "{late}");
    std::fs::write(app.data_dir().join("work/patient/go"), "").unwrap();
    for (id, output) in [
        (first.as_str(), "first"),
        (waiting["id"].as_str().unwrap(), "waiting"),
    ] {
        let result = app.result(id).await;
        // A task that was on its way when the bot began to drain may come back once.
        assert_eq!(result["output"], output, "{result}");
    }
    is_stopped(&app, "patient").await;
    assert_eq!(order("drain").await["desired"], "stopped");
    let late = late["id"].as_str().unwrap();
    let path = format!("/api/v1/tasks/{late}/status");
    assert_eq!(app.get(&path).await.body["status"], "queued");
    order("launch").await;
    assert_eq!(app.result(late).await["output"], "waiting");
    app.post("/api/v1/bots/nobody/drain", &Value::Null)
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn a_stop_ends_a_drain_at_once() {
    let app = TestApp::start().await;
    app.bot("patient", patient(), &[]).await;
    let id = app.submit(&task("x")).await;
    is_running(&app, &id).await;
    for order in ["drain", "stop"] {
        let path = format!("/api/v1/bots/patient/{order}");
        app.post(&path, &Value::Null).await.is(202);
    }
    is_stopped(&app, "patient").await;
    let status = app.get(&format!("/api/v1/tasks/{id}/status")).await.body;
    assert_eq!(status["status"], "queued", "it was given back");
}

#[tokio::test]
async fn a_drain_outlives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = TestApp::start_in(&data, &["bots.seed=[]"]).await;
    app.bot("patient", patient(), &[]).await;
    let id = app.submit(&task("x")).await;
    is_running(&app, &id).await;
    app.post("/api/v1/bots/patient/drain", &Value::Null)
        .await
        .is(202);
    app.kill_9();
    let app = TestApp::start_in(&data, &["bots.seed=[]"]).await;
    is_stopped(&app, "patient").await;
    let status = app.get(&format!("/api/v1/tasks/{id}/status")).await.body;
    assert_eq!(status["status"], "queued", "nobody took it");
}

#[tokio::test]
async fn changes_are_made_on_the_version_that_was_read() {
    let app = TestApp::start().await;
    let path = "/api/v1/bots/b";
    let spec = json!({"executor": upper()});
    let put = |name: &'static str, value: &'static str| {
        let request = app.request_as(&app.admin, Method::PUT, path);
        app.send(request.header(name, value).json(&spec))
    };
    put("If-Match", "*").await.refuses(412, "version_mismatch");
    put("If-Match", "\"1\"")
        .await
        .refuses(412, "version_mismatch");
    assert_eq!(
        put("If-None-Match", "*").await.is(201).header("etag"),
        "\"1\""
    );
    put("If-None-Match", "*")
        .await
        .refuses(412, "version_mismatch");
    assert_eq!(
        put("If-Match", "\"1\"").await.is(200).header("etag"),
        "\"2\""
    );
    put("If-Match", "\"1\"")
        .await
        .refuses(412, "version_mismatch");
    assert_eq!(put("If-Match", "*").await.is(200).header("etag"), "\"3\"");
    assert_eq!(app.get(path).await.is(200).header("etag"), "\"3\"");
    for wrong in ["3", "W/\"3\"", "\"x\"", ""] {
        put("If-Match", wrong).await.refuses(400, "invalid_header");
    }
    let delete = app
        .request_as(&app.admin, Method::DELETE, path)
        .header("If-Match", "\"1\"");
    app.send(delete).await.refuses(400, "invalid_header");
    assert_eq!(
        app.get(path).await.header("etag"),
        "\"3\"",
        "nothing changed"
    );
}

#[tokio::test]
async fn the_log_of_a_bot_is_read() {
    let app = TestApp::start().await;
    let script =
        json!({"kind": "command", "command": ["sh", "-c", "echo to the log >&2; echo done"]});
    app.bot("talker", script, &[]).await;
    let id = app.submit(&task("x")).await;
    assert_eq!(app.result(&id).await["output"], "done\n");
    app.until("the line is there", async |app| {
        let log = app
            .get("/api/v1/bots/talker/logs?lines=50")
            .await
            .is(200)
            .body;
        log["lines"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line.as_str().unwrap().contains("to the log"))
    })
    .await;
    app.get("/api/v1/bots/nobody/logs")
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn the_tree_is_shown_whole_and_by_path() {
    let app = TestApp::start().await;
    app.bot("silent", silent(), &[]).await;
    let tree = app.get("/api/v1/supervisors").await.is(200).body;
    assert_eq!(
        (&tree["name"], &tree["kind"]),
        (&json!("hive"), &json!("supervisor"))
    );
    let mut left = vec![tree.clone()];
    let mut paths = Vec::new();
    while let Some(node) = left.pop() {
        assert_eq!(node["state"], "running", "{node:#}");
        paths.push(node["path"].as_str().unwrap().to_owned());
        left.extend(node["children"].as_array().unwrap().iter().cloned());
    }
    for path in [
        "hive/ledger",
        "hive/core/scheduler",
        "hive/core/bots/silent",
        "hive/front",
    ] {
        assert!(paths.iter().any(|known| known == path), "{path}: {paths:?}");
    }
    for path in &paths {
        let node = app
            .get(&format!("/api/v1/supervisors/{path}"))
            .await
            .is(200);
        assert_eq!(node.body["path"], *path);
    }
    for path in ["nobody", "hive/nobody", "hive/", "hive//core", "core"] {
        app.get(&format!("/api/v1/supervisors/{path}"))
            .await
            .refuses(404, "not_found");
    }
}
