//! Who is let in how often, and how many at a time.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

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

/// Waits for the result of a task that never ends: this takes the place of a stream.
async fn wait_for(app: &TestApp, task: &str) -> Answer {
    app.get(&format!("/api/v1/tasks/{task}/result?wait_ms=60000"))
        .await
}

/// So many requests are worked on besides the one that asks.
async fn are_in_hand(app: &TestApp, n: usize) -> bool {
    let metrics = app.get("/metrics").await.is(200).body;
    let line = format!("\ndeia_http_requests_in_flight {}\n", n + 1);
    metrics.as_str().unwrap().contains(&line)
}

#[tokio::test]
async fn who_finds_no_place_is_told_to_come_back_and_others_get_through() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.admission.stream=1",
        "server.admission.max_wait=10ms",
    ])
    .await;
    let id = app.submit(&task("x")).await;
    let holds = wait_for(&app, &id);
    let others = async {
        app.until("the only place is taken", async |app| {
            are_in_hand(app, 1).await
        })
        .await;
        let refused = wait_for(&app, &id).await.refuses(503, "overloaded");
        assert_eq!(refused.header("retry-after"), "1");
        assert!(refused.header("ratelimit").starts_with("\"stream\""));
        app.send(app.request(Method::GET, "/readyz")).await.is(200);
        app.get("/api/v1/tasks").await.is(200);
        app.post("/api/v1/queue/pause", &json!({})).await.is(200);
        app.submit(&task("y")).await;
        app.key("new", "operator").await;
        let cancel = format!("/api/v1/tasks/{id}/cancel");
        app.post(&cancel, &json!({})).await.is(200);
    };
    let (held, ()) = tokio::join!(holds, others);
    held.is(200);
    wait_for(&app, &id).await.is(200);
}

#[tokio::test]
async fn who_waits_gets_the_place_that_becomes_free() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.admission.stream=1",
        "server.admission.max_wait=1m",
        "server.admission.max_waiting=1",
    ])
    .await;
    let id = app.submit(&task("x")).await;
    let (holds, waits) = (wait_for(&app, &id), wait_for(&app, &id));
    let others = async {
        app.until("one works and one waits", async |app| {
            are_in_hand(app, 2).await
        })
        .await;
        // One more is one too many, and need not wait for the answer.
        wait_for(&app, &id).await.refuses(503, "overloaded");
        let cancel = format!("/api/v1/tasks/{id}/cancel");
        app.post(&cancel, &json!({})).await.is(200);
    };
    let (held, waited, ()) = tokio::join!(holds, waits, others);
    held.is(200);
    waited.is(200);
}

#[tokio::test]
async fn who_is_slow_with_a_body_keeps_no_place_from_others() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.admission.submit=1"]).await;
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).unwrap();
    let body = task("slow").to_string();
    let (begin, end) = body.split_at(1);
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{begin}",
        app.admin,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    app.until("it is in hand", async |app| are_in_hand(app, 1).await)
        .await;
    app.submit(&task("quick")).await;
    stream.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}
