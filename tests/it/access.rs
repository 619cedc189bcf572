//! Users and keys: their life, and what is recorded of it.

use deia_model::{Event, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, all_events, store_in, task};

const USERS: &str = "/api/v1/users";
const KEYS: &str = "/api/v1/auth/keys";
const WHOAMI: &str = "/api/v1/auth/whoami";

async fn patch(app: &TestApp, path: &str, body: Value, if_match: Option<&str>) -> Answer {
    let mut request = app.request_as(&app.admin, Method::PATCH, path).json(&body);
    if let Some(tag) = if_match {
        request = request.header("If-Match", tag);
    }
    app.send(request).await
}

/// A new key: its text and its id.
async fn key_of(app: &TestApp, maker: &str, body: &Value) -> (String, String) {
    let made = app.post_as(maker, KEYS, body).await.is(201).body;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

/// Stops the hive. Returns the events that it recorded.
async fn recorded(app: &mut TestApp) -> Vec<Event> {
    assert!(app.stop().success());
    all_events(&store_in(app.data_dir())).await
}

#[tokio::test]
async fn a_user_is_made_changed_and_removed() {
    let mut app = TestApp::start().await;
    let made = app
        .post(USERS, &json!({"id": "ada", "role": "operator"}))
        .await
        .is(201);
    assert_eq!(
        (made.header("etag"), made.header("location")),
        ("\"1\"", "/api/v1/users/ada")
    );
    assert_eq!(made.body["active"], true);
    app.post(USERS, &json!({"id": "ada", "role": "viewer"}))
        .await
        .refuses(409, "user_exists");
    let (key, id) = key_of(
        &app,
        &app.admin,
        &json!({"user": "ada", "role": "operator"}),
    )
    .await;
    app.get_as(&key, "/api/v1/bots").await.is(200);

    // A change of the user applies to the key from the next request on.
    let path = "/api/v1/users/ada";
    patch(&app, path, json!({"role": "viewer"}), Some("\"7\""))
        .await
        .refuses(412, "version_mismatch");
    let changed = patch(&app, path, json!({"role": "viewer"}), Some("\"1\""))
        .await
        .is(200);
    assert_eq!(
        (changed.header("etag"), &changed.body["role"]),
        ("\"2\"", &json!("viewer"))
    );
    app.get_as(&key, "/api/v1/bots").await.is(200);
    app.post_as(&key, "/api/v1/tasks/submit", &task("x"))
        .await
        .refuses(403, "permission_denied");
    let me = app.get_as(&key, WHOAMI).await.is(200).body;
    assert_eq!(
        (&me["role"], &me["key"]["role"]),
        (&json!("viewer"), &json!("operator"))
    );
    patch(&app, path, json!({"active": false}), Some("*"))
        .await
        .is(200);
    app.get_as(&key, WHOAMI).await.refuses(401, "user_inactive");
    let read = app.get(path).await.is(200);
    assert_eq!(
        (read.header("etag"), &read.body["active"]),
        ("\"3\"", &json!(false))
    );
    patch(&app, path, json!({"active": true}), None)
        .await
        .is(200);
    app.get_as(&key, WHOAMI).await.is(200);

    app.delete(path).await.is(204);
    app.get_as(&key, WHOAMI).await.refuses(401, "key_unknown");
    app.get(path).await.refuses(404, "not_found");
    app.get(&format!("{KEYS}/{id}"))
        .await
        .refuses(404, "not_found");
    app.delete(path).await.refuses(404, "not_found");
    patch(&app, path, json!({"active": true}), Some("*"))
        .await
        .refuses(412, "version_mismatch");
    let names: Vec<_> = recorded(&mut app)
        .await
        .into_iter()
        .filter(|event| event.target.id == "ada" || event.target.id == id)
        .map(|event| event.action.as_str().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "user.created",
            "key.created",
            "user.changed",
            "user.changed",
            "user.changed",
            "key.revoked",
            "user.deleted",
        ]
    );
}

