//! Attempts that are stopped: the request is dropped, and a late answer changes nothing.

use serde_json::{Value, json};

use super::{hive, hive_with, http};
use crate::{
    service_support::{Service, Step, once, output},
    support::{TestApp, task},
};

/// A service that answers only when the gate is open.
fn late() -> Service {
    Service::start(|_| {
        let mut steps = vec![Step::Gate];
        steps.extend(output(&json!({"output": "late"})));
        steps
    })
}

async fn until_asked(app: &TestApp, service: &Service, times: usize) {
    app.until("the service is asked", async |_| {
        service.requests().len() >= times
    })
    .await;
}

async fn until_left(app: &TestApp, service: &Service) {
    app.until("the hive leaves the service", async |_| service.left() > 0)
        .await;
}

#[tokio::test]
async fn cancelled_task_drops_the_request_and_a_late_answer_is_lost() {
    let service = late();
    let app = hive(&service).await;
    let id = app.submit(&task("x")).await;
    until_asked(&app, &service, 1).await;
    let cancel = format!("/api/v1/tasks/{id}/cancel");
    app.post(&cancel, &Value::Null).await.is(200);
    until_left(&app, &service).await;
    service.open_gate();
    app.until("the task is cancelled", async |app| {
        app.get(&format!("/api/v1/tasks/{id}")).await.body["status"] == "cancelled"
    })
    .await;
    // The bot goes on.
    let next = app.submit(&task("y")).await;
    assert_eq!(app.result(&next).await["output"], "late");
    assert_eq!(
        app.get(&format!("/api/v1/tasks/{id}")).await.body["status"],
        "cancelled"
    );
}

#[tokio::test]
async fn service_that_never_answers_runs_out_of_time() {
    for (executor, task, part) in [
        (
            json!({"timeout_ms": 300}),
            once("x"),
            "no complete answer within 300ms",
        ),
        (
            json!({}),
            json!({"type": "general", "content": "x", "max_attempts": 1, "timeout_seconds": 1}),
            "timed out after 1 s",
        ),
    ] {
        let service = Service::start(|_| vec![Step::Hang]);
        let mut spec = http(&service);
        let more = executor.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(more);
        let app = hive_with(&service, &[], spec).await;
        let id = app.submit(&task).await;
        let result = app.result(&id).await;
        assert_eq!(result["failure_class"], "timed_out", "{result}");
        assert!(result["error"].as_str().unwrap().contains(part), "{result}");
        until_left(&app, &service).await;
    }
}

#[tokio::test]
async fn time_limit_covers_the_body_of_the_answer() {
    let service = Service::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nsome";
        vec![Step::Bytes(head.into()), Step::Hang]
    });
    let executor = json!({"kind": "http", "url": service.url("/run"), "timeout_ms": 500});
    let app = hive_with(&service, &[], executor).await;
    let id = app.submit(&once("x")).await;
    let result = app.result(&id).await;
    assert_eq!(result["failure_class"], "timed_out", "{result}");
    assert_eq!(result["output"], "some", "kept as evidence: {result}");
    let path = format!("/api/v1/tasks/{id}/output?attempt=1");
    let kept = app.client_get(&app.admin, &path).await;
    assert_eq!(kept.text().await.unwrap(), "some");
}

#[tokio::test]
async fn stopped_bot_gives_its_task_back_though_the_service_goes_on() {
    let service = Service::start(|_| vec![Step::Hang]);
    let app = hive(&service).await;
    let id = app.submit(&task("x")).await;
    until_asked(&app, &service, 1).await;
    app.post("/api/v1/bots/svc/stop", &Value::Null)
        .await
        .is(202);
    until_left(&app, &service).await;
    app.until("the task is back in the queue", async |app| {
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        task["status"] == "queued" && task["failures"] == 0
    })
    .await;
    service.set(|_| output(&json!({"output": "second"})));
    app.post("/api/v1/bots/svc/launch", &Value::Null)
        .await
        .is(202);
    assert_eq!(app.result(&id).await["output"], "second");
}

#[tokio::test]
async fn hive_that_is_killed_runs_the_task_again() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let service = Service::start(|_| vec![Step::Hang]);
    let mut app = TestApp::start_in(&data_dir, &crate::service_support::QUICK).await;
    crate::service_support::put(&app, "svc", &http(&service), &json!({})).await;
    let id = app.submit(&task("x")).await;
    until_asked(&app, &service, 1).await;
    app.kill_9();
    service.set(|request| output(&json!({"output": request.json()["attempt"].to_string()})));
    let app = TestApp::start_in(&data_dir, &crate::service_support::QUICK).await;
    let result = app.result(&id).await;
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["output"], result["attempt"].to_string(), "{result}");
}
