//! Messages between bots, through the front door.

mod crashes;
mod limits;
mod rights;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

const QUIET: &[&str] = &["bots.seed=[]", "limits.enabled=false"];

/// Starts a server with these bots, none of them launched.
async fn with_bots(settings: &[&str], bots: &[&str]) -> TestApp {
    let app = TestApp::start_with(&[QUIET, settings].concat()).await;
    put_bots(&app, bots).await;
    app
}

async fn put_bots(app: &TestApp, bots: &[&str]) {
    for bot in bots {
        let spec = json!({"executor": {"kind": "simulated", "latency_ms": 1}});
        app.put(&format!("/api/v1/bots/{bot}"), &spec).await.is(201);
    }
}

async fn send(app: &TestApp, key: &str, message: &Value) -> Answer {
    app.post_as(key, "/api/v1/messages", message).await
}

/// Sends a message as the admin, and returns its id.
async fn sent(app: &TestApp, receiver: &str, content: &str) -> String {
    let message = json!({"receiver_bot": receiver, "content": content});
    let sent = send(app, &app.admin, &message).await.is(201);
    sent.body["id"].as_str().unwrap().to_owned()
}

/// Returns the messages that a bot is given.
async fn taken(app: &TestApp, key: &str, bot: &str) -> Vec<Value> {
    let inbox = format!("/api/v1/bots/{bot}/inbox?limit=100");
    let taken = app.get_as(key, &inbox).await.is(200);
    taken.body["items"].as_array().unwrap().clone()
}

fn contents(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect()
}

async fn read(app: &TestApp, key: &str, id: &str) -> Answer {
    let path = format!("/api/v1/messages/{id}/read");
    app.post_as(key, &path, &Value::Null).await
}

async fn message(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/messages/{id}"))
        .await
        .is(200)
        .body
}

async fn status(app: &TestApp, id: &str) -> String {
    let message = message(app, id).await;
    message["delivery_status"].as_str().unwrap().to_owned()
}

#[actix_rt::test]
async fn message_goes_from_bot_to_bot() {
    let app = with_bots(&[], &["a", "b"]).await;
    let (a, b) = (app.key("a", "bot").await, app.key("b", "bot").await);
    let new = json!({"receiver_bot": "b", "content": "hello", "priority": "P1"});
    let sent = send(&app, &a, &new).await.is(201);
    let id = sent.body["id"].as_str().unwrap().to_owned();
    assert_eq!(sent.header("location"), format!("/api/v1/messages/{id}"));
    assert_eq!(sent.body["sender_bot"], "a");
    assert_eq!(sent.body["delivery_status"], "queued");
    let [given] = &taken(&app, &b, "b").await[..] else {
        panic!("one message");
    };
    assert_eq!(given["id"], id);
    assert_eq!(given["content"], "hello");
    assert_eq!(given["delivery_status"], "delivered");
    assert_eq!(given["retry_count"], 0);
    assert!(taken(&app, &b, "b").await.is_empty(), "not due again");
    for _ in 0..2 {
        let noted = read(&app, &b, &id).await.is(200);
        assert_eq!(noted.body["delivery_status"], "read");
    }
    let shown = message(&app, &id).await;
    assert_eq!(shown["content"], "hello");
    assert!(shown["read_at"].is_string(), "{shown:#}");
    let events = app.get("/api/v1/events?action=message").await.is(200).body;
    let actions: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["action"].as_str().unwrap(), &event["actor"]))
        .collect();
    let expected = [
        ("message.read", &json!("b")),
        ("message.delivered", &json!("b")),
        ("message.sent", &json!("a")),
    ];
    assert_eq!(actions, expected);
    let metrics = app.get("/metrics").await.is(200).body;
    let line = "deia_messages_total{step=\"sent\"} 1";
    assert!(metrics.as_str().unwrap().contains(line));
}

