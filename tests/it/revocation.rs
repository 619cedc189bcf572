//! Revocation holds from the next effect on, however a request is sent.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestApp, silent, task};

/// A key, and how it is called.
struct Key {
    id: String,
    text: String,
}

async fn key(app: &TestApp, user: &str, role: &str) -> Key {
    let body = json!({"user": user, "role": role, "new_user": true});
    let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Key {
        id: text("id"),
        text: text("key"),
    }
}

/// A request whose head has come, and half of its body.
struct HalfSent {
    stream: TcpStream,
    rest: String,
}

impl HalfSent {
    /// Sends the first half, and waits until its key was judged.
    async fn new(app: &TestApp, key: &Key, (method, path, body): (&str, &str, &str)) -> Self {
        let address = app.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (first, rest) = body.split_at(1);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{first}",
            key.text,
            body.len(),
        );
        stream.write_all(head.as_bytes()).unwrap();
        let shown = format!("/api/v1/auth/keys/{}", key.id);
        app.until("the key is judged", async |app| {
            app.get(&shown).await.is(200).body["last_used_at"] != Value::Null
        })
        .await;
        Self {
            stream,
            rest: rest.to_owned(),
        }
    }

    /// Sends the rest; the status and the body of the answer.
    fn finish(mut self) -> (u16, String) {
        self.stream.write_all(self.rest.as_bytes()).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

/// Requests with a body of every kind of route that has an effect.
fn effects(task: &str) -> Vec<(&'static str, String, String)> {
    let submit = json!({"type": "general", "content": "x"});
    let bot = json!({"executor": {"kind": "simulated"}});
    let cases = [
        ("POST", "/api/v1/tasks/submit".to_owned(), submit.clone()),
        (
            "POST",
            "/api/v1/tasks/batch".into(),
            json!({"tasks": [submit]}),
        ),
        ("POST", format!("/api/v1/tasks/{task}/cancel"), json!({})),
        ("POST", format!("/api/v1/tasks/{task}/retry"), json!({})),
        ("POST", "/api/v1/queue/pause".into(), json!({})),
        ("POST", "/api/v1/queue/resume".into(), json!({})),
        (
            "POST",
            "/api/v1/queue/drain".into(),
            json!({"wait_ms": 1_000}),
        ),
        ("POST", "/api/v1/queue/purge".into(), json!({"all": true})),
        (
            "POST",
            "/api/v1/queue/dead/requeue".into(),
            json!({"all": true}),
        ),
        ("PUT", "/api/v1/bots/late".into(), bot),
        ("POST", "/api/v1/bots/quiet/launch".into(), json!({})),
        ("POST", "/api/v1/bots/quiet/stop".into(), json!({})),
        ("POST", "/api/v1/bots/quiet/drain".into(), json!({})),
        ("DELETE", "/api/v1/bots/quiet".into(), json!({})),
        (
            "POST",
            "/api/v1/auth/keys".into(),
            json!({"user": "admin", "role": "admin"}),
        ),
        (
            "POST",
            "/api/v1/users".into(),
            json!({"id": "late", "role": "admin"}),
        ),
        (
            "PATCH",
            "/api/v1/users/other".into(),
            json!({"role": "admin"}),
        ),
        ("DELETE", "/api/v1/users/other".into(), json!({})),
        ("POST", "/api/v1/auth/session".into(), json!({})),
        ("DELETE", "/api/v1/auth/sessions".into(), json!({})),
        ("DELETE", "/api/v1/users/other/sessions".into(), json!({})),
        (
            "POST",
            "/api/v1/supervisors/hive/core/retention/restart".into(),
            json!({}),
        ),
        ("POST", "/api/v1/system/restart".into(), json!({})),
        (
            "POST",
            "/api/v1/auth/can-i".into(),
            json!({"permission": "task:read", "task": task}),
        ),
    ];
    let text = |(method, path, body): (_, String, Value)| (method, path, body.to_string());
    cases.map(text).into()
}

#[tokio::test]
async fn half_sent_request_of_a_revoked_key_has_no_effect() {
    let app = TestApp::start_with(&["bots.seed=[]", "limits.enabled=false"]).await;
    app.bot("quiet", silent(), &["quiet"]).await;
    app.key("other", "external").await;
    let id = app.submit(&json!({"type": "nobody", "content": "x"})).await;
    for (method, path, body) in effects(&id) {
        let key = key(&app, "eve", "admin").await;
        let half = HalfSent::new(&app, &key, (method, &path, &body)).await;
        let revoke = format!("/api/v1/auth/keys/{}/revoke", key.id);
        app.post(&revoke, &Value::Null).await.is(200);
        let (status, answer) = half.finish();
        assert_eq!(status, 401, "{method} {path}: {answer}");
        assert!(answer.contains("key_revoked"), "{method} {path}: {answer}");
    }
    // And nothing was done.
    let status = app.get(&format!("/api/v1/tasks/{id}/status")).await;
    assert_eq!(status.is(200).body["status"], "queued");
    let tasks = app.get("/api/v1/tasks").await.is(200).body;
    assert_eq!(tasks["items"].as_array().unwrap().len(), 1);
    let queue = app.get("/api/v1/queue").await.is(200).body;
    assert_eq!(queue["paused"], json!([]));
    app.get("/api/v1/bots/late").await.is(404);
    app.get("/api/v1/users/late").await.is(404);
    let other = app.get("/api/v1/users/other").await.is(200).body;
    assert_eq!(other["role"], "external");
    let quiet = app.get("/api/v1/bots/quiet").await.is(200).body;
    assert_eq!(quiet["desired"], "launched");
    let keys = app.get("/api/v1/auth/keys").await.is(200).body;
    let in_force = keys["items"].as_array().unwrap().iter();
    let in_force = in_force.filter(|key| key["revoked_at"].is_null()).count();
    assert_eq!(in_force, 2, "that of the admin and that of other: {keys:#}");
}

#[tokio::test]
async fn half_sent_request_is_judged_by_what_its_user_has_at_its_end() {
    let app = TestApp::start_with(&["bots.seed=[]", "limits.enabled=false"]).await;
    let make = json!({"user": "admin", "role": "admin"}).to_string();
    let submit = task("x").to_string();
    let (keys, tasks) = ("/api/v1/auth/keys", "/api/v1/tasks/submit");
    for (user, change, path, body, expected, code) in [
        (
            "a",
            Some(json!({"active": false})),
            keys,
            &make,
            401,
            "user_inactive",
        ),
        ("b", None, keys, &make, 401, "key_unknown"),
        (
            "c",
            Some(json!({"role": "operator"})),
            keys,
            &make,
            403,
            "permission_denied",
        ),
        (
            "d",
            Some(json!({"role": "viewer"})),
            tasks,
            &submit,
            403,
            "permission_denied",
        ),
        // The task is that of an operator by then.
        (
            "e",
            Some(json!({"role": "operator"})),
            tasks,
            &submit,
            202,
            "queued",
        ),
    ] {
        let key = key(&app, user, "admin").await;
        let half = HalfSent::new(&app, &key, ("POST", path, body)).await;
        let user = format!("/api/v1/users/{user}");
        match change {
            Some(change) => {
                let request = app.request_as(&app.admin, Method::PATCH, &user);
                app.send(request.json(&change)).await.is(200);
            }
            None => drop(app.delete(&user).await.is(204)),
        }
        let (status, answer) = half.finish();
        assert_eq!(status, expected, "{user}: {answer}");
        assert!(answer.contains(code), "{user}: {answer}");
    }
}

#[tokio::test]
async fn long_poll_answers_no_caller_who_sees_less_by_now() {
    let app = TestApp::start().await;
    app.bot("quiet", silent(), &[]).await;
    let id = app.submit(&task("the admin's")).await;
    let operator = key(&app, "olga", "operator").await;
    let result = format!("/api/v1/tasks/{id}/result?wait_ms=50000");
    let poll = app.request_as(&operator.text, Method::GET, &result).send();
    let poll = tokio::spawn(poll);
    app.until("the poll waits", async |app| {
        let metrics = app.get("/metrics").await.is(200).body;
        // Itself is one of them.
        let two = "deia_http_requests_in_flight 2";
        metrics.as_str().unwrap().contains(two)
    })
    .await;
    let request = app.request_as(&app.admin, Method::PATCH, "/api/v1/users/olga");
    app.send(request.json(&json!({"role": "external"})))
        .await
        .is(200);
    app.post(&format!("/api/v1/tasks/{id}/cancel"), &Value::Null)
        .await
        .is(200);
    let answer = poll.await.unwrap().unwrap();
    assert_eq!(answer.status(), 409);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["code"], "access_changed", "{answer:#}");
    app.get_as(&operator.text, &result).await.is(404);
}

#[tokio::test]
async fn stream_of_a_key_ends_when_the_key_expires() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.max_streams=4"]).await;
    let slow = json!({"kind": "command", "command": ["sh", "-c", "echo begun; sleep 600"]});
    app.bot("slow", slow, &[]).await;
    let soon = deia_model::Timestamp::now().plus_millis(3_000);
    let body = json!({"user": "ada", "role": "operator", "expires_at": soon});
    let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
    let key = made["key"].as_str().unwrap();
    let id = app.submit(&task("x")).await;
    app.until("it runs", async |app| {
        app.get(&format!("/api/v1/tasks/{id}/status")).await.body["status"] == "running"
    })
    .await;
    let output = format!("/api/v1/tasks/{id}/output");
    let request = app.request_as(key, Method::GET, &output);
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "begun\n");
    // The program is silent from here on, and the server tells nothing else.
    let error = answer.chunk().await.unwrap_err();
    assert!(!error.is_timeout(), "the stream goes on: {error:?}");
    app.get_as(key, &output).await.refuses(401, "key_expired");
}
