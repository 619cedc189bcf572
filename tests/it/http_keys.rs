//! Permissions of the roles, and the keys that carry them.

use deia::http::{Access, table};
use deia_model::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{TestApp, task};

/// A path that this row of the table matches and that names nothing there is.
pub(crate) fn path_of(route: &deia::http::Route) -> String {
    let id = match route.path {
        path if path.contains("/tasks/") => "task_01h455vb4pex5vsknk084sn02q",
        path if path.contains("/keys/") => "key_01h455vb4pex5vsknk084sn02q",
        path if path.contains("/webhooks/") => "webhook_01h455vb4pex5vsknk084sn02q",
        path if path.contains("/messages/") => "message_01h455vb4pex5vsknk084sn02q",
        path if path.contains("/v1/sessions/") => "session_01h455vb4pex5vsknk084sn02q",
        _ => "nobody",
    };
    route
        .path
        .replace("{id}", id)
        .replace("{message}", "msg_01h455vb4pex5vsknk084sn02q")
        .replace("{replay}", "replay_01h455vb4pex5vsknk084sn02q")
        .replace("{path:.*}", "hive")
        .replace("{index}", "0")
        .replace("{code}", "internal_error")
}

fn method(route: &deia::http::Route) -> Method {
    Method::from_bytes(route.method.as_str().as_bytes()).unwrap()
}

#[tokio::test]
async fn every_route_asks_every_role_for_its_permission() {
    let app = TestApp::start().await;
    for role in Role::ALL {
        let key = app.key("someone", role.as_str()).await;
        for route in table() {
            let Access::Needs(permission) = route.access else {
                continue;
            };
            // The permission comes before the body: an impossible one changes nothing.
            let request = app
                .request_as(&key, method(&route), &path_of(&route))
                .body("{");
            let answer = app.send(request).await;
            let what = format!("{role} {} {}: {answer:#?}", route.method, route.path);
            if role.may(permission) {
                assert!(![401, 403].contains(&answer.status), "{what}");
                assert!(answer.status < 500, "{what}");
            } else {
                let refused = answer.refuses(403, "permission_denied");
                assert_eq!(refused.body["permission"], permission.as_str(), "{what}");
                assert!(
                    refused.body["detail"]
                        .as_str()
                        .unwrap()
                        .contains(permission.as_str())
                );
            }
        }
        for path in [
            "/api/v1/auth/whoami",
            "/api/v1/roles",
            "/api/errors",
            "/api/openapi.json",
        ] {
            app.get_as(&key, path).await.is(200);
        }
    }
}

/// Gives a request its key, or none.
type Authorise = Box<dyn Fn(RequestBuilder) -> RequestBuilder>;

#[tokio::test]
async fn no_route_but_the_probes_answers_without_a_key() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.address.per_second=1000000",
        "limits.address.burst=1000000",
    ])
    .await;
    let made = app
        .post(
            "/api/v1/auth/keys",
            &json!({"user": "x", "role": "admin", "new_user": true}),
        )
        .await
        .is(201);
    let (revoked, id) = (
        made.body["key"].as_str().unwrap(),
        made.body["id"].as_str().unwrap(),
    );
    app.get_as(revoked, "/api/v1/auth/whoami").await.is(200);
    app.post(&format!("/api/v1/auth/keys/{id}/revoke"), &Value::Null)
        .await
        .is(200);
    let other_secret = other_hives_key();
    let with = |value: String| {
        move |request: RequestBuilder| request.header("Authorization", value.clone())
    };
    let cases: Vec<(&str, Authorise)> = vec![
        ("key_missing", Box::new(|request| request)),
        (
            "key_missing",
            Box::new(with(format!("Basic {}", app.admin))),
        ),
        ("key_missing", Box::new(with(app.admin.clone()))),
        ("key_malformed", Box::new(with("Bearer nonsense".into()))),
        (
            "key_malformed",
            Box::new(with(format!("Bearer {}x", app.admin))),
        ),
        (
            "key_unknown",
            Box::new(with(format!("Bearer {other_secret}"))),
        ),
        ("key_revoked", Box::new(with(format!("Bearer {revoked}")))),
    ];
    for (code, authorise) in &cases {
        for route in table() {
            let path = format!("{}?key={}", path_of(&route), app.admin);
            let request = app.request(method(&route), &path);
            let answer = app.send(authorise(request)).await;
            if route.access == Access::Open {
                assert!(answer.status < 400, "{}", route.path);
                continue;
            }
            let refused = answer.refuses(401, code);
            assert!(refused.header("www-authenticate").starts_with("Bearer"));
        }
        let request = app.request(Method::GET, "/no/such/route");
        app.send(authorise(request)).await.refuses(401, code);
    }
    assert!(!app.log().contains(&app.admin), "no key in the log");
}

