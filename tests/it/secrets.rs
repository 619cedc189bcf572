//! Secrets are where they belong and nowhere else: the text of a key is in the one
//! answer that makes it, and in the file of the first one.

use std::{fs, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    issuer::{Signer, TestIssuer},
    support::{Answer, TestApp, all_events, store_in, task, upper},
};

/// The secret part of a key, which nobody has by chance.
fn secret_of(key: &str) -> String {
    key.split('_').nth(2).unwrap().to_owned()
}

/// Everything that was answered, but for the answers that make a key.
#[derive(Default)]
struct Heard(Vec<String>);

impl Heard {
    fn note(&mut self, what: &str, answer: Answer) {
        self.0
            .push(format!("{what}: {:?} {}", answer.headers, answer.body));
    }
}

/// Asks everything that the description of the API has, with that credential.
async fn ask_everything(app: &TestApp, authorization: &str, heard: &mut Heard) {
    let document = app.get("/api/openapi.json").await.is(200).body;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
        {
            let changes = ["restart", "suspend", "drain", "pause"];
            if changes.iter().any(|word| path.ends_with(word)) || method == "DELETE" {
                continue;
            }
            for body in ["", "{"] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let path = path
                    .replace("{id}", "nobody")
                    .replace("{path}", "hive")
                    .replace("{name}", "Task")
                    .replace("{code}", "x");
                let request = app
                    .request(method.clone(), &path)
                    .header("Authorization", authorization);
                let answer = app.send(request.body(body)).await;
                heard.note(&format!("{method} {path}"), answer);
            }
        }
    }
}

