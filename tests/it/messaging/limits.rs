//! Bad input, and limits.

use reqwest::Method;
use serde_json::{Value, json};

use super::{read, send, sent, taken, with_bots};

#[actix_rt::test]
async fn bad_messages_are_refused_with_their_places() {
    let settings = [
        "messaging.max_content_bytes=4B",
        "messaging.max_ttl=1m",
        "messaging.default_ttl=1m",
    ];
    let app = with_bots(&settings, &["b"]).await;
    let unknown = json!({"receiver_bot": "b", "content": "x", "colour": "red"});
    for (message, pointer) in [
        (
            json!({"receiver_bot": "nobody", "content": "x"}),
            "/receiver_bot",
        ),
        (
            json!({"receiver_bot": "No Name", "content": "x"}),
            "/receiver_bot",
        ),
        (
            json!({"receiver_bot": "b", "content": "x", "sender_bot": "nobody"}),
            "/sender_bot",
        ),
        (json!({"receiver_bot": "b", "content": "12345"}), "/content"),
        (json!({"receiver_bot": "b", "content": 7}), "/content"),
        (
            json!({"receiver_bot": "b", "content": "x", "priority": "P9"}),
            "/priority",
        ),
        (
            json!({"receiver_bot": "b", "content": "x", "ttl_seconds": 0}),
            "/ttl_seconds",
        ),
        (
            json!({"receiver_bot": "b", "content": "x", "ttl_seconds": 61}),
            "/ttl_seconds",
        ),
        (unknown, "/colour"),
    ] {
        let refused = send(&app, &app.admin, &message).await;
        let refused = refused.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{message}");
    }
    let nobody = "/api/v1/bots/nobody/inbox";
    app.get(nobody).await.refuses(404, "not_found");
    for query in ["limit=0", "limit=101", "wait_ms=x", "colour=red"] {
        let path = format!("/api/v1/bots/b/inbox?{query}");
        app.get(&path).await.refuses(422, "invalid_parameter");
    }
    for query in ["status=lost", "sender=No", "session=x", "limit=0"] {
        let path = format!("/api/v1/messages?{query}");
        app.get(&path).await.refuses(422, "invalid_parameter");
    }
    let bad = app.get("/api/v1/messages?cursor=x").await;
    bad.refuses(422, "bad_cursor");
    let missing = "message_01h455vb4pex5vsknk084sn02q";
    for id in [missing, "x"] {
        app.get(&format!("/api/v1/messages/{id}"))
            .await
            .refuses(404, "not_found");
        read(&app, &app.admin, id).await.refuses(404, "not_found");
    }
}

#[actix_rt::test]
async fn full_inbox_tells_senders_to_come_back() {
    let settings = ["messaging.max_inbox=2", "messaging.retry_after=7s"];
    let app = with_bots(&settings, &["b", "c"]).await;
    let first = sent(&app, "b", "1").await;
    sent(&app, "b", "2").await;
    let message = json!({"receiver_bot": "b", "content": "3"});
    let full = send(&app, &app.admin, &message).await;
    let full = full.refuses(429, "inbox_full");
    assert_eq!(full.header("retry-after"), "7");
    sent(&app, "c", "1").await;
    assert_eq!(taken(&app, &app.admin, "b").await.len(), 2);
    send(&app, &app.admin, &message).await.is(429);
    read(&app, &app.admin, &first).await.is(200);
    send(&app, &app.admin, &message).await.is(201);
}

#[actix_rt::test]
async fn repeated_request_sends_one_message() {
    let app = with_bots(&[], &["b"]).await;
    let send = async |content: &str| {
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/messages");
        let body = json!({"receiver_bot": "b", "content": content});
        let request = request.header("idempotency-key", "k-1").json(&body);
        app.send(request).await
    };
    let first = send("x").await.is(201);
    let again = send("x").await.is(201);
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotency-replayed"), "true");
    send("y").await.refuses(422, "idempotency_mismatch");
    assert_eq!(taken(&app, &app.admin, "b").await.len(), 1);
}

#[actix_rt::test]
async fn messages_are_listed_page_by_page() {
    let app = with_bots(&[], &["b", "c"]).await;
    for n in 0..5 {
        sent(&app, if n % 2 == 0 { "b" } else { "c" }, "x").await;
    }
    let (mut found, mut path) = (0, "/api/v1/messages?receiver=b&limit=1".to_owned());
    loop {
        let page = app.get(&path).await.is(200).body;
        found += page["items"].as_array().unwrap().len();
        let Value::String(cursor) = &page["next_cursor"] else {
            break;
        };
        path = format!("/api/v1/messages?receiver=b&limit=1&cursor={cursor}");
    }
    assert_eq!(found, 3);
}