#[tokio::test]
async fn a_wrong_request_about_users_is_refused_with_its_places() {
    let app = TestApp::start().await;
    for (body, pointer) in [
        (json!({"id": "", "role": "viewer"}), "/id"),
        (json!({"id": "a b", "role": "viewer"}), "/id"),
        (json!({"id": "deia", "role": "viewer"}), "/id"),
        (json!({"id": "x".repeat(129), "role": "viewer"}), "/id"),
        (json!({"id": "x"}), "/role"),
        (json!({"id": "x", "role": "king"}), "/role"),
        (json!({"id": "x", "role": "viewer", "active": 1}), "/active"),
        (json!({"id": "x", "role": "viewer", "rocket": 1}), "/rocket"),
    ] {
        let refused = app.post(USERS, &body).await.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    for (body, pointer) in [
        (
            json!({"user": "x", "role": "viewer", "scopes": ["task:fly"]}),
            "/scopes/0",
        ),
        (
            json!({"user": "x", "role": "viewer", "scopes": ["task:read", "task:submit"]}),
            "/scopes/1",
        ),
        (
            json!({"user": "x", "role": "viewer", "allow_ips": ["10.0.0.1/8"]}),
            "/allow_ips/0",
        ),
        (
            json!({"user": "x", "role": "viewer", "allow_ips": ["here"]}),
            "/allow_ips/0",
        ),
        (json!({"user": "x", "role": "viewer", "bot": "b"}), "/bot"),
        (json!({"user": "X_Y", "role": "bot"}), "/bot"),
        (
            json!({"user": "x", "role": "viewer", "name": "a\u{0}"}),
            "/name",
        ),
    ] {
        let refused = app.post(KEYS, &body).await.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    app.post(USERS, &json!({"id": "vic", "role": "viewer"}))
        .await
        .is(201);
    let more = json!({"user": "vic", "role": "operator"});
    let refused = app.post(KEYS, &more).await.refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/role"]);
}

#[tokio::test]
async fn the_last_admin_cannot_be_locked_out() {
    let app = TestApp::start().await;
    let admins = app.get(KEYS).await.body["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let soon = Timestamp::now().plus_millis(3_600_000);
    // An admin key that will expire does not keep the hive from a lockout.
    app.post(
        KEYS,
        &json!({"user": "eve", "role": "admin", "new_user": true, "expires_at": soon}),
    )
    .await
    .is(201);
    let user = "/api/v1/users/admin";
    patch(&app, user, json!({"role": "operator"}), None)
        .await
        .refuses(409, "last_admin_key");
    patch(&app, user, json!({"active": false}), None)
        .await
        .refuses(409, "last_admin_key");
    app.delete(user).await.refuses(409, "last_admin_key");
    app.post(&format!("{KEYS}/{admins}/revoke"), &Value::Null)
        .await
        .refuses(409, "last_admin_key");
    let rotate = format!("{KEYS}/{admins}/rotate");
    let expiring = json!({"expires_at": soon});
    app.post(&rotate, &expiring)
        .await
        .refuses(409, "last_admin_key");
    app.get(WHOAMI).await.is(200);
    // Beside another it may go.
    let (other, _) = key_of(
        &app,
        &app.admin,
        &json!({"user": "ada", "role": "admin", "new_user": true}),
    )
    .await;
    app.post_as(&other, &format!("{KEYS}/{admins}/revoke"), &Value::Null)
        .await
        .is(200);
    app.get(WHOAMI).await.refuses(401, "key_revoked");
    let request = app.request_as(&other, Method::DELETE, "/api/v1/users/ada");
    app.send(request).await.refuses(409, "last_admin_key");
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let app = TestApp::start().await;
    let scoped = json!({"user": "desk", "role": "admin", "new_user": true,
        "scopes": ["admin:keys", "task:submit", "task:read", "task:cancel", "task:erase",
            "event:read", "session:manage", "webhook:read", "webhook:manage", "audit:append"]});
    let (desk, _) = key_of(&app, &app.admin, &scoped).await;
    let denied = |answer: Answer| {
        let refused = answer.refuses(403, "permission_denied");
        refused.body["permission"].as_str().unwrap().to_owned()
    };
    let admin = json!({"user": "desk", "role": "admin", "new_user": true});
    assert_eq!(denied(app.post_as(&desk, KEYS, &admin).await), "task:work");
    let first = app.get(KEYS).await.body["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let rotate = format!("{KEYS}/{first}/rotate");
    assert_eq!(
        denied(app.post_as(&desk, &rotate, &Value::Null).await),
        "task:work"
    );
    assert_eq!(
        denied(
            app.post_as(&desk, USERS, &json!({"id": "x", "role": "viewer"}))
                .await
        ),
        "admin:users"
    );
    // A key can grant the access that it has, to users that exist.
    let external = json!({"user": "new", "role": "external"});
    let refused = app
        .post_as(&desk, KEYS, &external)
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/user"]);
    app.post(USERS, &json!({"id": "new", "role": "external"}))
        .await
        .is(201);
    app.post_as(&desk, KEYS, &external).await.is(201);

    let (people, _) = key_of(
        &app,
        &app.admin,
        &json!({"user": "people", "role": "admin", "new_user": true, "scopes": ["admin:users"]}),
    )
    .await;
    let request = app.request_as(&people, Method::PATCH, "/api/v1/users/new");
    let raised = app.send(request.json(&json!({"role": "admin"}))).await;
    assert_eq!(denied(raised), "task:submit");
    let request = app.request_as(&people, Method::PATCH, "/api/v1/users/new");
    app.send(request.json(&json!({"active": false})))
        .await
        .is(200);
}

#[tokio::test]
async fn a_key_is_rotated_with_an_overlap() {
    let app = TestApp::start().await;
    let (old, id) = key_of(
        &app,
        &app.admin,
        &json!({"user": "ci", "role": "external", "name": "builds"}),
    )
    .await;
    let rotate = format!("{KEYS}/{id}/rotate");
    for (body, pointer) in [
        (json!({"overlap_seconds": 365 * 86_400}), "/overlap_seconds"),
        (json!({"overlap_seconds": -1}), "/overlap_seconds"),
        (json!({"expires_at": "2000-01-01T00:00:00Z"}), "/expires_at"),
    ] {
        let refused = app.post(&rotate, &body).await.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    let once = |body: Value| {
        let request = app.request_as(&app.admin, Method::POST, &rotate);
        app.send(request.header("Idempotency-Key", "one").json(&body))
    };
    let made = once(json!({"overlap_seconds": 3600})).await.is(201).body;
    let told = once(json!({"overlap_seconds": 3600}))
        .await
        .refuses(409, "key_made_already");
    assert!(
        told.body["detail"]
            .as_str()
            .unwrap()
            .contains(made["id"].as_str().unwrap())
    );
    let (new, new_id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(
        (&made["user"], &made["name"], &made["family"]),
        (&json!("ci"), &json!("builds"), &json!(id))
    );
    for key in [old.as_str(), new] {
        app.get_as(key, WHOAMI).await.is(200);
    }
    app.post(&rotate, &Value::Null)
        .await
        .refuses(409, "rotation_running");
    let read = app.get(&format!("{KEYS}/{id}")).await.is(200).body;
    assert!(read["expires_at"].is_string(), "{read}");
    // Once more, at once: the old one is refused from the next request on.
    app.post(&format!("{KEYS}/{id}/revoke"), &Value::Null)
        .await
        .is(200);
    let rotate = format!("{KEYS}/{new_id}/rotate");
    let third = app
        .post(&rotate, &json!({"overlap_seconds": 0}))
        .await
        .is(201)
        .body;
    app.get_as(new, WHOAMI).await.refuses(401, "key_expired");
    app.get_as(third["key"].as_str().unwrap(), WHOAMI)
        .await
        .is(200);
    app.post(&rotate, &Value::Null)
        .await
        .refuses(409, "key_not_in_force");
    app.post(
        &format!("{KEYS}/key_01h455vb4pex5vsknk084sn02q/rotate"),
        &Value::Null,
    )
    .await
    .refuses(404, "not_found");
}

#[tokio::test]
async fn a_key_does_no_more_than_it_was_made_for() {
    let app = TestApp::start().await;
    let narrow = json!({"user": "ci", "role": "external", "scopes": ["task:submit"],
        "allow_ips": ["127.0.0.0/8"]});
    let (key, _) = key_of(&app, &app.admin, &narrow).await;
    let id = app
        .post_as(&key, "/api/v1/tasks/submit", &task("x"))
        .await
        .is(202)
        .body["id"]
        .clone();
    let refused = app
        .get_as(&key, "/api/v1/tasks")
        .await
        .refuses(403, "permission_denied");
    assert!(
        refused.body["detail"].as_str().unwrap().contains("scopes"),
        "{refused:?}"
    );
    let me = app.get_as(&key, WHOAMI).await.is(200).body;
    assert_eq!(me["permissions"], json!(["task:submit"]));
    assert_eq!(
        (&me["address"], &me["key"]["allow_ips"]),
        (&json!("127.0.0.1"), &json!(["127.0.0.0/8"]))
    );
    for (body, allowed, why) in [
        (json!({"permission": "task:submit"}), true, "external"),
        (json!({"permission": "task:read"}), false, "scopes"),
        (json!({"permission": "admin:keys"}), false, "external"),
    ] {
        let told = app
            .post_as(&key, "/api/v1/auth/can-i", &body)
            .await
            .is(200)
            .body;
        assert_eq!(told["allowed"], allowed, "{body}");
        assert!(told["reason"].as_str().unwrap().contains(why), "{told}");
    }
    let of_task = json!({"permission": "task:read", "task": id});
    assert_eq!(
        app.post("/api/v1/auth/can-i", &of_task).await.is(200).body["allowed"],
        true
    );
    app.post("/api/v1/auth/can-i", &json!({"permission": "task:fly"}))
        .await
        .refuses(422, "invalid_input");
    let elsewhere =
        json!({"user": "ci", "role": "external", "allow_ips": ["192.0.2.7", "2001:db8::/32"]});
    let (key, _) = key_of(&app, &app.admin, &elsewhere).await;
    app.get_as(&key, WHOAMI)
        .await
        .refuses(403, "address_not_allowed");
}

#[tokio::test]
async fn when_a_key_was_used_last_outlives_the_hive() {
    let mut app = TestApp::start().await;
    let (key, id) = key_of(&app, &app.admin, &json!({"user": "ci", "role": "external"})).await;
    let path = format!("{KEYS}/{id}");
    assert_eq!(
        app.get(&path).await.is(200).body["last_used_at"],
        Value::Null
    );
    app.get_as(&key, WHOAMI).await.is(200);
    let used = app.get(&path).await.is(200).body["last_used_at"].clone();
    assert!(used.is_string(), "{used}");
    assert!(app.stop().success());
    let again = TestApp::start_in(app.data_dir(), &["bots.seed=[]"]).await;
    assert_eq!(again.get(&path).await.is(200).body["last_used_at"], used);
}

#[tokio::test]
async fn refused_requests_are_recorded_and_a_flood_is_few_events() {
    let mut app = TestApp::start_with(&["bots.seed=[]", "limits.enabled=false"]).await;
    let viewer = app.key("vic", "viewer").await;
    for _ in 0..300 {
        app.get_as("nonsense", WHOAMI)
            .await
            .refuses(401, "key_malformed");
        app.get_as(&viewer, KEYS)
            .await
            .refuses(403, "permission_denied");
    }
    let events = recorded(&mut app).await;
    let denied: Vec<_> = events
        .iter()
        .filter(|event| event.action.as_str() == "api.denied")
        .collect();
    for (actor, reason, target) in [
        (
            "address:127.0.0.1",
            "key_malformed",
            "GET /api/v1/auth/whoami",
        ),
        ("vic", "permission_denied", "GET /api/v1/auth/keys"),
    ] {
        let of: Vec<_> = denied.iter().filter(|event| event.actor == actor).collect();
        assert!((1..=10).contains(&of.len()), "{} events", of.len());
        let count: u64 = of
            .iter()
            .map(|event| event.details["count"].as_u64().unwrap())
            .sum();
        assert_eq!(count, 300, "{actor}");
        for event in of {
            assert_eq!(
                (event.details["reason"].as_str(), event.target.id.as_str()),
                (Some(reason), target)
            );
            assert_eq!(event.details["address"], "127.0.0.1");
        }
    }
    let lacking = denied.iter().find(|event| event.actor == "vic").unwrap();
    assert_eq!(lacking.details["permission"], "admin:keys");
    assert!(lacking.details["key"].as_str().unwrap().starts_with("key_"));
}
