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
async fn secrets_of_a_bot_are_not_shown() {
    let app = TestApp::start().await;
    let spec =
        json!({"executor": {"kind": "command", "command": ["env"], "env": {"TOKEN": "hush-hush"}}});
    let made = app.put("/api/v1/bots/b", &spec).await.is(201);
    let read = app.get("/api/v1/bots/b").await.is(200);
    let list = app.get("/api/v1/bots").await.is(200);
    for body in [made.body, read.body, list.body] {
        assert!(!body.to_string().contains("hush-hush"), "{body}");
    }
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
