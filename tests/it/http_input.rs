//! Bad input, on every route: what is said, where, and that nothing changed.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use deia::http::{Access, table};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    http_keys::path_of,
    support::{PATIENCE, TestApp, task, upper},
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Returns the state that must be the same before and after.
async fn state(app: &TestApp) -> (Value, Value, Value) {
    let seq = app.get("/api/v1/system/status").await.body["last_event_seq"].clone();
    (
        seq,
        app.get("/api/v1/bots").await.body,
        app.get("/api/v1/tasks").await.body,
    )
}

#[tokio::test]
async fn bodies_that_are_not_taken_are_refused_on_every_route() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.max_body_bytes=64KiB",
        // Restore points are events of their own.
        "recovery.mode=off",
    ])
    .await;
    let before = state(&app).await;
    let oversized = format!("{{\"x\":\"{}\"}}", "y".repeat(70_000));
    for route in table().iter().filter(|route| route.method != "GET") {
        let method = Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
        let request = || app.request_as(&app.admin, method.clone(), &path_of(route));
        let what = format!("{} {}", route.method, route.path);
        for (request, status, code) in [
            (
                request().header(JSON.0, JSON.1).body("{"),
                400,
                "malformed_json",
            ),
            (
                request().header(JSON.0, JSON.1).body("{} {}"),
                400,
                "malformed_json",
            ),
            (
                request()
                    .header(JSON.0, JSON.1)
                    .body(vec![b'"', 0xff, b'"']),
                400,
                "malformed_json",
            ),
            (
                request().header(JSON.0, JSON.1).body("[".repeat(60_000)),
                400,
                "malformed_json",
            ),
            (
                request().header(JSON.0, JSON.1).body("[]"),
                422,
                "invalid_input",
            ),
            (
                request().header(JSON.0, JSON.1).body("7"),
                422,
                "invalid_input",
            ),
            (
                request().header(JSON.0, JSON.1).body("{\"no_such\":1}"),
                422,
                "invalid_input",
            ),
            (
                request().header(JSON.0, JSON.1).body(oversized.clone()),
                413,
                "body_too_large",
            ),
            (request().body("{}"), 415, "unsupported_media_type"),
            (
                request().header(JSON.0, "text/plain").body("{}"),
                415,
                "unsupported_media_type",
            ),
            (
                request()
                    .header(JSON.0, JSON.1)
                    .header("content-encoding", "gzip")
                    .body("{}"),
                415,
                "unsupported_media_type",
            ),
        ] {
            let answer = app.send(request).await;
            assert_eq!(answer.body["code"], code, "{what}: {answer:#?}");
            answer.refuses(status, code);
        }
    }
    assert_eq!(state(&app).await, before, "nothing changed");
}

/// Sends bytes that no HTTP client would send. Returns the server's answer.
fn raw(app: &TestApp, head: &str, body: &[u8]) -> String {
    let address = app.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{head}\r\nHost: deia\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // The server may refuse before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_without_an_announced_length_have_the_same_limit() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.max_body_bytes=64KiB"]).await;
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked",
        app.admin
    );
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let large = chunk(&"x".repeat(9_000)).repeat(8) + "0\r\n\r\n";
    let answer = raw(&app, &head, large.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"),
        "{answer}"
    );
    let (first, rest) = r#"{"type":"general","content":"in parts"}"#.split_at(20);
    let small = chunk(first) + &chunk(rest) + "0\r\n\r\n";
    let answer = raw(&app, &head, small.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

/// A connection on which a request with a body has begun.
fn begin(app: &TestApp, length: &str, body: &str) -> TcpStream {
    let address = app.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nConnection: close\r\n{length}\r\n\r\n{body}",
        app.admin
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test]
async fn bodies_in_hand_are_bounded_together() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.max_body_bytes=100KB",
        "server.max_bytes_in_flight=100KB",
    ])
    .await;
    let task = |bytes: usize| json!({"type": "general", "content": "x".repeat(bytes)});
    let body = task(70_000).to_string();
    let (first, rest) = body.split_at(60_000);
    let submit = "/api/v1/tasks/submit";
    let mut begun = None;
    app.until("one that is not whole yet keeps another out", async |app| {
        // There is room until the one comes that is not whole, if it comes first.
        drop(begun.take());
        if app.post(submit, &task(50_000)).await.status != 202 {
            return false;
        }
        begun = Some(begin(
            app,
            &format!("Content-Length: {}", body.len()),
            first,
        ));
        app.post(submit, &task(50_000)).await.status == 503
    })
    .await;
    let mut held = begun.unwrap();
    let refused = app.post(submit, &task(50_000)).await;
    let refused = refused.refuses(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    // Also when its length shows only as it comes.
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", 50_000, "x".repeat(50_000));
    let mut answer = String::new();
    let mut stream = begin(&app, "Transfer-Encoding: chunked", &chunked);
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    app.post(submit, &task(1_000)).await.is(202);

    held.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    app.until("there is room again", async |app| {
        app.post(submit, &task(50_000)).await.status == 202
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.request_head_timeout=1s"]).await;
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100",
        app.admin
    );
    let answer = raw(&app, &head, b"{\"type\":");
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"),
        "{answer}"
    );
}

