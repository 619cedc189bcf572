//! Callers, and the endpoints that are not theirs.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{WEBHOOKS, accepted, delivery_that, patch, start, submit};
use crate::{
    support::TestApp,
    webhook_support::{Manner, Receiver},
};

async fn register_as(app: &TestApp, key: &str, body: &Value) -> String {
    let path = format!("{WEBHOOKS}/register");
    let made = app.post_as(key, &path, body).await.is(201);
    made.body["id"].as_str().unwrap().to_owned()
}

/// Every request about one endpoint: method, path below it, body.
fn requests(message: &str, replay: &str) -> Vec<(Method, String, Value)> {
    let range = json!({"from": "2026-01-01T00:00:00Z"});
    let bodies = [
        (Method::GET, String::new(), Value::Null),
        (Method::PATCH, String::new(), json!({"description": "mine"})),
        (Method::POST, "/test".into(), Value::Null),
        (Method::POST, "/enable".into(), Value::Null),
        (Method::POST, "/disable".into(), Value::Null),
        (Method::POST, "/rotate-secret".into(), Value::Null),
        (Method::GET, "/deliveries".into(), Value::Null),
        (Method::GET, format!("/deliveries/{message}"), Value::Null),
        (
            Method::POST,
            format!("/deliveries/{message}/retry"),
            Value::Null,
        ),
        (Method::POST, "/replays".into(), range),
        (Method::GET, "/replays".into(), Value::Null),
        (Method::POST, format!("/replays/{replay}/stop"), Value::Null),
        (Method::DELETE, String::new(), Value::Null),
    ];
    bodies.to_vec()
}

async fn send(
    app: &TestApp,
    key: &str,
    path: &str,
    (method, below, body): &(Method, String, Value),
) -> crate::support::Answer {
    let request = app.request_as(key, method.clone(), &format!("{path}{below}"));
    let request = match body {
        Value::Null => request,
        body => request.json(body),
    };
    app.send(request).await
}

#[actix_rt::test]
async fn endpoints_of_others_do_not_exist_for_external_users() {
    let app = start(&[]).await;
    let (ada, eve) = (
        app.key("ada", "external").await,
        app.key("eve", "external").await,
    );
    let viewer = app.key("vera", "viewer").await;
    let receiver = Receiver::start(Manner::Accepts(Duration::ZERO));
    let body = json!({"url": receiver.url(), "events": ["task.submitted"]});
    let id = register_as(&app, &ada, &body).await;
    let path = format!("{WEBHOOKS}/{id}");

    let task = json!({"type": "idle", "content": ""});
    app.post_as(&ada, "/api/v1/tasks/submit", &task)
        .await
        .is(202);
    let delivered = |it: &Value| it["state"] == "delivered";
    let detail = delivery_that(&app, &path, "it is delivered", delivered).await;
    let message = detail["id"].as_str().unwrap();
    let replays = format!("{path}/replays");
    let range = json!({"from": "2026-01-01T00:00:00Z"});
    let replay = app.post_as(&ada, &replays, &range).await.is(202).body;
    let requests = requests(message, replay["id"].as_str().unwrap());

    for request in &requests {
        let refused = send(&app, &eve, &path, request).await;
        let absent = send(
            &app,
            &eve,
            &format!("{WEBHOOKS}/webhook_01h455vb4pex5vsknk084sn02q"),
            request,
        )
        .await;
        assert_eq!(
            (refused.status, absent.status),
            (404, 404),
            "{request:?}: {refused:?}"
        );
        assert_eq!(refused.body["code"], absent.body["code"], "{request:?}");
        let writes = request.0 != Method::GET;
        let seen = send(&app, &viewer, &path, request).await;
        assert_eq!(
            seen.status,
            if writes { 403 } else { 200 },
            "{request:?}: {seen:?}"
        );
    }
    let register = format!("{WEBHOOKS}/register");
    app.post_as(&viewer, &register, &body)
        .await
        .refuses(403, "permission_denied");
    let listed =
        |answer: crate::support::Answer| answer.is(200).body["items"].as_array().unwrap().len();
    assert_eq!(listed(app.get_as(&eve, WEBHOOKS).await), 0);
    assert_eq!(listed(app.get_as(&ada, WEBHOOKS).await), 1);
    assert_eq!(listed(app.get_as(&viewer, WEBHOOKS).await), 1);
    for request in &requests {
        let own = send(&app, &ada, &path, request).await;
        assert!(
            (200..300).contains(&own.status) || own.status == 409,
            "{request:?}: {own:?}"
        );
    }
}