/// Puts a key where it does not belong, as somebody does by mistake.
async fn misplace(app: &TestApp, key: &str, heard: &mut Heard) {
    let codes = key.bytes().map(|byte| format!("%{byte:02x}"));
    let all_codes: String = codes.collect();
    for path in [
        format!("/api/v1/tasks/{}", key.replace(['_', '.'], "%5f")),
        format!("/api/v1/tasks/{}", key.replace('_', "%255F")),
        format!("/nowhere/{all_codes}"),
        format!("/api/v1/tasks?bot={all_codes}"),
        format!("/api/v1/tasks/{key}"),
        format!("/api/v1/bots/{key}"),
        format!("/api/v1/users/{key}"),
        format!("/api/v1/auth/keys/{key}/revoke"),
        format!("/api/v1/supervisors/{key}"),
        format!("/api/errors/{key}"),
        format!("/api/schemas/{key}"),
        format!("/nowhere/{key}"),
        format!("/api/v1/tasks?key={key}"),
        format!("/api/v1/tasks?{key}=1"),
        format!("/api/v1/tasks?cursor={key}"),
        format!("/api/v1/tasks?status={key}"),
        format!("/api/v1/tasks?bot={key}&limit={key}"),
    ] {
        for method in [Method::GET, Method::POST, Method::PUT] {
            let request = app.request_as(&app.admin, method.clone(), &path);
            heard.note("misplaced", app.send(request).await);
        }
    }
    for (name, value) in [
        ("Authorization", key.to_owned()),
        ("Authorization", format!("Basic {key}")),
        ("Authorization", format!("Bearer {key}x")),
        ("Authorization", format!("Bearer x{key}")),
        ("X-Request-Id", key.to_owned()),
        ("traceparent", key.to_owned()),
        ("If-Match", key.to_owned()),
        ("Last-Event-ID", key.to_owned()),
        ("Content-Type", key.to_owned()),
        ("User-Agent", key.to_owned()),
    ] {
        let mut request = app
            .request(Method::PUT, "/api/v1/bots/b")
            .header(name, &value);
        if name != "Authorization" {
            request = request.header("Authorization", format!("Bearer {}", app.admin));
        }
        heard.note(name, app.send(request.body("{}")).await);
    }
    for body in [
        json!({key: 1}),
        json!({"type": key, "content": 5}),
        json!({"type": "general", "content": "x", "priority": key}),
        json!({"type": "general", "content": "x", "depends_on": [key]}),
    ] {
        heard.note("submit", app.post("/api/v1/tasks/submit", &body).await);
    }
    // A token of a foreign issuer cannot be recognised here.
    if !key.starts_with("eyJ") {
        for (field, value, pointer) in [
            ("tags", json!(["a", format!("by {key}")]), "/tags/1"),
            ("dedup_key", json!(key), "/dedup_key"),
            ("metadata", json!({"a": [{"b": key}]}), "/metadata"),
            ("metadata", json!({key: 1}), "/metadata"),
        ] {
            let mut body = json!({"type": "general", "content": "x"});
            body[field] = value;
            let answer = app.post("/api/v1/tasks/submit", &body).await;
            assert_eq!(answer.pointers(), [pointer], "{:#}", answer.body);
            heard.note("submit", answer.refuses(422, "invalid_input"));
        }
    }
    for (executor, secrets, pointer) in [
        (
            json!({"command": ["x", format!("--key={key}")]}),
            json!({}),
            "/executor/command/1",
        ),
        (
            json!({"command": ["x"], "env": {"A": key}}),
            json!({}),
            "/executor/env/A",
        ),
        (
            json!({"command": ["x"], "env": {key: "a"}}),
            json!({}),
            "/executor/env",
        ),
        (json!({"command": ["x"]}), json!({"A": key}), "/secrets/A"),
        (
            json!({"command": ["x"]}),
            json!({"A": {"value": key}}),
            "/secrets/A",
        ),
        (
            json!({"command": ["x"]}),
            json!({"A": {"store": key}}),
            "/secrets",
        ),
    ] {
        let mut executor = executor;
        executor["kind"] = "command".into();
        let spec = json!({"executor": executor, "secrets": secrets});
        let answer = app.put("/api/v1/bots/b", &spec).await;
        assert!(
            answer.pointers().contains(&pointer),
            "{pointer}: {:#}",
            answer.body
        );
        heard.note("bot", answer.refuses(422, "invalid_input"));
    }
    for body in [
        json!(key),
        json!([key]),
        json!({"value": [key]}),
        json!({"value": "x", key: 1}),
    ] {
        let answer = app.put("/api/v1/secrets/s", &body).await;
        heard.note("secret", answer.refuses(422, "invalid_input"));
    }
    heard.note(
        "secret",
        app.put(&format!("/api/v1/secrets/{key}"), &json!({"value": "x"}))
            .await,
    );
    for body in [
        json!({"user": key, "role": key}),
        json!({"user": "x", "role": "viewer", "bot": key}),
        json!({"user": key, "role": "viewer"}),
        json!({"user": "x", "role": "viewer", "name": format!("of {key}")}),
    ] {
        heard.note("key", app.post("/api/v1/auth/keys", &body).await);
    }
    let user = json!({"id": key, "role": "viewer"});
    heard.note("user", app.post("/api/v1/users", &user).await);
    let agent = format!("{} {key}", "x".repeat(230));
    let open = app.request_as(&app.admin, Method::POST, "/api/v1/auth/session");
    let opened = app.send(open.header("User-Agent", agent)).await;
    heard.0.push(opened.is(201).body.to_string());
    let sessions = app.get("/api/v1/auth/sessions").await;
    heard.note("sessions", sessions);
    let pause = json!({"type": "none", "reason": key});
    heard.note("pause", app.post("/api/v1/queue/pause", &pause).await);
    let submission = app
        .request(Method::POST, "/api/v1/tasks/submit")
        .header("Idempotency-Key", key)
        .json(&json!({"type": "general", "content": "x"}));
    heard.note("idempotency", app.send(submission).await);
}

/// Files below a directory, but for that of the first key.
fn files(dir: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, into),
            false if path.ends_with("admin.key") => {}
            false => into.push(path),
        }
    }
}