#[tokio::test]
async fn queries_that_are_not_known_are_refused_on_every_route() {
    let app = TestApp::start().await;
    for route in table().iter().filter(|route| route.access != Access::Open) {
        let method = Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
        let path = format!("{}?color=red", path_of(route));
        let refused = app.send(app.request_as(&app.admin, method, &path)).await;
        let refused = refused.refuses(422, "invalid_parameter");
        assert_eq!(refused.body["parameter"], "color", "{}", route.path);
    }
}

#[tokio::test]
async fn wrong_query_parameters_are_named() {
    let app = TestApp::start().await;
    let id = app.submit(&task("x")).await;
    app.put("/api/v1/bots/b", &json!({"executor": upper()}))
        .await
        .is(201);
    for (path, parameter) in [
        ("/api/v1/tasks?limit=0", "limit"),
        ("/api/v1/tasks?limit=1001", "limit"),
        ("/api/v1/tasks?limit=many", "limit"),
        ("/api/v1/tasks?limit=-1", "limit"),
        ("/api/v1/tasks?limit=1&limit=2", "limit"),
        ("/api/v1/tasks?status=odd", "status"),
        ("/api/v1/tasks?type=A%20B", "type"),
        ("/api/v1/tasks?priority=P4", "priority"),
        ("/api/v1/tasks?priority=P%2B1", "priority"),
        ("/api/v1/tasks?bot=A", "bot"),
        (
            &format!("/api/v1/tasks/{id}/result?wait_ms=60001"),
            "wait_ms",
        ),
        (&format!("/api/v1/tasks/{id}/result?wait_ms=x"), "wait_ms"),
        ("/api/v1/bots/b/logs?lines=0", "lines"),
        ("/api/v1/bots/b/logs?lines=10001", "lines"),
    ] {
        let refused = app.get(path).await.refuses(422, "invalid_parameter");
        assert_eq!(refused.body["parameter"], parameter, "{path}");
    }
    for cursor in ["x", "", "AAAA", "dGFza3M6LTE", "%00"] {
        app.get(&format!("/api/v1/tasks?cursor={cursor}"))
            .await
            .refuses(422, "bad_cursor");
    }
}

