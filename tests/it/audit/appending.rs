//! Events of other systems.

use reqwest::Method;
use serde_json::{Value, json};

use super::{LOG, QUERY, all, settled};
use crate::support::{Answer, TestApp};

#[actix_rt::test]
async fn event_has_its_caller_as_actor_and_all_that_was_given() {
    let app = TestApp::start().await;
    let ada = app.key("ada", "external").await;
    let bot = json!({"user": "carrier", "role": "bot", "bot": "carrier", "new_user": true});
    let bot = app.post("/api/v1/auth/keys", &bot).await.is(201).body;
    let least = json!({"action": "ext.deploy", "target": "release 7"});
    let most = json!({
        "action": "ext.deploy.approved", "target": "release 7 \u{2713}",
        "details": {"pipeline": 4711, "by": ["ada", {"b": null}]},
        "level": "warning", "result": "partial",
    });
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = app
        .request_as(&ada, Method::POST, LOG)
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&most);
    let seq = app.send(request).await.is(201).body["seq"].clone();
    app.post_as(&ada, LOG, &least).await.is(201);
    let key = bot["key"].as_str().unwrap();
    app.post_as(key, LOG, &least).await.is(201);
    settled(&app).await;

    let records = all(&app, &format!("{QUERY}?action=ext&order=oldest")).await;
    let [full, short, of_bot] = &records[..] else {
        panic!("{records:#?}");
    };
    for (field, expected) in [
        ("seq", seq),
        ("action", json!("ext.deploy.approved")),
        ("actor", json!("ada")),
        ("target", json!({"type": "ext", "id": "release 7 \u{2713}"})),
        ("details", most["details"].clone()),
        ("level", json!("warning")),
        ("result", json!("partial")),
        ("trace_id", json!(trace)),
        ("owner", Value::Null),
    ] {
        assert_eq!(full[field], expected, "{field}");
    }
    assert_eq!(
        (&short["level"], &short["result"]),
        (&json!("info"), &json!("success"))
    );
    assert_eq!(
        (&short["details"], &short["details_sha256"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(of_bot["actor"], "carrier");
    // It is among the events as well, for callers who see everything.
    let events = app.get("/api/v1/events?action=ext").await.is(200).body;
    assert_eq!(events["items"].as_array().unwrap().len(), 3);
    let own = app.get_as(&ada, "/api/v1/events?action=ext").await.is(200);
    assert_eq!(own.body["items"], json!([]));
}

async fn append_with(app: &TestApp, key: &str, idempotency_key: &str, body: &Value) -> Answer {
    let request = app
        .request_as(key, Method::POST, LOG)
        .header("idempotency-key", idempotency_key)
        .json(body);
    app.send(request).await
}

#[actix_rt::test]
async fn repeated_event_is_recorded_once() {
    let app = TestApp::start().await;
    let ada = app.key("ada", "external").await;
    let body = json!({"action": "ext.deploy", "target": "release 7"});
    let first = append_with(&app, &app.admin, "k-1", &body)
        .await
        .is(201)
        .body;
    let again = append_with(&app, &app.admin, "k-1", &body)
        .await
        .is(201)
        .body;
    assert_eq!(again, first);
    let other = json!({"action": "ext.deploy", "target": "release 8"});
    append_with(&app, &app.admin, "k-1", &other)
        .await
        .refuses(422, "idempotency_mismatch");
    let of_ada = append_with(&app, &ada, "k-1", &body).await.is(201).body;
    assert_ne!(of_ada, first);
    append_with(&app, &app.admin, "a b", &body)
        .await
        .refuses(400, "invalid_header");
    settled(&app).await;
    let records = all(&app, &format!("{QUERY}?action=ext")).await;
    assert_eq!(records.len(), 2);
}

#[actix_rt::test]
async fn events_outside_their_limits_are_refused_with_the_place() {
    let app = TestApp::start().await;
    let good = json!({"action": "ext.deploy", "target": "release 7"});
    let deep = (0..32).fold(json!({}), |inner, _| json!({"a": inner}));
    for (field, value, pointer) in [
        ("action", json!("task.completed"), "/action"),
        ("action", json!("key.created"), "/action"),
        ("action", json!("ext"), "/action"),
        ("action", json!("ext.Deploy"), "/action"),
        ("action", json!("ext.a.b.c.d.e"), "/action"),
        ("action", json!(7), "/action"),
        ("action", Value::Null, "/action"),
        ("target", json!(""), "/target"),
        ("target", json!("x".repeat(257)), "/target"),
        ("target", json!("two\nlines"), "/target"),
        ("target", json!("turned \u{202e}around"), "/target"),
        ("target", json!(app.admin), "/target"),
        ("target", json!({"type": "key", "id": "x"}), "/target"),
        ("details", json!("text"), "/details"),
        ("details", json!(["a"]), "/details"),
        ("details", deep, "/details"),
        ("details", json!({"a": "x".repeat(32 << 10)}), "/details"),
        ("details", json!({"key": app.admin}), "/details"),
        ("level", json!("severe"), "/level"),
        ("result", json!("maybe"), "/result"),
        ("actor", json!("root"), "/actor"),
        ("at", json!("2020-01-01T00:00:00Z"), "/at"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refused = app.post(LOG, &body).await.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{field}: {:#}", refused.body);
        assert!(!refused.body.to_string().contains(&app.admin));
    }
    for field in ["action", "target"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        let refused = app.post(LOG, &body).await.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [format!("/{field}")]);
    }
    let twice = r#"{"action":"ext.a","target":"x","details":{"a":1,"a":2}}"#;
    let request = app.request_as(&app.admin, Method::POST, LOG).body(twice);
    let request = request.header("content-type", "application/json");
    let refused = app.send(request).await.refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/details/a"]);
    settled(&app).await;
    assert_eq!(
        all(&app, &format!("{QUERY}?action=ext")).await,
        [] as [Value; 0]
    );
}
