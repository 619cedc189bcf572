//! `Expect: 100-continue`: a client is told to send its body only when the body will be
//! read (RFC 9110, 10.1.1).

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::json;

use crate::{
    support::{TestApp, silent, task},
    wire::{Raw, answers, connect, read_to_end},
};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const BODY: &str = r#"{"type":"general","content":"hello"}"#;

/// A head that announces [`BODY`], with these fields instead of the usual ones.
fn head(key: &str, first: &str, fields: &str) -> String {
    let length = match fields.contains("Content-Length") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", BODY.len()),
    };
    let kind = match fields.contains("Content-Type") {
        true => "",
        false => "Content-Type: application/json\r\n",
    };
    format!(
        "{first} HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {key}\r\nExpect: 100-continue\r\n{kind}{length}{fields}\r\n"
    )
}

/// Sends a head alone and returns what comes until the server closes.
fn head_alone(app: &TestApp, head: &str) -> Vec<Raw> {
    let mut stream = connect(app);
    stream.write_all(head.as_bytes()).unwrap();
    answers(&read_to_end(&mut stream))
}

fn statuses(answers: &[Raw]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

fn expect_continue(stream: &mut TcpStream) {
    let mut interim = [0; CONTINUE.len()];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(String::from_utf8_lossy(&interim), CONTINUE);
}

#[tokio::test]
async fn a_request_that_its_head_refuses_is_not_invited_to_send_a_body() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.max_body_bytes=1MiB"]).await;
    let viewer = app.key("vera", "viewer").await;
    let admin = app.admin.as_str();
    let submit = "POST /api/v1/tasks/submit";
    for (key, first, fields, status) in [
        ("none", submit, "", 401),
        (&viewer, submit, "", 403),
        (admin, "POST /api/v1/rockets", "", 404),
        ("none", "POST /api/v1/rockets", "", 401),
        (admin, "POST /api/v1/tasks/rocket/cancel", "", 404),
        (admin, "PUT /api/v1/tasks/submit", "", 405),
        (admin, submit, "Content-Length: 1048577\r\n", 413),
        (admin, submit, "Content-Type: text/plain\r\n", 415),
        (admin, submit, "Content-Encoding: gzip\r\n", 415),
        (
            admin,
            "POST /api/v1/auth/session",
            "Content-Type: text/plain\r\n",
            415,
        ),
        (admin, "POST /api/v1/tasks/submit?x=1", "", 422),
        (admin, "PUT /api/v1/bots/-", "", 422),
        (admin, "PUT /api/v1/bots/a", "If-Match: 3\r\n", 400),
        (
            admin,
            submit,
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            400,
        ),
    ] {
        let answers = head_alone(&app, &head(key, first, fields));
        assert_eq!(statuses(&answers), [status], "{first} {fields}");
    }
    let other = head(admin, submit, "").replace("100-continue", "200-ok");
    assert_eq!(statuses(&head_alone(&app, &other)), [417]);
}

