//! Secrets of endpoints: shown once, and nowhere else.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{WEBHOOKS, accepted, delivery_that, patch, start, submit};
use crate::{
    support::TestApp,
    webhook_support::{Manner, Receiver},
};

const HEADER: &str = "hunter2-of-the-header";

async fn register_once(app: &TestApp, body: &Value) -> crate::support::Answer {
    let path = format!("{WEBHOOKS}/register");
    let request = app.request_as(&app.admin, Method::POST, &path);
    app.send(request.header("Idempotency-Key", "once").json(body))
        .await
}

#[actix_rt::test]
async fn repeated_registration_gets_the_same_endpoint_and_secret() {
    let app = start(&[]).await;
    let body = json!({"url": "https://8.8.8.8/", "events": ["ext.nothing"]});
    let first = register_once(&app, &body).await.is(201).body;
    let again = register_once(&app, &body).await.is(201).body;
    assert_eq!(
        (&first["id"], &first["secret"]),
        (&again["id"], &again["secret"])
    );
    assert!(first["secret"].as_str().unwrap().starts_with("whsec_"));
    let other = json!({"url": "https://8.8.8.8/", "events": ["ext.other"]});
    register_once(&app, &other).await.is(422);
    let all = app.get(WEBHOOKS).await.is(200).body;
    assert_eq!(all["items"].as_array().unwrap().len(), 1);

    // Several at a time register one as well.
    let path = format!("{WEBHOOKS}/register");
    let requests = (0..8).map(|_| {
        let request = app.request_as(&app.admin, Method::POST, &path);
        app.send(request.header("Idempotency-Key", "many").json(&body))
    });
    let answers = futures_util::future::join_all(requests).await;
    let made: Vec<_> = answers.iter().filter(|it| it.status == 201).collect();
    assert!(
        !made.is_empty() && answers.iter().all(|it| [201, 409].contains(&it.status)),
        "{answers:?}"
    );
    for it in &made {
        assert_eq!(
            (&it.body["id"], &it.body["secret"]),
            (&made[0].body["id"], &made[0].body["secret"])
        );
    }
}

#[actix_rt::test]
async fn secrets_are_in_no_other_answer_event_log_or_file() {
    let app = start(&["logging.filter=debug", "logging.access=true"]).await;
    let receiver = Receiver::start(Manner::Accepts(Duration::ZERO));
    let body = json!({"url": receiver.url(), "events": ["task", "webhook"],
        "headers": {"X-Team": HEADER}, "signatures": ["v1", "v1a"]});
    let first = register_once(&app, &body).await.is(201).body;
    let path = format!("{WEBHOOKS}/{}", first["id"].as_str().unwrap());
    let rotated = app
        .post(&format!("{path}/rotate-secret"), &Value::Null)
        .await
        .is(200)
        .body;
    let changed = patch(&app, &app.admin, &path, &json!({"description": "x"}))
        .await
        .is(200)
        .body;
    assert_eq!(changed.get("secret"), None, "{changed:#}");
    let secrets = [&first, &rotated].map(|it| it["secret"].as_str().unwrap().to_owned());
    assert_ne!(secrets[0], secrets[1]);
    let tasks = submit(&app, 3).await;
    accepted(&receiver, &tasks).await;
    let task = receiver
        .received()
        .into_iter()
        .find(|it| it.body["type"] == "task.submitted");
    assert_eq!(task.unwrap().headers["x-team"], HEADER);
    let detail = delivery_that(&app, &path, "it is delivered", |_| true).await;
    let tested = app
        .post(&format!("{path}/test"), &Value::Null)
        .await
        .is(200)
        .body;

    let mut shown = vec![changed, detail, tested];
    for path in [
        WEBHOOKS.to_owned(),
        path.clone(),
        format!("{path}/deliveries"),
        "/api/v1/events?limit=1000".into(),
        "/api/v1/secrets".into(),
        "/metrics".into(),
    ] {
        shown.push(app.get(&path).await.is(200).body);
    }
    let mut shown: String = shown.iter().map(Value::to_string).collect();
    shown += &app.log();
    receiver
        .received()
        .iter()
        .for_each(|it| shown += &it.body.to_string());
    let files = walk(app.data_dir());
    for secret in secrets.iter().map(String::as_str).chain([HEADER]) {
        let bare = secret.trim_start_matches("whsec_");
        assert!(!shown.contains(bare), "{secret} is shown");
        let raw = data_encoding::BASE64.decode(bare.as_bytes());
        let raw = raw.unwrap_or_else(|_| bare.as_bytes().to_vec());
        for (name, bytes) in &files {
            for wanted in [bare.as_bytes(), &raw] {
                let found = bytes.windows(wanted.len()).any(|it| it == wanted);
                assert!(!found, "{secret} is in {name}");
            }
        }
    }
}

/// Returns the files below a directory.
fn walk(dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}
