//! Rate limits and limits of concurrency for callers.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, PATIENCE, TestApp, task};

/// Asks until it is refused for its rate.
async fn until_refused(app: &TestApp, key: &str, method: Method, path: &str) -> Answer {
    for _ in 0..100 {
        let answer = app.send(app.request_as(key, method.clone(), path)).await;
        if answer.status == 429 {
            return answer.refuses(429, "rate_limited");
        }
    }
    panic!("{method} {path} is never refused");
}

#[tokio::test]
async fn each_caller_has_a_budget_for_each_class_of_routes() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.read.per_second=1",
        "limits.read.burst=3",
        "limits.submit.per_second=1",
        "limits.submit.burst=3",
    ])
    .await;
    let other = app.key("other", "operator").await;
    let refused = until_refused(&app, &app.admin, Method::GET, "/api/v1/bots").await;
    assert_eq!(refused.header("ratelimit-policy"), "\"read\";q=3;w=3");
    assert!(refused.header("ratelimit").starts_with("\"read\";r=0;t="));
    assert_eq!(refused.header("retry-after"), "1");
    // The caller's other budgets are whole, and so are those of other callers.
    app.post("/api/v1/tasks/submit", &task("x")).await.is(202);
    app.post("/api/v1/queue/pause", &json!({})).await.is(200);
    app.get_as(&other, "/api/v1/bots").await.is(200);
    let refused = until_refused(&app, &other, Method::POST, "/api/v1/tasks/submit").await;
    assert_eq!(refused.header("ratelimit-policy"), "\"submit\";q=3;w=3");
    app.post("/api/v1/tasks/submit", &task("x")).await.is(202);
}

#[tokio::test]
async fn wrong_keys_are_throttled_and_lock_nobody_out() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.address.per_second=1",
        "limits.address.burst=3",
    ])
    .await;
    let path = "/api/v1/auth/whoami";
    for wrong in ["nonsense", &format!("{}x", app.admin), ""] {
        let refused = until_refused(&app, wrong, Method::GET, path).await;
        assert!(
            refused
                .header("ratelimit-policy")
                .starts_with("\"address\"")
        );
        // From the same address, at the same time.
        app.get(path).await.is(200);
        app.send(app.request(Method::GET, "/livez")).await.is(200);
    }
}

#[tokio::test]
async fn limits_can_be_turned_off() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.enabled=false",
        "limits.read.burst=1",
        "limits.read.per_second=1",
        "server.admission.enabled=false",
    ])
    .await;
    for _ in 0..10 {
        let answer = app.get("/api/v1/auth/whoami").await.is(200);
        assert_eq!(answer.header("ratelimit"), "");
    }
}

/// Waits for the result of a task that never ends: this takes the place of a stream.
async fn wait_for(app: &TestApp, task: &str) -> Answer {
    app.get(&format!("/api/v1/tasks/{task}/result?wait_ms=60000"))
        .await
}

#[tokio::test]
async fn who_finds_no_place_is_told_to_come_back_and_others_get_through() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.admission.stream=1",
        "server.admission.max_wait=10ms",
    ])
    .await;
    let id = app.submit(&task("x")).await;
    let holds = wait_for(&app, &id);
    let others = async {
        app.until_in_hand(1).await;
        let refused = wait_for(&app, &id).await.refuses(503, "overloaded");
        assert_eq!(refused.header("retry-after"), "1");
        assert!(refused.header("ratelimit").starts_with("\"stream\""));
        app.send(app.request(Method::GET, "/readyz")).await.is(200);
        app.get("/api/v1/tasks").await.is(200);
        app.post("/api/v1/queue/pause", &json!({})).await.is(200);
        app.submit(&task("y")).await;
        app.key("new", "operator").await;
        let cancel = format!("/api/v1/tasks/{id}/cancel");
        app.post(&cancel, &json!({})).await.is(200);
    };
    let (held, ()) = tokio::join!(holds, others);
    held.is(200);
    wait_for(&app, &id).await.is(200);
}

#[tokio::test]
async fn who_waits_gets_the_place_that_becomes_free() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.admission.stream=1",
        "server.admission.max_wait=1m",
        "server.admission.max_waiting=1",
    ])
    .await;
    let id = app.submit(&task("x")).await;
    let (holds, waits) = (wait_for(&app, &id), wait_for(&app, &id));
    let others = async {
        app.until_in_hand(2).await;
        // A further request is one too many, and need not wait for the answer.
        wait_for(&app, &id).await.refuses(503, "overloaded");
        let cancel = format!("/api/v1/tasks/{id}/cancel");
        app.post(&cancel, &json!({})).await.is(200);
    };
    let (held, waited, ()) = tokio::join!(holds, waits, others);
    held.is(200);
    waited.is(200);
}

#[tokio::test]
async fn who_is_slow_with_a_body_keeps_no_place_from_others() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.admission.submit=1"]).await;
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).unwrap();
    let body = task("slow").to_string();
    let (begin, end) = body.split_at(1);
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{begin}",
        app.admin,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    app.until_in_hand(1).await;
    app.submit(&task("quick")).await;
    stream.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

