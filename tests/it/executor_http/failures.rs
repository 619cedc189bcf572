//! Refusals that cost the task nothing, and services that cannot be reached.

use serde_json::{Value, json};

use super::{hive, hive_with, http};
use crate::{
    service_support::{QUICK, Service, answer, log_of, output, put, until_status},
    support::{TestApp, task},
};

fn ok() -> Value {
    json!({"output": "done"})
}

async fn bot(app: &TestApp) -> Value {
    app.get("/api/v1/bots/svc").await.is(200).body
}

#[tokio::test]
async fn refusal_pauses_the_bot_and_costs_the_task_nothing() {
    for (status, class) in [(429, "rate_limited"), (503, "overloaded"), (402, "quota")] {
        let service = Service::start(move |_| answer(status, "retry-after: 2\r\n", "busy"));
        let app = hive(&service).await;
        let id = app.submit(&task("x")).await;
        app.until("the bot pauses", async |app| {
            bot(app).await["pause"].is_object()
        })
        .await;
        let paused = bot(&app).await;
        assert_eq!(paused["pause"]["class"], class, "{paused}");
        assert_eq!(paused["status"], "degraded", "{paused}");
        assert_eq!(paused["fault"], Value::Null, "{paused}");
        let reason = paused["pause"]["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("answered {status}")) && reason.contains("busy"));
        service.set(|_| output(&ok()));
        let result = app.result(&id).await;
        assert_eq!(result["success"], true, "{result}");
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(task["failures"], 0, "{task}");
        assert_eq!(service.requests().len(), 2, "nothing was sent in the pause");
        assert!(log_of(&app, "svc").await.contains("busy"));
    }
}

#[tokio::test]
async fn refused_credentials_and_a_wrong_url_are_faults_of_the_bot() {
    for (status, headers, part) in [
        (401, "", "refuses the bot's credentials"),
        (403, "", "refuses the bot's credentials"),
        (404, "", "check the bot's URL"),
        (
            302,
            "location: http://127.0.0.1:1/\r\n",
            "redirects are not followed",
        ),
    ] {
        let service = Service::start(move |_| answer(status, headers, ""));
        let app = hive(&service).await;
        let id = app.submit(&task("x")).await;
        app.until("the bot is failing", async |app| {
            bot(app).await["status"] == "failing"
        })
        .await;
        let failing = bot(&app).await;
        let reason = failing["fault"]["reason"].as_str().unwrap();
        assert!(reason.contains(part), "{failing}");
        assert_eq!(failing["tasks_failed"], 0, "{failing}");
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(task["failures"], 0, "{task}");
        assert_eq!(task["failed_attempts"][0]["outcome"], "bot_fault", "{task}");
        service.set(|_| output(&ok()));
        assert_eq!(app.result(&id).await["success"], true);
    }
}

#[tokio::test]
async fn secret_that_cannot_sign_is_a_fault_of_the_bot_and_is_not_shown() {
    let service = Service::start(|_| output(&ok()));
    let app = TestApp::start_with(&QUICK).await;
    crate::service_support::store_secret(&app, "short", "hunter2").await;
    let secrets = json!({"SIGNING_SECRET": {"store": "short"}});
    put(&app, "svc", &http(&service), &secrets).await;
    app.submit(&task("x")).await;
    app.until("the bot has a fault", async |app| {
        bot(app).await["fault"].is_object()
    })
    .await;
    let shown = bot(&app).await;
    let reason = shown["fault"]["reason"].as_str().unwrap();
    assert!(reason.contains("SIGNING_SECRET cannot sign"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    assert_eq!(service.requests().len(), 0);
}

#[tokio::test]
async fn bot_of_a_service_that_is_down_is_given_no_tasks_until_it_is_up() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let app = TestApp::start_with(&QUICK).await;
    let executor = json!({"kind": "http", "url": format!("http://127.0.0.1:{port}/run")});
    put(&app, "svc", &executor, &json!({})).await;
    let shown = until_status(&app, "svc", "degraded").await;
    assert_eq!(shown["unreachable"], "it cannot be connected to", "{shown}");
    let id = app.submit(&task("x")).await;
    app.until("the task waits for the bot", async |app| {
        let why = app.get(&format!("/api/v1/tasks/{id}/explain")).await;
        why.is(200).body["detail"].as_str().unwrap().contains("svc")
    })
    .await;
    let service = Service::start_at(port, |_| output(&ok()));
    assert_eq!(app.result(&id).await["success"], true);
    let task_path = format!("/api/v1/tasks/{id}");
    assert_eq!(app.get(&task_path).await.body["attempt"], 1);
    until_status(&app, "svc", "healthy").await;
    drop(service);
    let shown = until_status(&app, "svc", "degraded").await;
    assert_eq!(shown["unreachable"], "it cannot be connected to", "{shown}");
    let log = log_of(&app, "svc").await;
    assert!(log.contains("the service cannot be reached"), "{log}");
    assert!(log.contains("the service can be reached"), "{log}");
}

#[tokio::test]
async fn health_url_is_asked_and_decides() {
    let service = Service::start(|_| answer(503, "", ""));
    let app = TestApp::start_with(&QUICK).await;
    crate::service_support::store_secret(&app, "bearer", "hunter2").await;
    let executor = json!({"kind": "http", "url": service.url("/run"),
        "health_url": service.url("/health"), "headers": {"x-env": "test"}});
    let secrets = json!({"AUTHORIZATION": {"store": "bearer"}});
    put(&app, "svc", &executor, &secrets).await;
    let shown = until_status(&app, "svc", "degraded").await;
    let reason = "its health probe answers with a failure";
    assert_eq!(shown["unreachable"], reason, "{shown}");
    let probe = service.requests().remove(0);
    assert_eq!((&*probe.method, &*probe.path), ("GET", "/health"));
    assert_eq!(probe.headers["x-env"], "test");
    assert!(!probe.headers.contains_key("authorization"));
    service.set(|request| match &*request.path {
        "/health" => answer(204, "", ""),
        _ => output(&ok()),
    });
    until_status(&app, "svc", "healthy").await;
    let id = app.submit(&task("x")).await;
    assert_eq!(app.result(&id).await["success"], true);
}

#[tokio::test]
async fn service_is_not_probed_while_tasks_succeed() {
    let service = Service::start(|request| match &*request.path {
        "/health" => answer(204, "", ""),
        _ => output(&ok()),
    });
    let executor = json!({"kind": "http", "url": service.url("/run"),
        "health_url": service.url("/health")});
    let app = TestApp::start_with(&[&QUICK[..], &["bots.http.probe_every=5s"]].concat()).await;
    put(&app, "svc", &executor, &json!({})).await;
    until_status(&app, "svc", "healthy").await;
    for _ in 0..20 {
        let id = app.submit(&task("x")).await;
        assert_eq!(app.result(&id).await["success"], true);
    }
    let probes = service.requests();
    let probes = probes.iter().filter(|it| it.path == "/health").count();
    assert_eq!(probes, 1, "the first one only");
}

#[tokio::test]
async fn attempt_that_is_tried_again_has_an_id_of_its_own() {
    let service = Service::start(|_| answer(500, "", ""));
    let app = hive_with(&service, &[], http(&service)).await;
    let task = json!({"type": "general", "content": "x", "max_attempts": 2,
        "retry": {"min_ms": 0, "max_ms": 0, "jitter": 0}});
    let id = app.submit(&task).await;
    let result = app.result(&id).await;
    assert_eq!(result["failure_class"], "internal", "{result}");
    let attempts: Vec<_> = service
        .requests()
        .iter()
        .map(|it| {
            (
                it.json()["attempt"].clone(),
                it.json()["lease_token"].clone(),
            )
        })
        .collect();
    assert_eq!(attempts.len(), 2);
    assert_eq!((&attempts[0].0, &attempts[1].0), (&json!(1), &json!(2)));
    assert_ne!(attempts[0].1, attempts[1].1);
}