#[tokio::test]
async fn a_request_that_is_limited_or_shed_is_not_invited_to_send_a_body() {
    let settings = [
        "bots.seed=[]",
        "limits.submit.per_second=1",
        "limits.submit.burst=1",
        "server.admission.write=1",
        "server.admission.max_waiting=0",
    ];
    let app = TestApp::start_with(&settings).await;
    app.bot("quiet", silent(), &[]).await;
    app.submit(&task("runs")).await;
    app.until("it runs", async |app| {
        app.get("/api/v1/queue").await.body["totals"]["running"] == 1
    })
    .await;
    // A drain waits in the only place for writes; a submission took the budget.
    let drain = json!({"wait_ms": 50_000});
    let waits = app.request_as(&app.admin, reqwest::Method::POST, "/api/v1/queue/drain");
    let waits = tokio::spawn(waits.json(&drain).send());
    app.until("it waits", async |app| {
        !app.get("/api/v1/queue").await.body["paused"]
            .as_array()
            .unwrap()
            .is_empty()
    })
    .await;
    let write = head(&app.admin, "POST /api/v1/queue/resume", "");
    assert_eq!(statuses(&head_alone(&app, &write)), [503]);
    let submit = head(&app.admin, "POST /api/v1/tasks/submit", "");
    // The rate is one a second: of many in a row, one soon comes too early.
    let limited = (0..100).any(|_| {
        let mut stream = connect(&app);
        stream.write_all(submit.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        match &first {
            b"HTTP/1.1 429" => true,
            b"HTTP/1.1 100" => false,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    });
    assert!(limited);
    waits.abort();
}

#[tokio::test]
async fn a_request_whose_body_is_wanted_is_invited_once_and_answered() {
    let app = TestApp::start().await;
    let submit = "POST /api/v1/tasks/submit";
    // The requests come one after the other on a connection that is kept.
    let mut stream = connect(&app);
    for fields in ["", "expect: 100-CONTINUE\r\n", "Connection: close\r\n"] {
        let head = head(&app.admin, submit, fields);
        stream.write_all(head.as_bytes()).unwrap();
        expect_continue(&mut stream);
        stream.write_all(BODY.as_bytes()).unwrap();
        if fields.contains("close") {
            let last = answers(&read_to_end(&mut stream));
            assert_eq!(statuses(&last), [202]);
            break;
        }
        let answer = next_answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }
    // A chunked body.
    let chunked = head(&app.admin, submit, "Connection: close\r\n").replace(
        &format!("Content-Length: {}", BODY.len()),
        "Transfer-Encoding: chunked",
    );
    let mut stream = connect(&app);
    stream.write_all(chunked.as_bytes()).unwrap();
    expect_continue(&mut stream);
    write!(stream, "{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()).unwrap();
    assert_eq!(statuses(&answers(&read_to_end(&mut stream))), [202]);
    // A body that came with its head needs no invitation, and HTTP/1.0 knows none.
    let close = head(&app.admin, submit, "Connection: close\r\n");
    for text in [
        format!("{close}{BODY}"),
        format!("{}{BODY}", close.replace("HTTP/1.1", "HTTP/1.0")),
    ] {
        let mut stream = connect(&app);
        stream.write_all(text.as_bytes()).unwrap();
        assert_eq!(
            statuses(&answers(&read_to_end(&mut stream))),
            [202],
            "{text}"
        );
    }
    let old = close.replace("HTTP/1.1", "HTTP/1.0");
    let mut stream = connect(&app);
    stream.write_all(old.as_bytes()).unwrap();
    stream.write_all(BODY.as_bytes()).unwrap();
    assert_eq!(statuses(&answers(&read_to_end(&mut stream))), [202]);
}

#[tokio::test]
async fn an_invitation_comes_after_the_answers_before_it() {
    let app = TestApp::start().await;
    let key = &app.admin;
    // The description of the API is much longer than the buffers of a socket.
    let read = format!(
        "GET /api/openapi.json HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    let submit = head(key, "POST /api/v1/tasks/submit", "Connection: close\r\n");
    let mut stream = connect(&app);
    let reads = 40;
    stream
        .write_all((read.repeat(reads) + &submit).as_bytes())
        .unwrap();
    let mut expected = vec![200; reads];
    expected.extend([100, 202]);
    let mut all = Vec::new();
    let mut piece = [0; 1 << 16];
    while !all.ends_with(CONTINUE.as_bytes()) {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "no invitation");
        all.extend_from_slice(&piece[..n]);
    }
    stream.write_all(BODY.as_bytes()).unwrap();
    let text = String::from_utf8(all).unwrap() + &read_to_end(&mut stream);
    assert_eq!(statuses(&answers(&text)), expected);
}

/// The next answer with a length, and no more.
fn next_answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    let lower = text.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    text
}
