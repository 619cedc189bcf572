//! Journeys of bots that are services: each task is posted to a URL.

mod failures;
mod later;
mod reach;
mod stops;

use std::time::Duration;

use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::{
    service_support::{
        QUICK, Service, Step, answer, log_of, once, output, put, store_secret, until_status,
    },
    support::{TestApp, task},
};

/// Secrets that are found in no file, log or answer.
const SIGNING: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const BEARER: &str = "Bearer hunter2-of-the-service";

fn http(service: &Service) -> Value {
    json!({"kind": "http", "url": service.url("/run")})
}

/// A hive with a bot `svc` that is this service.
async fn hive(service: &Service) -> TestApp {
    hive_with(service, &[], http(service)).await
}

async fn hive_with(service: &Service, more: &[&str], executor: Value) -> TestApp {
    let app = TestApp::start_with(&[&QUICK[..], more].concat()).await;
    put(&app, "svc", &executor, &json!({})).await;
    until_status(&app, "svc", "healthy").await;
    assert_eq!(service.requests().len(), 0, "a probe is no request");
    app
}

#[tokio::test]
async fn service_is_posted_the_task_signed_and_answers_with_the_result() {
    let service = Service::start(|request| {
        let body = request.json();
        output(
            &json!({"output": format!("did {}", body["content"].as_str().unwrap()),
            "tokens_used": 17, "cost_cents": 3, "model": "ignored"}),
        )
    });
    let public = ["server.public_url=https://hive.example.com/deia/"];
    let app = TestApp::start_with(&[&QUICK[..], &public].concat()).await;
    store_secret(&app, "signing", SIGNING).await;
    store_secret(&app, "bearer", BEARER).await;
    store_secret(&app, "team", "team-secret-value").await;
    let secrets = json!({"SIGNING_SECRET": {"store": "signing"},
        "AUTHORIZATION": {"store": "bearer"}, "HEADER_X_TEAM_KEY": {"store": "team"}});
    let executor =
        json!({"kind": "http", "url": service.url("/run?a=b"), "headers": {"x-env": "test"}});
    put(&app, "svc", &executor, &secrets).await;
    until_status(&app, "svc", "healthy").await;
    let session = app.post("/api/v1/sessions", &json!({"bot": "svc"})).await;
    let session = session.is(201).body["id"].clone();
    let task = json!({"type": "general", "content": "h\u{e9}llo", "tags": ["nightly"],
        "metadata": {"a": {"b": 1}}, "priority": "P1", "session_id": session});
    let id = app.submit(&task).await;
    let result = app.result(&id).await;
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["output"], "did h\u{e9}llo");
    assert_eq!(result["tokens_used"], 17);
    assert_eq!(result["cost_cents"], 3);
    assert_eq!(result["bot_id"], "svc");

    let [request] = &service.requests()[..] else {
        panic!("{:?}", service.requests());
    };
    assert_eq!((&*request.method, &*request.path), ("POST", "/run?a=b"));
    let body = request.json();
    for (field, expected) in [
        ("task_id", json!(id)),
        ("attempt", json!(1)),
        ("type", json!("general")),
        ("content", json!("h\u{e9}llo")),
        ("tags", json!(["nightly"])),
        ("metadata", json!({"a": {"b": 1}})),
        ("priority", json!("P1")),
        ("session_id", session),
        (
            "callback_url",
            json!(format!("https://hive.example.com/deia/api/v1/tasks/{id}")),
        ),
    ] {
        assert_eq!(body[field], expected, "{body}");
    }
    assert!(body["lease_token"].as_str().unwrap().starts_with("lease_"));
    assert!(body["deadline_at"].as_str().unwrap().ends_with('Z'));
    let header = |name: &str| request.headers[name].as_str();
    assert_eq!(header("authorization"), BEARER);
    assert_eq!(header("x-team-key"), "team-secret-value");
    assert_eq!(header("x-env"), "test");
    assert_eq!(header("webhook-id"), format!("{id}-1"));
    let headers = request.headers.iter();
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let verified = Webhook::new(SIGNING)
        .unwrap()
        .verify(request.text.as_bytes(), &headers.collect());
    assert!(verified.is_ok(), "an official verifier takes it");
    let shown = app.get("/api/v1/bots/svc").await.is(200).body.to_string();
    for secret in [SIGNING, BEARER, "team-secret-value"] {
        assert!(!shown.contains(secret) && !app.log().contains(secret));
    }
}

#[tokio::test]
async fn answer_of_plain_text_is_the_output_and_can_be_followed() {
    let service = Service::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\r\n";
        vec![
            Step::Bytes(head.into()),
            // The character is cut between two pieces.
            Step::Bytes(b"first \xc3".to_vec()),
            Step::Gate,
            Step::Bytes(b"\xa9 last".to_vec()),
        ]
    });
    let app = hive(&service).await;
    let id = app.submit(&task("x")).await;
    let path = format!("/api/v1/tasks/{id}/output?follow=false");
    app.until("the first piece can be read", async |app| {
        let response = app.client_get(&app.admin, &path).await;
        response.status() == 200
            && response
                .bytes()
                .await
                .is_ok_and(|it| it == b"first \xc3"[..])
    })
    .await;
    service.open_gate();
    let result = app.result(&id).await;
    assert_eq!(result["output"], "first \u{e9} last", "{result}");
}

