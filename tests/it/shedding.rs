//! Levels from the outside: requests that a level refuses, and those that go on.

mod table;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, silent, task};

async fn start() -> TestApp {
    start_with(&[]).await
}

/// A server whose level only the test sets.
async fn start_with(settings: &[&str]) -> TestApp {
    let own = [
        "bots.seed=[]",
        "limits.enabled=false",
        "degradation.enabled=false",
    ];
    TestApp::start_with(&[&own, settings].concat()).await
}

/// Puts a level in force.
async fn set(app: &TestApp, level: u8) {
    let mode = json!({"level": level, "reason": "a test demands it"});
    let mode = app.post("/api/degradation/mode", &mode).await.is(200).body;
    assert_eq!(mode["level"], level, "{mode:#}");
}

fn of(priority: &str) -> Value {
    json!({"type": "general", "content": "x", "priority": priority})
}

#[actix_rt::test]
async fn level_3_refuses_tasks_of_p2_and_p3_with_a_pointer_to_each() {
    let app = start_with(&["server.admission.shed_retry_after=7s"]).await;
    set(&app, 3).await;
    let submit = "/api/v1/tasks/submit";
    for (priority, status) in [("P0", 202), ("P1", 202), ("P2", 503), ("P3", 503)] {
        let answer = app.post(submit, &of(priority)).await.is(status);
        if status == 503 {
            let refused = answer.refuses(503, "submission_shed");
            assert_eq!(refused.pointers(), ["/priority"]);
            assert_eq!(refused.body["feature"], "task_orchestration");
            assert_eq!(refused.header("retry-after"), "7");
        }
    }
    let batch = |priorities: &[&str]| json!({"tasks": priorities.iter().map(|it| of(it)).collect::<Vec<_>>()});
    let path = "/api/v1/tasks/batch";
    let mixed = app.post(path, &batch(&["P0", "P2", "P1", "P3"])).await;
    let mixed = mixed.refuses(503, "submission_shed");
    assert_eq!(mixed.pointers(), ["/tasks/1/priority", "/tasks/3/priority"]);
    let one = app.post(path, &batch(&["P2"])).await;
    let one = one.refuses(503, "submission_shed");
    assert_eq!(one.pointers(), ["/tasks/0/priority"]);
    let accepted = app.post(path, &batch(&["P0", "P1"])).await.is(202);
    assert_eq!(accepted.body["ids"].as_array().unwrap().len(), 2);
    // A fault of the request is told before the level is.
    let invalid = json!({"type": "general", "content": "x", "priority": "P2", "max_attempts": 0});
    app.post(submit, &invalid).await.is(422);
    set(&app, 0).await;
    app.post(submit, &of("P3")).await.is(202);
}