#[actix_rt::test]
async fn external_user_gets_only_own_events_and_names_no_other_owner() {
    let app = start(&[]).await;
    let (ada, eve) = (
        app.key("ada", "external").await,
        app.key("eve", "external").await,
    );
    let receiver = Receiver::start(Manner::Accepts(Duration::ZERO));
    let register = format!("{WEBHOOKS}/register");
    for owners in [json!(["ada"]), json!(["eve", "ada"])] {
        let body = json!({"url": receiver.url(), "owners": owners});
        let refused = app
            .post_as(&eve, &register, &body)
            .await
            .refuses(422, "invalid_input");
        let at = owners.as_array().unwrap().len() - 1;
        assert_eq!(refused.pointers(), [format!("/owners/{at}")]);
    }
    let id = register_as(
        &app,
        &eve,
        &json!({"url": receiver.url(), "owners": ["eve"]}),
    )
    .await;
    let path = format!("{WEBHOOKS}/{id}");
    let change = json!({"owners": ["ada"]});
    let refused = patch(&app, &eve, &path, &change)
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/owners/0"]);

    // An admin who changes the endpoint gives its owner no more to see.
    patch(&app, &app.admin, &path, &json!({"owners": ["ada", "eve"]}))
        .await
        .is(200);
    let task = json!({"type": "idle", "content": ""});
    let mut own = Vec::new();
    for _ in 0..20 {
        app.post_as(&ada, "/api/v1/tasks/submit", &task)
            .await
            .is(202);
        let made = app
            .post_as(&eve, "/api/v1/tasks/submit", &task)
            .await
            .is(202);
        own.push(made.body["id"].as_str().unwrap().to_owned());
    }
    accepted(&receiver, &own).await;
    for it in receiver.received() {
        assert_eq!(it.body["data"]["owner"], "eve", "{it:?}");
        assert_eq!(it.body["data"].get("seq"), None, "{it:?}");
        assert!(
            it.body["type"].as_str().unwrap().starts_with("task."),
            "{it:?}"
        );
    }
}

#[actix_rt::test]
async fn deleted_owner_gets_nothing_more_not_even_under_the_same_name() {
    let app = start(&["webhooks.pause_after_failures=1000"]).await;
    let ada = app.key("ada", "operator").await;
    let quiet = Receiver::start(Manner::Accepts(Duration::ZERO));
    let down = Receiver::start(Manner::Refuses(503));
    let body = |receiver: &Receiver| json!({"url": receiver.url(), "events": ["task.submitted"]});
    let idle = register_as(&app, &ada, &body(&quiet)).await;
    let busy = register_as(&app, &ada, &body(&down)).await;
    let tasks = submit(&app, 5).await;
    accepted(&quiet, &tasks).await;
    let busy = format!("{WEBHOOKS}/{busy}");
    delivery_that(&app, &busy, "deliveries wait", |it| {
        it["state"] == "waiting"
    })
    .await;

    app.delete("/api/v1/users/ada").await.is(204);
    // Nothing happens that the endpoints would get: they end all the same.
    for path in [&busy, &format!("{WEBHOOKS}/{idle}")] {
        app.until("the endpoint is disabled", async |app| {
            let shown = app.get(path).await;
            shown.status == 404 || shown.body["disabled"]["reason"] == "owner_lost_rights"
        })
        .await;
    }
    app.key("ada", "operator").await;
    let mut later = submit(&app, 5).await;
    let marker = Receiver::start(Manner::Accepts(Duration::ZERO));
    super::register(&app, &marker.url(), &["task.submitted"]).await;
    let last = submit(&app, 1).await;
    accepted(&marker, &last).await;
    later.extend(last);
    for it in quiet.received().into_iter().chain(down.received()) {
        let task = it.body["data"]["task_id"].as_str().unwrap();
        assert!(!later.iter().any(|it| it == task), "{it:?}");
    }
}
