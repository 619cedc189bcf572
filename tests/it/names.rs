//! Names of users: each is given once, and comes with nothing of who had it before.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, task};

const USERS: &str = "/api/v1/users";

#[tokio::test]
async fn a_repeated_request_makes_one_user() {
    let app = TestApp::start().await;
    let ask = async |id: &str| {
        let body = json!({"id": id, "role": "viewer"});
        let request = app.request_as(&app.admin, Method::POST, USERS);
        app.send(request.header("Idempotency-Key", "u1").json(&body))
            .await
    };
    let made = ask("ada").await.is(201);
    assert!(!made.headers.contains_key("idempotency-replayed"));
    let again = ask("ada").await.is(201);
    assert_eq!(again.body, made.body);
    assert_eq!(again.header("idempotency-replayed"), "true");
    for name in ["etag", "location"] {
        assert_eq!(again.header(name), made.header(name));
    }
    ask("bob").await.refuses(422, "idempotency_mismatch");
    let users = app.get(USERS).await.is(200).body;
    assert_eq!(users["items"].as_array().unwrap().len(), 2, "{users:#}");
}

#[tokio::test]
async fn a_name_is_not_given_while_there_are_tasks_of_who_had_it() {
    let app = TestApp::start().await;
    let old = app.key("ada", "external").await;
    app.post_as(&old, "/api/v1/tasks/submit", &task("x"))
        .await
        .is(202);
    app.delete("/api/v1/users/ada").await.is(204);
    for (path, body) in [
        (USERS, json!({"id": "ada", "role": "external"})),
        (
            "/api/v1/auth/keys",
            json!({"user": "ada", "role": "external"}),
        ),
    ] {
        let refused = app.post(path, &body).await.refuses(409, "name_has_tasks");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("another name"), "{detail}");
    }
    app.get("/api/v1/users/ada").await.refuses(404, "not_found");
    let keys = app.get("/api/v1/auth/keys").await.is(200).body;
    let of_ada = |key: &&Value| key["user"] == "ada";
    let items = keys["items"].as_array().unwrap();
    assert_eq!(items.iter().filter(of_ada).count(), 0, "{keys:#}");
    // A user who submitted nothing leaves nothing.
    app.key("bob", "external").await;
    app.delete("/api/v1/users/bob").await.is(204);
    app.key("bob", "viewer").await;
}
