//! Requests are recorded as events as far as `audit.api_calls` says, and wait for nothing.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestApp, all_events, store_in, task};

const FULL: [&str; 2] = ["bots.seed=[]", "audit.api_calls=full"];

/// Returns a request with an id of its own.
fn named(request: RequestBuilder, id: &str) -> RequestBuilder {
    request.header("x-request-id", id)
}

/// Returns the recorded requests of a user, the oldest first.
async fn calls_of(app: &TestApp, user: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?limit=1000&action=api.call&actor={user}");
    let page = app.get(&path).await.is(200).body;
    let items = page["items"].as_array().unwrap();
    items.iter().rev().cloned().collect()
}

/// Waits until that many requests of a user are recorded, and returns them.
async fn until_calls(app: &TestApp, user: &str, n: usize) -> Vec<Value> {
    let what = format!("{n} requests of {user} are recorded");
    app.until(&what, async |app| calls_of(app, user).await.len() >= n)
        .await;
    calls_of(app, user).await
}

/// Stops the server, and returns how often each request id is in its log.
async fn recorded_ids(mut app: TestApp) -> BTreeMap<String, usize> {
    assert!(app.stop().success());
    let mut ids = BTreeMap::new();
    for event in all_events(&store_in(app.data_dir())).await {
        if event.action == deia_model::Action::ApiCall {
            let id = event.details["request_id"].as_str().unwrap();
            *ids.entry(id.to_owned()).or_default() += 1;
        }
    }
    ids
}

#[actix_rt::test]
async fn requests_are_recorded_without_their_content() {
    let app = TestApp::start_with(&FULL).await;
    let ada = app.key("ada", "external").await;
    let of_ada = |method, path: &str| app.request_as(&ada, method, path);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let submit = of_ada(Method::POST, "/api/v1/tasks/submit").header("traceparent", parent);
    let pause = of_ada(Method::POST, "/api/v1/queue/pause").json(&json!({}));
    let wrong_key = app.request_as("deia_wrong", Method::GET, "/api/v1/tasks");
    for (id, request, status) in [
        ("c-1", submit.json(&task("HIDDEN-1")), 202),
        (
            "c-2",
            of_ada(Method::GET, "/api/v1/tasks?tag=HIDDEN-2"),
            200,
        ),
        ("c-3", of_ada(Method::GET, "/api/v1/bots/HIDDEN-3"), 403),
        ("c-4", pause, 403),
        ("c-5", of_ada(Method::GET, "/HIDDEN-5"), 404),
        ("c-6", wrong_key, 401),
        ("c-7", app.request(Method::GET, "/api/v1/tasks"), 401),
        ("c-8", app.request(Method::GET, "/livez"), 200),
    ] {
        app.send(named(request, id)).await.is(status);
    }
    let calls = until_calls(&app, "ada", 5).await;
    let mut found = Vec::new();
    for call in &calls {
        let details = call["details"].as_object().unwrap();
        let names: Vec<_> = details.keys().map(String::as_str).collect();
        let expected = ["address", "duration_ms", "method", "request_id", "status"];
        assert_eq!(names, expected);
        assert_eq!(details["address"], "127.0.0.1");
        assert!(details["duration_ms"].is_u64(), "{call:#}");
        assert_eq!(
            (&call["target"]["type"], &call["level"]),
            (&json!("route"), &json!("info"))
        );
        found.push(json!([
            details["request_id"],
            details["method"],
            call["target"]["id"],
            details["status"],
            call["result"],
        ]));
    }
    let expected = [
        json!(["c-1", "POST", "/api/v1/tasks/submit", 202, "success"]),
        json!(["c-2", "GET", "/api/v1/tasks", 200, "success"]),
        json!(["c-3", "GET", "/api/v1/bots/{id}", 403, "failure"]),
        json!(["c-4", "POST", "/api/v1/queue/pause", 403, "failure"]),
        json!(["c-5", "GET", "unmatched", 404, "failure"]),
    ];
    assert_eq!(found, expected);
    assert_eq!(calls[0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let metrics = app.get("/metrics").await.is(200).body;
    let lost = "deia_audit_api_calls_total{result=\"lost\"} 0\n";
    assert!(metrics.as_str().unwrap().contains(lost), "{metrics}");

    let text: Vec<_> = calls.iter().map(Value::to_string).collect();
    assert!(!text.concat().contains("HIDDEN"), "{text:#?}");
    let ids = recorded_ids(app).await;
    for anonymous in ["c-6", "c-7", "c-8"] {
        assert!(!ids.contains_key(anonymous), "{ids:?}");
    }
}

#[actix_rt::test]
async fn nothing_is_recorded_unless_it_is_asked_for() {
    let app = TestApp::start().await;
    app.submit(&task("x")).await;
    app.get("/api/v1/tasks").await.is(200);
    assert_eq!(recorded_ids(app).await, BTreeMap::new());
}

/// The id decides, so a request that is repeated is recorded again or not at all; and what
/// waits at the end is written.
#[actix_rt::test]
async fn sample_is_chosen_by_the_ids_of_requests() {
    let settings = [
        "bots.seed=[]",
        "audit.api_calls=sampled",
        "audit.api_sample=0.5",
    ];
    let app = TestApp::start_with(&settings).await;
    for i in 0..120 {
        let request = app.request_as(&app.admin, Method::GET, "/api/v1/auth/whoami");
        app.send(named(request, &format!("c-{}", i % 60)))
            .await
            .is(200);
    }
    let mut ids = recorded_ids(app).await;
    ids.retain(|id, _| id.starts_with("c-"));
    assert!((10..=50).contains(&ids.len()), "{ids:?}");
    assert!(ids.values().all(|times| *times == 2), "{ids:?}");
}

#[actix_rt::test]
async fn requests_do_not_wait_for_a_store_that_cannot_be_written() {
    let app = TestApp::start_with(&FULL).await;
    let ada = app.key("ada", "viewer").await;
    let db = Connection::open(app.data_dir().join("deia.db")).unwrap();
    db.busy_timeout(PATIENCE).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..50 {
        app.get_as(&ada, "/api/v1/auth/whoami").await.is(200);
    }
    assert_eq!(calls_of(&app, "ada").await, [Value::Null; 0]);
    db.execute_batch("ROLLBACK").unwrap();
    let calls = until_calls(&app, "ada", 50).await;
    assert_eq!(calls.len(), 50);
    assert!(
        calls
            .iter()
            .all(|call| call["details"].get("lost").is_none())
    );
}
