//! Who is let in how often, and how many at a time.

use std::{io::Write, net::TcpStream};

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, TestApp, task};

/// Asks until it is refused for its rate.
async fn until_refused(app: &TestApp, key: &str, method: Method, path: &str) -> Answer {
    for _ in 0..100 {
        let answer = app.send(app.request_as(key, method.clone(), path)).await;
        if answer.status == 429 {
            return answer.refuses(429, "rate_limited");
        }
    }
    panic!("{method} {path} is never refused");
}

#[tokio::test]
async fn each_caller_has_a_budget_for_each_class_of_routes() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.read.per_second=1",
        "limits.read.burst=3",
        "limits.submit.per_second=1",
        "limits.submit.burst=3",
    ])
    .await;
    let other = app.key("other", "operator").await;
    let refused = until_refused(&app, &app.admin, Method::GET, "/api/v1/bots").await;
    assert_eq!(refused.header("ratelimit-policy"), "\"read\";q=3;w=3");
    assert!(refused.header("ratelimit").starts_with("\"read\";r=0;t="));
    assert_eq!(refused.header("retry-after"), "1");
    // Its other budgets are whole, and so are those of others.
    app.post("/api/v1/tasks/submit", &task("x")).await.is(202);
    app.post("/api/v1/queue/pause", &json!({})).await.is(200);
    app.get_as(&other, "/api/v1/bots").await.is(200);
    let refused = until_refused(&app, &other, Method::POST, "/api/v1/tasks/submit").await;
    assert_eq!(refused.header("ratelimit-policy"), "\"submit\";q=3;w=3");
    app.post("/api/v1/tasks/submit", &task("x")).await.is(202);
}

#[tokio::test]
async fn wrong_keys_are_throttled_and_lock_nobody_out() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.address.per_second=1",
        "limits.address.burst=3",
    ])
    .await;
    let path = "/api/v1/auth/whoami";
    for wrong in ["nonsense", &format!("{}x", app.admin), ""] {
        let refused = until_refused(&app, wrong, Method::GET, path).await;
        assert!(
            refused
                .header("ratelimit-policy")
                .starts_with("\"address\"")
        );
        // From the same address, at the same time.
        app.get(path).await.is(200);
        app.send(app.request(Method::GET, "/livez")).await.is(200);
    }
}

#[tokio::test]
async fn limits_can_be_turned_off() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.enabled=false",
        "limits.read.burst=1",
        "limits.read.per_second=1",
        "server.admission.enabled=false",
    ])
    .await;
    for _ in 0..10 {
        let answer = app.get("/api/v1/auth/whoami").await.is(200);
        assert_eq!(answer.header("ratelimit"), "");
    }
}

/// A submission that takes a place, and keeps it until it is dropped.
fn hold(app: &TestApp) -> TcpStream {
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        app.admin
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test]
async fn submitters_are_told_to_come_back_and_others_get_through() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.request_head_timeout=10m",
        "server.admission.submit=1",
        "server.admission.max_wait=10ms",
    ])
    .await;
    let held = hold(&app);
    let submit = "/api/v1/tasks/submit";
    app.until("the only place is taken", async |app| {
        app.post(submit, &task("x")).await.status == 503
    })
    .await;
    let refused = app
        .post(submit, &task("x"))
        .await
        .refuses(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.header("ratelimit").starts_with("\"submit\""));
    app.send(app.request(Method::GET, "/readyz")).await.is(200);
    app.get("/api/v1/tasks").await.is(200);
    app.post("/api/v1/queue/pause", &json!({})).await.is(200);
    app.key("new", "operator").await;
    drop(held);
    app.until("the place is free again", async |app| {
        app.post(submit, &task("x")).await.status == 202
    })
    .await;
}

#[tokio::test]
async fn who_waits_gets_the_place_that_becomes_free() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.request_head_timeout=10m",
        "server.admission.submit=1",
        "server.admission.max_wait=1m",
        "server.admission.max_waiting=1",
    ])
    .await;
    let held = hold(&app);
    app.until("the only place is taken", async |app| {
        let metrics = app.get("/metrics").await.is(200).body;
        metrics
            .as_str()
            .unwrap()
            .contains("\ndeia_http_requests_in_flight 2\n")
    })
    .await;
    let submit = "/api/v1/tasks/submit";
    let (one, other) = (task("one"), task("other"));
    let (first, second) = (app.post(submit, &one), app.post(submit, &other));
    tokio::pin!(first, second);
    // One of the two waits, the other is one too many.
    let (refused, waits) = tokio::select! {
        answer = &mut first => (answer, second),
        answer = &mut second => (answer, first),
    };
    refused.refuses(503, "overloaded");
    drop(held);
    waits.await.is(202);
}