#[tokio::test]
async fn large_text_goes_to_a_file_and_is_read_whole() {
    let big = "0123456789abcdef".repeat(20_000);
    let body = big.clone();
    let service = Service::start(move |_| answer(200, "content-type: text/plain\r\n", &body));
    let limits = ["tasks.max_output_bytes=64KiB"];
    let app = hive_with(&service, &limits, http(&service)).await;
    let id = app.submit(&task("x")).await;
    let result = app.result(&id).await;
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["output_bytes"], big.len(), "{result}");
    let head = result["output"].as_str().unwrap();
    assert!(!head.is_empty() && big.starts_with(head));
    let path = format!("/api/v1/tasks/{id}/output");
    let whole = app.client_get(&app.admin, &path).await;
    assert_eq!(whole.text().await.unwrap(), big);
}

#[tokio::test]
async fn answers_that_are_no_result_fail_with_the_reason() {
    let app_settings = [
        "bots.circuit.failures=0",
        "bots.circuit.window=0",
        "bots.http.max_answer_bytes=1KiB",
        "tasks.max_output_bytes=64KiB",
        "tasks.max_output_file_bytes=128KiB",
    ];
    let service = Service::start(|_| vec![Step::Hang]);
    let app = hive_with(&service, &app_settings, http(&service)).await;
    let json = "content-type: application/json\r\n";
    let text = "content-type: text/plain\r\n";
    let bytes = |head: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        vec![Step::Bytes([head.as_bytes(), body].concat())]
    };
    let flood = |head: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        vec![Step::Bytes(head.into()), Step::Flood(vec![b'x'; 4_096])]
    };
    for (steps, class, reason) in [
        (bytes(json, b"<html>"), "internal", "not JSON"),
        (bytes(json, b"{\"output\":\"cut"), "internal", "not JSON"),
        (bytes(json, b"{}"), "internal", "no output"),
        (bytes(json, b"[1]"), "internal", "not an object"),
        (bytes(text, b"a\xff"), "internal", "not UTF-8"),
        (bytes(text, b"a\xc3"), "internal", "not UTF-8"),
        (
            bytes("content-type: text/html\r\n", b"x"),
            "internal",
            "text/html",
        ),
        (bytes("", b"x"), "internal", "no content-type"),
        (flood(json), "internal", "bots.http.max_answer_bytes"),
        (flood(text), "internal", "tasks.max_output_file_bytes"),
        (answer(204, "", ""), "internal", "answered 204"),
        (
            answer(500, text, "out of\ncheese"),
            "internal",
            "an error of the service: out of cheese",
        ),
        (answer(409, "", ""), "internal", "conflict"),
        (
            vec![Step::Bytes(b"garbage\r\n\r\n".to_vec())],
            "transport",
            "malformed",
        ),
        (vec![], "transport", "closed the connection"),
        (
            bytes("content-length: 9\r\ncontent-type: text/plain\r\n", b"x"),
            "transport",
            "closed",
        ),
        (
            answer(400, "", "what?"),
            "permanent",
            "refuses the task: what?",
        ),
        (answer(413, "", ""), "permanent", "answered 413"),
        (answer(422, "", ""), "permanent", "answered 422"),
        (answer(408, "", ""), "transport", "answered 408"),
    ] {
        service.set(move |_| steps.clone());
        let id = app.submit(&once("x")).await;
        let result = app.result(&id).await;
        assert_eq!(result["success"], false, "{reason}: {result}");
        assert_eq!(result["failure_class"], class, "{reason}: {result}");
        let error = result["error"].as_str().unwrap();
        assert!(error.contains(reason), "{reason}: {error}");
        let attempt = format!("{id}#1");
        app.until("the log tells it", async |app| {
            log_of(app, "svc").await.contains(&attempt)
        })
        .await;
    }
    let bot = app.get("/api/v1/bots/svc").await.is(200).body;
    assert_eq!(bot["fault"], Value::Null, "{bot}");
    assert_eq!(bot["tasks_failed"], 20, "{bot}");
    assert_eq!(bot["restarts"], 0, "{bot}");
    let metrics = app.get("/metrics").await.is(200).body;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("deia_bot_up{bot=\"svc\"} 1")
    );
}

#[tokio::test]
async fn permanent_failure_is_not_tried_again() {
    let service = Service::start(|_| answer(422, "", ""));
    let app = hive(&service).await;
    let id = app.submit(&task("x")).await;
    let result = app.result(&id).await;
    assert_eq!(result["failure_class"], "permanent", "{result}");
    assert_eq!(service.requests().len(), 1);
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(task["end_reason"], "permanent", "{task}");
    assert_eq!(task["attempt"], 1, "{task}");
}

#[tokio::test]
async fn second_answer_on_the_same_connection_changes_nothing() {
    let service = Service::start(|request| {
        let content = request.json()["content"].as_str().unwrap().to_owned();
        let mut twice = output(&json!({"output": content}));
        twice.extend(output(&json!({"output": "again"})));
        twice.push(Step::Pause(Duration::from_millis(50)));
        twice
    });
    let app = hive(&service).await;
    for content in ["one", "two", "three"] {
        let id = app.submit(&task(content)).await;
        let result = app.result(&id).await;
        assert_eq!(result["output"], content, "{result}");
        assert_eq!(result["attempt"], 1, "{result}");
    }
}