#[actix_rt::test]
async fn waiting_request_gets_the_message_that_comes() {
    let app = with_bots(&[], &["b"]).await;
    let b = app.key("b", "bot").await;
    let inbox = "/api/v1/bots/b/inbox?wait_ms=50000";
    let waiting = async {
        let got = app.get_as(&b, inbox).await.is(200);
        got.body["items"][0]["content"].clone()
    };
    let sending = async {
        app.until_in_hand(1).await;
        sent(&app, "b", "wake up").await
    };
    let (got, _) = tokio::join!(waiting, sending);
    assert_eq!(got, "wake up");
    // Nothing more comes: the answer is an empty list, in time.
    let got = app.get_as(&b, "/api/v1/bots/b/inbox?wait_ms=50").await;
    assert_eq!(got.is(200).body, json!({"items": []}));
}

#[actix_rt::test]
async fn request_for_the_head_of_an_inbox_takes_nothing() {
    let app = with_bots(&[], &["b"]).await;
    let id = sent(&app, "b", "x").await;
    let head = app.request_as(&app.admin, Method::HEAD, "/api/v1/bots/b/inbox");
    assert_eq!(head.send().await.unwrap().status(), 200);
    assert_eq!(status(&app, &id).await, "queued");
}

#[actix_rt::test]
async fn urgent_messages_come_first_then_the_oldest() {
    let app = with_bots(&[], &["b"]).await;
    for (content, priority) in [("1", "P2"), ("2", "P3"), ("3", "P0"), ("4", "P2")] {
        let message = json!({"receiver_bot": "b", "content": content, "priority": priority});
        send(&app, &app.admin, &message).await.is(201);
    }
    let first = app.get("/api/v1/bots/b/inbox?limit=1").await.is(200).body;
    assert_eq!(first["items"][0]["content"], "3");
    let rest = taken(&app, &app.admin, "b").await;
    assert_eq!(contents(&rest), ["1", "4", "2"]);
}

#[actix_rt::test]
async fn unread_message_is_given_again_and_fails_at_last() {
    let settings = [
        "messaging.redeliver_after=1s",
        "messaging.max_deliveries=2",
        "messaging.look_every=100ms",
    ];
    let app = with_bots(&settings, &["b"]).await;
    let id = sent(&app, "b", "x").await;
    assert_eq!(taken(&app, &app.admin, "b").await[0]["retry_count"], 0);
    let again = app.get("/api/v1/bots/b/inbox?wait_ms=50000").await.is(200);
    assert_eq!(again.body["items"][0]["retry_count"], 1);
    app.until("the message fails", async |app| {
        status(app, &id).await == "failed"
    })
    .await;
    let failed = message(&app, &id).await;
    let failure = failed["failure"].as_str().unwrap();
    assert!(failure.contains("2 times"), "{failure}");
    assert!(taken(&app, &app.admin, "b").await.is_empty());
    read(&app, &app.admin, &id)
        .await
        .refuses(409, "message_is_over");
}

#[actix_rt::test]
async fn message_expires_unless_it_was_read() {
    let app = with_bots(&["messaging.look_every=100ms"], &["b"]).await;
    let message = json!({"receiver_bot": "b", "content": "x", "ttl_seconds": 1});
    let sent = send(&app, &app.admin, &message).await.is(201);
    let id = sent.body["id"].as_str().unwrap();
    app.until("the message expires", async |app| {
        status(app, id).await == "expired"
    })
    .await;
    assert!(taken(&app, &app.admin, "b").await.is_empty());
    let events = app.get("/api/v1/events?action=message.expired").await;
    assert_eq!(events.is(200).body["items"][0]["target"]["id"], id);
}

#[actix_rt::test]
async fn unread_messages_of_a_removed_bot_fail() {
    let app = with_bots(&[], &["b"]).await;
    let id = sent(&app, "b", "x").await;
    app.delete("/api/v1/bots/b").await.is(204);
    assert_eq!(status(&app, &id).await, "failed");
    let events = app.get("/api/v1/events?action=message.failed").await;
    let event = &events.is(200).body["items"][0];
    assert_eq!(event["target"]["id"], id);
    assert_eq!(event["details"]["reason"], "its receiver was removed");
    app.get("/api/v1/bots/b/inbox")
        .await
        .refuses(404, "not_found");
    put_bots(&app, &["b"]).await;
    assert!(taken(&app, &app.admin, "b").await.is_empty(), "another bot");
}