/// A key that is well made and known nowhere.
fn other_hives_key() -> String {
    deia_model::ApiKey::generate().unwrap().reveal()
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let app = TestApp::start().await;
    let body = json!({"user": "ci", "role": "external", "expires_at": "2100-01-01T00:00:00Z"});
    let made = app.post("/api/v1/auth/keys", &body).await.is(201);
    let (key, id) = (
        made.body["key"].as_str().unwrap(),
        made.body["id"].as_str().unwrap(),
    );
    let me = app.get_as(key, "/api/v1/auth/whoami").await.is(200).body;
    assert_eq!(
        (&me["user"], &me["role"], &me["key_id"]),
        (&json!("ci"), &json!("external"), &json!(id))
    );
    let accepted = app
        .post_as(key, "/api/v1/tasks/submit", &task("x"))
        .await
        .is(202);
    let path = format!("/api/v1/tasks/{}", accepted.body["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.body["submitter"], "ci");

    let listed = app.get("/api/v1/auth/keys").await.is(200).body;
    assert!(!listed.to_string().contains(key), "a key is shown once");
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let revoked = app
        .post(&format!("/api/v1/auth/keys/{id}/revoke"), &Value::Null)
        .await
        .is(200);
    assert_ne!(revoked.body["revoked_at"], Value::Null);
    app.get_as(key, "/api/v1/auth/whoami")
        .await
        .refuses(401, "key_revoked");

    let admin = listed["items"][0]["id"].as_str().unwrap();
    let last = app
        .post(&format!("/api/v1/auth/keys/{admin}/revoke"), &Value::Null)
        .await;
    last.refuses(409, "last_admin_key");
    app.get("/api/v1/auth/whoami").await.is(200);
}

#[tokio::test]
async fn a_wrong_key_request_is_refused_with_its_places() {
    let app = TestApp::start().await;
    for (body, pointer) in [
        (json!({"user": "", "role": "viewer"}), "/user"),
        (json!({"user": "a b", "role": "viewer"}), "/user"),
        (json!({"user": "x", "role": "king"}), "/role"),
        (json!({"user": "x"}), "/role"),
        (
            json!({"user": "x", "role": "viewer", "expires_at": "2000-01-01T00:00:00Z"}),
            "/expires_at",
        ),
        (
            json!({"user": "x", "role": "viewer", "expires_at": "soon"}),
            "/expires_at",
        ),
        (
            json!({"user": "x", "role": "viewer", "scopes": []}),
            "/scopes",
        ),
    ] {
        let refused = app
            .post("/api/v1/auth/keys", &body)
            .await
            .refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    assert_eq!(
        app.get("/api/v1/auth/keys").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn rotation_gives_no_more_than_the_caller_has() {
    let app = TestApp::start().await;
    let make = async |body: Value| {
        let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
        (
            made["key"].as_str().unwrap().to_owned(),
            format!("/api/v1/auth/keys/{}/rotate", made["id"].as_str().unwrap()),
        )
    };
    let end = "2099-01-01T00:00:00Z";
    let admin = json!({"user": "other", "role": "admin", "new_user": true});
    let (_, endless) = make(admin.clone()).await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"user": "eve", "role": "admin", "new_user": true});
        body[name] = value;
        body
    };
    let (expiring, itself) = make(with("expires_at", end.into())).await;
    let (held, held_itself) = make(with("allow_ips", json!(["127.0.0.0/8"]))).await;

    // A key that expires can extend neither another key nor itself.
    let later = json!({"expires_at": "2100-01-01T00:00:00Z"});
    for (rotate, body) in [
        (&endless, &Value::Null),
        (&endless, &later),
        (&itself, &later),
    ] {
        let refused = app.post_as(&expiring, rotate, body).await;
        assert_eq!(
            refused.refuses(422, "invalid_input").pointers(),
            ["/expires_at"]
        );
    }
    app.post_as(&held, &endless, &Value::Null)
        .await
        .refuses(403, "permission_denied");
    // Nothing of it was done, and what stays within is.
    let sooner = json!({"expires_at": "2098-01-01T00:00:00Z"});
    app.post_as(&expiring, &endless, &sooner).await.is(201);
    let again = app.post_as(&held, &held_itself, &Value::Null).await.is(201);
    assert_eq!(again.body["allow_ips"], json!(["127.0.0.0/8"]));
    // A key does not prolong itself; others may.
    let renewed = app
        .post_as(&expiring, &itself, &Value::Null)
        .await
        .is(201)
        .body;
    assert!(
        renewed["expires_at"]
            .as_str()
            .unwrap()
            .starts_with("2099-01-01T00:00:00")
    );
    let (_, short) = make(with("expires_at", end.into())).await;
    app.post(&short, &later).await.is(201);
}

#[tokio::test]
async fn a_repeated_request_makes_one_key_only() {
    let app = TestApp::start().await;
    let ask = async |user: &str| {
        let body = json!({"user": user, "role": "viewer"});
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/auth/keys");
        app.send(request.header("Idempotency-Key", "k1").json(&body))
            .await
    };
    let made = ask("ada").await.is(201).body;
    let again = ask("ada").await.refuses(409, "key_made_already");
    let detail = again.body["detail"].as_str().unwrap();
    assert!(detail.contains(made["id"].as_str().unwrap()), "{detail}");
    ask("bob").await.refuses(422, "idempotency_mismatch");
    let keys = app.get("/api/v1/auth/keys").await.is(200).body;
    assert_eq!(keys["items"].as_array().unwrap().len(), 2, "{keys:#}");
}
