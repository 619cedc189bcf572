//! Requests that are refused.

use serde_json::json;

use super::{Worker, far};
use crate::support::{TestApp, upper};

#[actix_rt::test]
async fn wrong_requests_are_named() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    for (request, pointers) in [
        (json!({"max": 0}), vec!["/max"]),
        (json!({"max": 101}), vec!["/max"]),
        (json!({"max": "x"}), vec!["/max"]),
        (json!({"wait_ms": 1_000_000_000}), vec!["/wait_ms"]),
        (json!({"worker": ""}), vec!["/worker"]),
        (json!({"request": "1"}), vec!["/worker"]),
        (json!({"other": 1}), vec!["/other"]),
    ] {
        let refused = worker.ask(&request).await.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), pointers, "{request}");
    }
    app.submit(&far("x")).await;
    let leased = worker.lease().await;
    for (what, fields, pointer) in [
        ("fail", json!({"error": ""}), "/error"),
        (
            "fail",
            json!({"error": "x", "class": "unheard of"}),
            "/class",
        ),
        ("complete", json!({"output": 7}), "/output"),
        ("output", json!({"offset": -1, "text": "x"}), "/offset"),
        ("heartbeat", json!({"lease_token": "x"}), "/lease_token"),
    ] {
        let refused = worker
            .report(&leased, what, fields.clone())
            .await
            .refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{what} {fields}");
    }
    for seconds in [0, 3_601] {
        let spec = json!({"executor": {"kind": "remote", "heartbeat_seconds": seconds}});
        let refused = app
            .put("/api/v1/bots/far-2", &spec)
            .await
            .refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), ["/executor/heartbeat_seconds"]);
    }
}

#[actix_rt::test]
async fn workers_see_only_the_tasks_of_their_bot() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let stranger = Worker::of(&app, "far-2", json!({"kind": "remote"})).await;
    app.bot("up", upper(), &["general"]).await;
    app.submit(&far("x")).await;
    let leased = worker.lease().await;
    let elsewhere = app
        .post_as(&stranger.key, "/api/v1/bots/far-1/lease", &json!({}))
        .await;
    elsewhere.refuses(404, "not_found");
    for (what, fields) in [
        ("heartbeat", json!({})),
        ("output", json!({"offset": 0, "text": "x"})),
        ("complete", json!({"output": "x"})),
        ("fail", json!({"error": "x"})),
    ] {
        stranger
            .report(&leased, what, fields)
            .await
            .refuses(404, "not_found");
    }
    app.post("/api/v1/bots/up/lease", &json!({}))
        .await
        .refuses(409, "wrong_executor");
    app.post("/api/v1/bots/none/lease", &json!({}))
        .await
        .refuses(404, "not_found");
    // Others than bots may not work, an admin may for any bot.
    let operator = app.key("olga", "operator").await;
    app.post_as(&operator, "/api/v1/bots/far-1/lease", &json!({}))
        .await
        .refuses(403, "permission_denied");
    let admin = Worker {
        app: &app,
        bot: "far-1".into(),
        key: app.admin.clone(),
    };
    admin.report(&leased, "heartbeat", json!({})).await.is(200);
    admin
        .report(&leased, "complete", json!({"output": "x"}))
        .await
        .is(200);
}
