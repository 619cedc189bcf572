//! Rights to send, take, read and see messages.

use serde_json::{Value, json};

use super::{read, send, sent, status, taken, with_bots};

#[actix_rt::test]
async fn bot_sends_as_itself_only() {
    let app = with_bots(&[], &["a", "b"]).await;
    let a = app.key("a", "bot").await;
    let as_other = json!({"receiver_bot": "b", "content": "x", "sender_bot": "b"});
    let refused = send(&app, &a, &as_other)
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/sender_bot"]);
    let as_itself = json!({"receiver_bot": "b", "content": "x", "sender_bot": "a"});
    send(&app, &a, &as_itself).await.is(201);
    let operator = app.key("op", "operator").await;
    let as_any = send(&app, &operator, &as_other).await.is(201).body;
    assert_eq!(as_any["sender_bot"], "b");
    assert_eq!(as_any["sent_by"], "op");
    let in_person = json!({"receiver_bot": "b", "content": "x"});
    let in_person = send(&app, &operator, &in_person).await.is(201).body;
    assert_eq!(in_person["sender_bot"], Value::Null);
}

#[actix_rt::test]
async fn bot_sees_and_takes_its_own_messages_only() {
    let app = with_bots(&[], &["a", "b", "c"]).await;
    let [a, b, c] = [
        app.key("a", "bot").await,
        app.key("b", "bot").await,
        app.key("c", "bot").await,
    ];
    let message = json!({"receiver_bot": "b", "content": "x"});
    let id = send(&app, &a, &message).await.is(201).body["id"].clone();
    let id = id.as_str().unwrap();
    let path = format!("/api/v1/messages/{id}");
    for (key, status) in [(&a, 200), (&b, 200), (&c, 404)] {
        app.get_as(key, &path).await.is(status);
    }
    for (key, listed) in [(&a, 1), (&b, 1), (&c, 0)] {
        let list = app.get_as(key, "/api/v1/messages").await.is(200).body;
        assert_eq!(list["items"].as_array().unwrap().len(), listed);
        assert_eq!(list["next_cursor"], Value::Null);
    }
    for key in [&a, &c] {
        let inbox = app.get_as(key, "/api/v1/bots/b/inbox").await;
        inbox.refuses(404, "not_found");
        read(&app, key, id).await.refuses(404, "not_found");
    }
    assert_eq!(status(&app, id).await, "queued");
    // The sender may not read it, the receiver may.
    assert_eq!(taken(&app, &b, "b").await.len(), 1);
    read(&app, &b, id).await.is(200);
}

#[actix_rt::test]
async fn other_roles_look_on_or_see_nothing() {
    let app = with_bots(&[], &["b"]).await;
    let id = sent(&app, "b", "x").await;
    let viewer = app.key("vera", "viewer").await;
    let external = app.key("ext", "external").await;
    let path = format!("/api/v1/messages/{id}");
    assert_eq!(
        app.get_as(&viewer, &path).await.is(200).body["content"],
        "x"
    );
    app.get_as(&viewer, "/api/v1/messages").await.is(200);
    for refused in [
        app.get_as(&viewer, "/api/v1/bots/b/inbox").await,
        read(&app, &viewer, &id).await,
        send(&app, &viewer, &json!({"receiver_bot": "b", "content": "x"})).await,
        app.get_as(&external, &path).await,
        app.get_as(&external, "/api/v1/messages").await,
        app.get_as(&external, "/api/v1/bots/b/inbox").await,
        send(
            &app,
            &external,
            &json!({"receiver_bot": "b", "content": "x"}),
        )
        .await,
    ] {
        refused.refuses(403, "permission_denied");
    }
    assert_eq!(status(&app, &id).await, "queued");
}