#[actix_rt::test]
async fn read_only_hive_finishes_its_work_and_takes_nothing_new() {
    let app = start().await;
    app.bot("silent", silent(), &["general"]).await;
    let remote = json!({"executor": {"kind": "remote"},
        "capabilities": {"specializations": ["far"], "max_concurrent_tasks": 2}});
    app.put("/api/v1/bots/far", &remote).await.is(201);
    app.post("/api/v1/bots/far/launch", &Value::Null)
        .await
        .is(202);
    let (runs, far) = (
        app.submit(&task("x")).await,
        app.submit(&json!({"type": "far", "content": "y"})).await,
    );
    let key = json!({"user": "worker", "role": "bot", "new_user": true, "bot": "far"});
    let key = app.post("/api/v1/auth/keys", &key).await.is(201).body;
    let key = key["key"].as_str().unwrap();
    let lease = json!({"max": 1, "wait_ms": 20_000});
    let leased = app
        .post_as(key, "/api/v1/bots/far/lease", &lease)
        .await
        .is(200);
    let leased = leased.body["tasks"][0].clone();
    assert_eq!(leased["id"], *far);
    set(&app, 4).await;

    for (method, path, body) in [
        (Method::POST, "/api/v1/tasks/submit".to_owned(), of("P0")),
        (
            Method::POST,
            "/api/v1/tasks/batch".to_owned(),
            json!({"tasks": [of("P0")]}),
        ),
        (
            Method::POST,
            format!("/api/v1/tasks/{far}/retry"),
            Value::Null,
        ),
        (Method::PUT, "/api/v1/bots/other".to_owned(), remote.clone()),
        (Method::POST, "/api/v1/sessions".to_owned(), json!({})),
        (
            Method::POST,
            "/api/v1/webhooks/register".to_owned(),
            json!({"url": "https://example.org/", "events": ["task.completed"]}),
        ),
    ] {
        let request = app.request_as(&app.admin, method, &path).json(&body);
        let refused = app.send(request).await.refuses(503, "read_only");
        assert_eq!(refused.header("retry-after"), "10", "{path}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("the level is 4") && detail.contains("a test demands it"),
            "{detail}"
        );
        let submits = path.contains("/tasks/");
        assert_eq!(refused.body.get("feature").is_some(), submits, "{path}");
    }
    let (attempt, token) = (&leased["attempt"], &leased["lease_token"]);
    let held = json!({"attempt": attempt, "lease_token": token});
    let beat = format!("/api/v1/tasks/{far}/heartbeat");
    app.post_as(key, &beat, &held).await.is(200);
    let complete = format!("/api/v1/tasks/{far}/complete");
    let done = json!({"attempt": attempt, "lease_token": token, "output": "Y"});
    app.post_as(key, &complete, &done).await.is(200);
    assert_eq!(app.result(&far).await["output"], "Y");
    let cancel = format!("/api/v1/tasks/{runs}/cancel");
    app.post(&cancel, &Value::Null).await.is(200);
    app.post("/api/v1/queue/pause", &json!({})).await.is(200);
    app.post("/api/v1/bots/silent/stop", &Value::Null)
        .await
        .is(202);
    app.key("new", "viewer").await;
    for path in [
        "/readyz",
        "/livez",
        "/metrics",
        "/api/v1/tasks",
        "/api/v1/system/status",
    ] {
        app.get(path).await.is(200);
    }
    set(&app, 0).await;
    app.post("/api/v1/queue/resume", &json!({})).await.is(200);
    app.submit(&task("again")).await;
}

#[actix_rt::test]
async fn requests_that_need_a_shed_feature_are_told_its_name() {
    let app = start().await;
    app.bot("silent", silent(), &["general"]).await;
    let id = app.submit(&task("x")).await;
    let streams = [
        "/api/v1/events".to_owned(),
        format!("/api/v1/tasks/{id}/output"),
    ];
    for (level, streamed, webhooks) in [(0, 200, 404), (1, 503, 404), (2, 503, 503), (0, 200, 404)]
    {
        set(&app, level).await;
        for path in &streams {
            // The reader of the live stream comes back soon after the level has fallen.
            app.until("the stream answers as the level says", async |app| {
                streamed_from(app, path).await.status() == streamed
            })
            .await;
            if streamed == 503 {
                let answer = streamed_from(&app, path).await;
                assert!(answer.headers().contains_key("retry-after"), "{path}");
                let problem: Value = answer.json().await.unwrap();
                assert_eq!(problem["code"], "feature_suspended", "{problem:#}");
                assert_eq!(problem["feature"], "live_stream", "{problem:#}");
            }
        }
        let test = "/api/v1/webhooks/webhook_01h455vb4pex5vsknk084sn02q/test";
        let answer = app.post(test, &Value::Null).await.is(webhooks);
        if webhooks == 503 {
            let refused = answer.refuses(503, "feature_suspended");
            assert_eq!(refused.body["feature"], "webhook_delivery");
        }
        // The same without the feature: pages, and the output so far.
        app.get("/api/v1/events").await.is(200);
        app.get("/api/v1/webhooks").await.is(200);
    }
}

/// Returns the answer to a request for an event stream.
async fn streamed_from(app: &TestApp, path: &str) -> reqwest::Response {
    let request = app.request_as(&app.admin, Method::GET, path);
    let request = request.header("Accept", "text/event-stream");
    request.send().await.unwrap()
}

#[actix_rt::test]
async fn stream_of_an_output_ends_when_the_level_rises() {
    let app = start().await;
    app.bot("silent", silent(), &["general"]).await;
    let id = app.submit(&task("x")).await;
    let request = app.request_as(
        &app.admin,
        Method::GET,
        &format!("/api/v1/tasks/{id}/output"),
    );
    let mut stream = request
        .header("Accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    set(&app, 1).await;
    let mut came = Vec::new();
    while let Ok(Some(piece)) = stream.chunk().await {
        came.extend_from_slice(&piece);
    }
    let came = String::from_utf8(came).unwrap();
    assert!(came.contains("suspended"), "{came}");
}
