//! The supervision tree, looked at and worked on from the outside.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, task, upper};

fn at(path: &str, action: &str) -> String {
    format!("/api/v1/supervisors/{path}/{action}")
}

async fn node(app: &TestApp, path: &str) -> Value {
    app.get(&format!("/api/v1/supervisors/{path}"))
        .await
        .is(200)
        .body
}

#[actix_rt::test]
async fn a_part_is_restarted_and_the_work_goes_on() {
    let app = TestApp::start().await;
    app.bot("upper-1", upper(), &["general"]).await;
    for path in [
        "hive/core/scheduler",
        "hive/core/launcher",
        "hive/core",
        "hive/ledger",
    ] {
        let before = node(&app, path).await["incarnation"].as_u64().unwrap();
        let after = app
            .post(&at(path, "restart"), &Value::Null)
            .await
            .is(200)
            .body;
        assert_eq!(
            (&after["path"], &after["state"]),
            (&json!(path), &json!("running"))
        );
        assert!(after["incarnation"].as_u64().unwrap() > before, "{after:#}");
        let id = app.submit(&task("hello")).await;
        assert_eq!(app.result(&id).await["output"], "HELLO", "after {path}");
    }
}

#[actix_rt::test]
async fn a_suspension_says_who_why_and_since_when_until_it_ends() {
    let app = TestApp::start().await;
    app.bot("upper-1", upper(), &["general"]).await;
    let path = "hive/core/bots/upper-1";
    for (reason, pointer) in [(json!("x".repeat(1_025)), "/reason"), (json!(7), "/reason")] {
        let refused = app
            .post(&at(path, "suspend"), &json!({"reason": reason}))
            .await
            .is(422);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer);
        assert_eq!(node(&app, path).await["state"], "running");
    }
    app.post(&at(path, "suspend"), &json!({"reason": "too slow"}))
        .await
        .is(200);
    let suspended = node(&app, path).await["suspended"].clone();
    assert_eq!(
        (&suspended["by"], &suspended["why"]),
        (&json!("admin"), &json!("too slow"))
    );
    assert!(suspended["since"].is_string(), "{suspended:#}");
    app.post(&at(path, "resume"), &Value::Null).await.is(200);
    assert_eq!(node(&app, path).await.get("suspended"), None);
}

#[actix_rt::test]
async fn threads_are_listed_with_the_actors_on_them() {
    let app = TestApp::start().await;
    app.bot("upper-1", upper(), &["general"]).await;
    let arbiters = app.get("/api/v1/arbiters").await.is(200).body;
    let items = arbiters["items"].as_array().unwrap();
    assert_eq!(items[0]["name"], "tree");
    let bot = node(&app, "hive/core/bots/upper-1").await;
    let of_bots = items
        .iter()
        .find(|item| item["name"] == bot["arbiter"])
        .unwrap();
    assert_eq!(
        (&of_bots["group"], &of_bots["blocked"]),
        (&json!("bots"), &json!(false))
    );
}

#[actix_rt::test]
async fn a_bot_is_suspended_and_resumed_and_that_is_no_failure() {
    let app = TestApp::start().await;
    app.bot("upper-1", upper(), &["general"]).await;
    let path = "hive/core/bots/upper-1";
    let suspended = app
        .post(&at(path, "suspend"), &Value::Null)
        .await
        .is(200)
        .body;
    assert_eq!(suspended["state"], "suspended");
    let again = app
        .post(&at(path, "suspend"), &Value::Null)
        .await
        .is(200)
        .body;
    assert_eq!(again["state"], "suspended", "twice is as once");
    app.until("the bot shows it", async |app| {
        app.get("/api/v1/bots/upper-1").await.body["status"] == "stopped"
    })
    .await;
    let id = app.submit(&task("hello")).await;
    let early = app.get(&format!("/api/v1/tasks/{id}/result")).await;
    early.refuses(409, "task_not_finished");
    let resumed = app
        .post(&at(path, "resume"), &Value::Null)
        .await
        .is(200)
        .body;
    assert_eq!(
        (&resumed["state"], &resumed["restarts"]),
        (&json!("running"), &json!(0))
    );
    assert_eq!(app.result(&id).await["output"], "HELLO");
    let again = app.post(&at(path, "resume"), &Value::Null).await;
    again.refuses(409, "part_refused");
}

#[actix_rt::test]
async fn causes_of_past_exits_are_told() {
    let app = TestApp::start_with(&["bots.seed=[]", "bots.restart.min=1ms"]).await;
    let crashing = json!({"kind": "simulated", "crash_rate": 1});
    app.bot("crashes", crashing, &["general"]).await;
    app.submit(&task("x")).await;
    app.until("its exits are there", async |app| {
        let node = node(app, "hive/core/bots/crashes").await;
        let exits = node["exits"].as_array().unwrap();
        exits
            .iter()
            .any(|exit| exit["reason"] == "failed" && exit["message"] == "simulated crash")
    })
    .await;
}

#[actix_rt::test]
async fn what_cannot_be_done_is_refused() {
    let app = TestApp::start().await;
    for (path, action) in [
        ("hive", "restart"),
        ("hive", "suspend"),
        ("hive/front", "restart"),
        ("hive/front", "suspend"),
        ("hive/core", "suspend"),
        ("hive/ledger", "suspend"),
    ] {
        let refused = app.post(&at(path, action), &Value::Null).await;
        refused.refuses(409, "part_refused");
    }
    app.post(&at("hive/nowhere", "restart"), &Value::Null)
        .await
        .refuses(404, "not_found");
    let operator = app.key("olga", "operator").await;
    let denied = app
        .post_as(&operator, &at("hive/core", "restart"), &Value::Null)
        .await;
    denied.refuses(403, "permission_denied");
    app.send(app.request(Method::POST, &at("hive/core", "restart")))
        .await
        .refuses(401, "key_missing");
}