#[tokio::test]
async fn no_secret_is_anywhere_but_where_it_belongs() {
    let signer = Signer::ed25519("d");
    let issuer = TestIssuer::start(&[&signer]).await;
    let issuers = format!("auth.issuers={}", Value::from(vec![issuer.settings("idp")]));
    let mut app = TestApp::start_with(&[
        &issuers,
        "auth.jwt.allow_http_on_loopback=true",
        "bots.seed=[]",
        "limits.enabled=false",
        "logging.format=json",
        "logging.access=true",
        "logging.filter=\"trace,actix_server=trace,actix_http::h1::dispatcher=trace\"",
    ])
    .await;
    app.bot("up", upper(), &[]).await;
    let mut heard = Heard::default();
    let mut keys = vec![app.admin.clone()];
    for role in ["admin", "operator", "external"] {
        let body = json!({"user": format!("a-{role}"), "role": role, "new_user": true});
        let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
        keys.push(made["key"].as_str().unwrap().to_owned());
        let rotate = format!("/api/v1/auth/keys/{}/rotate", made["id"].as_str().unwrap());
        let made = app
            .post(&rotate, &json!({"overlap_seconds": 60}))
            .await
            .is(201)
            .body;
        keys.push(made["key"].as_str().unwrap().to_owned());
        heard.note("rotate", app.post(&rotate, &Value::Null).await);
    }
    for key in &keys {
        let accepted = app
            .post_as(key, "/api/v1/tasks/submit", &task("x"))
            .await
            .is(202);
        app.result(accepted.body["id"].as_str().unwrap()).await;
        ask_everything(&app, &format!("Bearer {key}"), &mut heard).await;
    }
    misplace(&app, &keys[1], &mut heard).await;
    let token = signer.token(&issuer.claims("ada", "root"));
    let opened = app.post_as(&token, "/api/v1/auth/session", &Value::Null);
    let opened = opened.await.is(201);
    let cookie = opened
        .header("set-cookie")
        .split(['=', ';'])
        .nth(1)
        .unwrap();
    let mut request = app.request(Method::GET, "/api/v1/auth/sessions");
    request = request.header("cookie", format!("__Host-deia={cookie}"));
    heard.note("session", app.send(request).await.is(200));
    ask_everything(&app, &format!("Bearer {token}"), &mut heard).await;
    misplace(&app, &token, &mut heard).await;
    misplace(&app, cookie, &mut heard).await;
    for path in [
        "/metrics",
        "/api/v1/auth/keys",
        "/api/v1/users",
        "/api/v1/auth/whoami",
        "/api/v1/tasks",
        "/api/v1/bots/up/logs",
    ] {
        heard.note(path, app.get(path).await.is(200));
    }
    assert!(app.stop().success());

    let log = app.log();
    let events = all_events(&store_in(app.data_dir())).await;
    let events: Vec<String> = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    let mut paths = Vec::new();
    files(app.data_dir(), &mut paths);
    let stored: Vec<_> = paths
        .into_iter()
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    assert!(log.contains("deia_***") && events.len() > 10 && heard.0.len() > 300);
    assert!(stored.iter().any(|(_, path)| path.ends_with("deia.db")));
    let last = |text: &str| text.rsplit('.').next().unwrap().to_owned();
    let others = [last(&token), last(cookie)];
    for secret in keys.iter().map(|key| secret_of(key)).chain(others) {
        let codes = secret.bytes().map(|byte| format!("%{byte:02x}"));
        let coded: String = codes.collect();
        let shown = |line: &&str| line.contains(&secret) || line.contains(&coded);
        assert_eq!(log.lines().find(shown), None, "in the log");
        let told = events.iter().find(|event| event.contains(&secret));
        assert_eq!(told, None, "in an event");
        let answered = heard.0.iter().find(|answer| answer.contains(&secret));
        assert_eq!(answered, None, "in an answer");
        for (bytes, path) in &stored {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "in {}", path.display());
        }
    }
}
