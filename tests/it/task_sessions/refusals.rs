//! Bad input, limits, and sessions of others.

use reqwest::Method;
use serde_json::{Value, json};

use super::{start, started, task_in, with_bots};

#[actix_rt::test]
async fn bad_sessions_are_refused_with_their_places() {
    let settings = [
        "messaging.sessions.max_idle_ttl=1m",
        "messaging.sessions.idle_ttl=1m",
    ];
    let app = with_bots(&settings, &[]).await;
    let spec = json!({"executor": {"kind": "simulated"}});
    app.put("/api/v1/bots/idle", &spec).await.is(201);
    for (session, pointer) in [
        (json!({"bot": "nobody"}), "/bot"),
        (json!({"bot": "idle"}), "/bot"),
        (json!({"bot": "No Name"}), "/bot"),
        (json!({"idle_ttl_seconds": 0}), "/idle_ttl_seconds"),
        (json!({"idle_ttl_seconds": 61}), "/idle_ttl_seconds"),
        (json!({"on_bot_death": "forget"}), "/on_bot_death"),
        (json!({"colour": "red"}), "/colour"),
    ] {
        let refused = start(&app, &app.admin, &session).await;
        let refused = refused.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{session}");
    }
    start(&app, &app.admin, &Value::Null).await.is(201);
    let missing = "session_01h455vb4pex5vsknk084sn02q";
    for id in [missing, "x"] {
        let path = format!("/api/v1/sessions/{id}");
        app.get(&path).await.refuses(404, "not_found");
        let end = app.post(&format!("{path}/end"), &Value::Null).await;
        end.refuses(404, "not_found");
    }
    let late = app.post("/api/v1/tasks/submit", &task_in(missing)).await;
    assert_eq!(
        late.refuses(422, "invalid_input").pointers(),
        ["/session_id"]
    );
    let batch = json!({"tasks": [{"type": "a", "content": "x"}, task_in(missing)]});
    let batch = app.post("/api/v1/tasks/batch", &batch).await;
    let batch = batch.refuses(422, "invalid_input");
    assert_eq!(batch.pointers(), ["/tasks/1/session_id"]);
    for query in ["active=maybe", "bot=No", "limit=0"] {
        let path = format!("/api/v1/sessions?{query}");
        app.get(&path).await.refuses(422, "invalid_parameter");
    }
}

#[actix_rt::test]
async fn active_sessions_of_a_user_are_limited() {
    let app = with_bots(&["messaging.sessions.max_per_user=2"], &[]).await;
    let first = started(&app, json!({})).await;
    started(&app, json!({})).await;
    let full = start(&app, &app.admin, &json!({})).await;
    full.refuses(409, "too_many_sessions");
    let other = app.key("eve", "external").await;
    start(&app, &other, &json!({})).await.is(201);
    let end = format!("/api/v1/sessions/{first}/end");
    app.post(&end, &Value::Null).await.is(200);
    started(&app, json!({})).await;
}

#[actix_rt::test]
async fn repeated_request_starts_one_session() {
    let app = with_bots(&[], &[]).await;
    let start = async |body: Value| {
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/sessions");
        app.send(request.header("idempotency-key", "k-1").json(&body))
            .await
    };
    let first = start(json!({})).await.is(201);
    let again = start(json!({})).await.is(201);
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = start(json!({"on_bot_death": "fail"})).await;
    other.refuses(422, "idempotency_mismatch");
}

#[actix_rt::test]
async fn external_users_have_sessions_of_their_own() {
    let app = with_bots(&[], &["b"]).await;
    let (ada, eve) = (
        app.key("ada", "external").await,
        app.key("eve", "external").await,
    );
    let made = start(&app, &ada, &json!({})).await.is(201).body;
    let id = made["id"].as_str().unwrap();
    let path = format!("/api/v1/sessions/{id}");
    for (key, status) in [(&ada, 200), (&eve, 404), (&app.admin, 200)] {
        app.get_as(key, &path).await.is(status);
    }
    let listed = app.get_as(&eve, "/api/v1/sessions").await.is(200).body;
    assert_eq!(listed["items"], json!([]));
    for key in [&eve, &app.admin] {
        let foreign = app.post_as(key, "/api/v1/tasks/submit", &task_in(id)).await;
        let foreign = foreign.refuses(422, "invalid_input");
        assert_eq!(foreign.pointers(), ["/session_id"]);
    }
    let own = app
        .post_as(&ada, "/api/v1/tasks/submit", &task_in(id))
        .await;
    own.is(202);
    let end = app
        .post_as(&eve, &format!("{path}/end"), &Value::Null)
        .await;
    end.refuses(404, "not_found");
    for role in ["viewer", "bot"] {
        let name = if role == "bot" { "b" } else { "vera" };
        let key = app.key(name, role).await;
        let refused = app.get_as(&key, "/api/v1/sessions").await;
        refused.refuses(403, "permission_denied");
    }
    // The sessions of a user who is removed end with it.
    app.delete("/api/v1/users/ada").await.is(204);
    let ended = app.get(&path).await.is(200).body;
    assert_eq!(ended["end_reason"], "user_gone");
}