#[tokio::test]
async fn unknown_and_impossible_ids_name_nothing() {
    let app = TestApp::start().await;
    let long = "x".repeat(4_000);
    for id in [
        "task_01h455vb4pex5vsknk084sn02q",
        "nonsense",
        "%00",
        "%2e%2e",
        "a%2fb",
        &long,
    ] {
        for (method, rest) in [
            ("GET", ""),
            ("GET", "/status"),
            ("GET", "/result"),
            ("POST", "/cancel"),
        ] {
            let path = format!("/api/v1/tasks/{id}{rest}");
            let request = app.request_as(&app.admin, method.parse().unwrap(), &path);
            assert_eq!(app.send(request).await.status, 404, "{path}");
        }
        let path = format!("/api/v1/auth/keys/{id}/revoke");
        assert_eq!(app.post(&path, &Value::Null).await.status, 404, "{path}");
        for (method, rest) in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/launch"),
            ("POST", "/stop"),
            ("GET", "/logs"),
        ] {
            let path = format!("/api/v1/bots/{id}{rest}");
            let request = app.request_as(&app.admin, method.parse().unwrap(), &path);
            assert_eq!(app.send(request).await.status, 404, "{path}");
        }
    }
    for name in ["A", "-a", "a_b", "a.b", &"x".repeat(64)] {
        let refused = app
            .put(
                &format!("/api/v1/bots/{name}"),
                &json!({"executor": upper()}),
            )
            .await;
        assert_eq!(
            refused.refuses(422, "invalid_parameter").body["parameter"],
            "id"
        );
    }
    app.get("/api/errors/nonsense")
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn tasks_that_are_not_taken_are_refused_with_their_places() {
    let app = TestApp::start().await;
    let before = state(&app).await;
    let with = |name: &str, value: Value| {
        let mut task = task("x");
        task[name] = value;
        task
    };
    let large = "x".repeat((1 << 20) + 1);
    for (body, pointer) in [
        (json!({}), "/type"),
        (json!({"type": "general"}), "/content"),
        (with("type", json!("A B")), "/type"),
        (with("type", json!(null)), "/type"),
        (with("content", json!(5)), "/content"),
        (with("content", json!(large)), "/content"),
        (with("priority", json!("P4")), "/priority"),
        (with("priority", json!(0)), "/priority"),
        (with("tags", json!("one")), "/tags"),
        (with("tags", json!(["ok", 1])), "/tags/1"),
        (with("tags", json!([""])), "/tags/0"),
        (with("tags", json!(vec!["x"; 33])), "/tags"),
        (with("metadata", json!([])), "/metadata"),
        (
            with("metadata", json!({"k": "x".repeat(70_000)})),
            "/metadata",
        ),
        (with("run_at", json!("soon")), "/run_at"),
        (with("run_at", json!(5)), "/run_at"),
        (with("max_attempts", json!(0)), "/max_attempts"),
        (with("max_attempts", json!(101)), "/max_attempts"),
        (with("max_attempts", json!(1.5)), "/max_attempts"),
        (with("timeout_seconds", json!(0)), "/timeout_seconds"),
        (with("timeout_seconds", json!(u64::MAX)), "/timeout_seconds"),
        (
            with("estimated_duration_seconds", json!(-1)),
            "/estimated_duration_seconds",
        ),
        (with("submitter", json!("root")), "/submitter"),
        (with("traceparent", json!("x")), "/traceparent"),
    ] {
        let refused = app
            .post("/api/v1/tasks/submit", &body)
            .await
            .refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{:#}", refused.body);
        let batch = json!({"tasks": [task("ok"), body]});
        let refused = app
            .post("/api/v1/tasks/batch", &batch)
            .await
            .refuses(422, "invalid_input");
        assert_eq!(
            refused.pointers(),
            [format!("/tasks/1{pointer}")],
            "{:#}",
            refused.body
        );
    }
    for (tasks, pointer) in [
        (json!([]), "/tasks"),
        (json!(vec![task("x"); 1_001]), "/tasks"),
        (json!({}), "/tasks"),
        (json!([["general", "x"]]), "/tasks/0"),
    ] {
        let refused = app
            .post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
            .await;
        assert_eq!(refused.refuses(422, "invalid_input").pointers(), [pointer]);
    }
    assert_eq!(state(&app).await, before, "nothing changed");
}

#[tokio::test]
async fn specifications_that_are_not_taken_are_refused_with_their_places() {
    let app = TestApp::start().await;
    let before = state(&app).await;
    for (body, pointer) in [
        (json!({}), "/executor"),
        (json!({"executor": "tr"}), "/executor"),
        (json!({"executor": {"kind": "rocket"}}), "/executor/kind"),
        (
            json!({"executor": {"kind": "command"}}),
            "/executor/command",
        ),
        (
            json!({"executor": {"kind": "command", "command": []}}),
            "/executor/command",
        ),
        (
            json!({"executor": {"kind": "command", "command": ["tr", 5]}}),
            "/executor/command/1",
        ),
        (
            json!({"executor": {"kind": "command", "command": ["tr"], "shell": true}}),
            "/executor/shell",
        ),
        (
            json!({"executor": {"kind": "command", "command": ["tr"], "working_dir": "x"}}),
            "/executor/working_dir",
        ),
        (
            json!({"executor": {"kind": "simulated", "success_rate": 2}}),
            "/executor/success_rate",
        ),
        (
            json!({"executor": upper(), "capabilities": []}),
            "/capabilities",
        ),
        (
            json!({"executor": upper(), "capabilities": {"max_concurrent_tasks": 0}}),
            "/capabilities/max_concurrent_tasks",
        ),
        (
            json!({"executor": upper(), "capabilities": {"specializations": ["A B"]}}),
            "/capabilities/specializations/0",
        ),
        (
            json!({"executor": upper(), "capability": {}}),
            "/capability",
        ),
    ] {
        let refused = app
            .put("/api/v1/bots/b", &body)
            .await
            .refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    assert_eq!(state(&app).await, before, "nothing changed");
}