fn connect(app: &TestApp) -> TcpStream {
    let stream = TcpStream::connect(app.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A submission of which that has come so far.
fn begin(app: &TestApp, key: &str, length: usize, body: &str) -> TcpStream {
    let mut stream = connect(app);
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {key}\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test]
async fn what_is_announced_keeps_nobody_out() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.max_body_bytes=100KB",
        "server.max_bytes_in_flight=400KB",
    ])
    .await;
    let announce = |_| begin(&app, &app.admin, 100_000, "{");
    let announced: Vec<_> = (0..8).map(announce).collect();
    app.until_in_hand(8).await;
    app.submit(&task(&"x".repeat(90_000))).await;
    drop(announced);
    // Bytes that have come count, and no caller has more of them than its share.
    let other = app.key("other", "operator").await;
    let (submit, large) = ("/api/v1/tasks/submit", task(&"x".repeat(60_000)));
    let mut held = None;
    app.until("one body keeps another of its caller out", async |app| {
        // Whichever of the two comes first keeps the other out.
        held = Some(begin(app, &app.admin, 100_000, &"x".repeat(90_000)));
        app.post(submit, &large).await.status == 503
    })
    .await;
    app.post_as(&other, submit, &large).await.is(202);
    drop(held);
    app.until("there is room again", async |app| {
        app.post(submit, &large).await.status == 202
    })
    .await;
}

#[tokio::test]
async fn a_whole_body_has_its_time() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.request_body_timeout=1s"]).await;
    let mut stream = begin(&app, &app.admin, 100_000, "{");
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let (mut came, begun) = (Vec::new(), Instant::now());
    loop {
        assert!(begun.elapsed() < PATIENCE, "it is never cut off");
        // As fast as it has to be, without a pause.
        let _ = stream.write_all(&[b' '; 100]);
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => came.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let came = String::from_utf8(came).unwrap();
    assert!(came.starts_with("HTTP/1.1 408"), "{came}");
    assert!(came.contains("request_body_timeout"), "{came}");
}

/// Asks for that on a connection that is kept, and reads the first line of the answer.
fn ask(app: &TestApp, key: &str, path: &str) -> (TcpStream, String) {
    let mut stream = connect(app);
    let head = format!("GET {path} HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {key}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let mut line = [0; 12];
    let read = stream.read_exact(&mut line);
    let line = read.map_or(String::new(), |()| String::from_utf8_lossy(&line).into());
    (stream, line)
}

#[tokio::test]
async fn answers_that_are_not_read_are_bounded_together() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "tasks.max_content_bytes=32MiB",
        "server.max_unread_bytes=40MiB",
        "server.write_timeout=10m",
    ])
    .await;
    let other = app.key("other", "operator").await;
    // More than the kernel takes for a connection that nobody reads.
    let id = app.submit(&task(&"x".repeat(30 << 20))).await;
    let path = format!("/api/v1/tasks/{id}");
    let (unread, line) = ask(&app, &app.admin, &path);
    assert_eq!(line, "HTTP/1.1 200");
    // Too much for one caller, and for all together.
    let refused = app.get(&path).await.refuses(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    app.get_as(&other, &path).await.refuses(503, "overloaded");
    app.get("/api/v1/tasks?limit=1").await.is(200);
    app.get("/api/v1/auth/whoami").await.is(200);
    drop(unread);
    app.until("there is room again", async |app| {
        app.get_as(&other, &path).await.status == 200
    })
    .await;
    app.get(&path).await.is(200);
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.max_connections_per_address=3"]).await;
    let many: Vec<_> = (0..8).map(|_| ask(&app, &app.admin, "/livez")).collect();
    let answered = many.iter().filter(|(_, line)| line == "HTTP/1.1 200");
    // The client of the test may have one as well.
    let answered = answered.count();
    assert!((2..=3).contains(&answered), "{answered} of {}", many.len());
    app.until_logged("max_connections_per_address").await;
    drop(many);
    app.until("there is room again", async |app| {
        ask(app, &app.admin, "/livez").1 == "HTTP/1.1 200"
    })
    .await;
}

#[tokio::test]
async fn beyond_all_connections_one_waits_and_those_there_are_served() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.workers=1",
        "server.max_connections=3",
    ])
    .await;
    // The client of the test keeps one.
    app.get("/api/v1/auth/whoami").await.is(200);
    let (first, line) = ask(&app, &app.admin, "/livez");
    assert_eq!(line, "HTTP/1.1 200");
    let (_second, line) = ask(&app, &app.admin, "/livez");
    assert_eq!(line, "HTTP/1.1 200");
    let mut waits = connect(&app);
    waits
        .write_all(b"GET /livez HTTP/1.1\r\nHost: deia\r\n\r\n")
        .unwrap();
    waits
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(
        waits.read(&mut [0; 12]).is_err(),
        "there is no place for it"
    );
    app.get("/api/v1/auth/whoami").await.is(200);
    drop(first);
    waits.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = [0; 12];
    waits.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 200");
}

#[tokio::test]
async fn who_is_no_caller_keeps_no_connection() {
    let app = TestApp::start_with(&["bots.seed=[]", "limits.address.burst=2"]).await;
    for _ in 0..5 {
        let refused = app.get_as("nonsense", "/api/v1/auth/whoami").await;
        assert!(matches!(refused.status, 401 | 429));
        assert_eq!(refused.header("connection"), "close");
    }
    let missing = app
        .get("/api/v1/tasks/task_00000000000000000000000000")
        .await;
    assert_ne!(missing.header("connection"), "close");
}
