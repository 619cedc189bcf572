//! Bytes that are not a proper request: they are refused, and nothing that follows them
//! is carried out. The tests send raw bytes, since no client would send these.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{PATIENCE, TestApp};

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn connect(app: &TestApp) -> TcpStream {
    let stream = TcpStream::connect(app.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends that, and gives everything that comes until the server closes.
fn exchange(app: &TestApp, bytes: &[u8]) -> Vec<Raw> {
    let mut stream = connect(app);
    // The server may have refused the beginning before it has the end.
    let _ = stream.write_all(bytes);
    answers(&read_to_end(&mut stream))
}

pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection is not closed: {error}; so far {all:?}"),
    }
    String::from_utf8(all).unwrap()
}

pub(crate) fn answers(mut text: &str) -> Vec<Raw> {
    let mut all = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length = length.map_or(0, |n| n.parse::<usize>().unwrap());
        all.push(Raw {
            status,
            body: rest[..length].to_owned(),
            head,
        });
        text = &rest[length..];
    }
    assert_eq!(text, "", "what came ends with an answer");
    all
}

fn get(app: &TestApp) -> String {
    let key = &app.admin;
    format!("GET /api/v1/auth/whoami HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {key}\r\n\r\n")
}

/// A submission with these fields besides its key, and then that.
fn submit(app: &TestApp, fields: &str, rest: &str) -> String {
    let key = &app.admin;
    let json = "Content-Type: application/json";
    format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nAuthorization: Bearer {key}\r\n{json}\r\n{fields}\r\n\r\n{rest}"
    )
}

const TASK: &str = r#"{"type":"general","content":"smuggled"}"#;
const MALFORMED: (u16, &str) = (400, "malformed_request");

/// Whole requests that are none, and how they are refused.
fn bad_heads(app: &TestApp) -> Vec<(String, (u16, &'static str))> {
    let length = TASK.len();
    let fields = |fields: &str| (submit(app, fields, TASK), MALFORMED);
    let hosted = |more: &str| fields(&format!("Host: deia\r\n{more}"));
    let line = |line: &str| (format!("{line}\r\nHost: deia\r\n\r\n"), MALFORMED);
    let mut all = vec![
        // The end of the body is ambiguous.
        ("POST /livez HTTP/1.0\r\n\r\n".to_owned(), MALFORMED),
        hosted(&format!(
            "Content-Length: {length}\r\nContent-Length: {length}"
        )),
        hosted(&format!("Content-Length: 0\r\nContent-Length: {length}")),
        hosted(&format!("Content-Length: {length}, {length}")),
        hosted(&format!("Content-Length: +{length}")),
        hosted("Content-Length: -1"),
        hosted("Content-Length: 0x27"),
        hosted("Content-Length: 99999999999999999999"),
        hosted("Content-Length:"),
        hosted(&format!(
            "Content-Length: {length}\r\nTransfer-Encoding: chunked"
        )),
        hosted(&format!(
            "Transfer-Encoding: chunked\r\nContent-Length: {length}"
        )),
        hosted("Transfer-Encoding: xchunked"),
        hosted("Transfer-Encoding: chunked, identity"),
        hosted("Transfer-Encoding: gzip, chunked"),
        hosted("Transfer-Encoding: identity"),
        hosted("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        hosted("Transfer-Encoding: \x0bchunked"),
        hosted("Transfer-Encoding : chunked"),
        hosted("Upgrade: websocket\r\nConnection: upgrade"),
        // Broken lines and characters.
        hosted(" Content-Length: 3"),
        hosted("X: a\r\n b: c"),
        hosted("X: a\x00b"),
        hosted("X: a\rb"),
        hosted("X: a\x7f"),
        hosted("X\x01: a"),
        hosted("X"),
        hosted(": a"),
        (get(app).replace("\r\n", "\n"), MALFORMED),
        (get(app).replacen("\r\n", "\n", 1), MALFORMED),
        (get(app).replace("\r\n\r\n", "\r\n\n"), MALFORMED),
        // The host is missing or ambiguous.
        fields("X: no-host"),
        fields("Host: deia\r\nHost: deia"),
        fields("Host: deia\r\nHost: other"),
        fields("Host: deia, other"),
        fields("Host: deia/path"),
        fields("Host: user@deia"),
        fields("Host: deia:port"),
        fields("Host: deia other"),
        fields("Host:"),
        // First lines.
        line("GET /livez#fragment HTTP/1.1"),
        line("GET http://other/livez HTTP/1.1"),
        line("GET http://user@deia/livez HTTP/1.1"),
        line("GET deia/livez HTTP/1.1"),
        line("GET  /livez HTTP/1.1"),
        line("GET /livez  HTTP/1.1"),
        line("GET\t/livez\tHTTP/1.1"),
        line("GET /live\x01z HTTP/1.1"),
        line("GET /livez"),
        line("GET /livez HTTP/0.9"),
        line("GET /livez HTTP/2.0"),
        line("GET /livez http/1.1"),
        line("G=T /livez HTTP/1.1"),
        line("CONNECT deia:80 HTTP/1.1"),
        line("CONNECT /livez HTTP/1.1"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), MALFORMED),
        ("\x16\x03\x01\x02".into(), MALFORMED),
        // More than there may be.
        (
            hosted("Expect: the-unexpected").0,
            (417, "expectation_failed"),
        ),
    ];
    let long = "x".repeat(8_200);
    all.push((
        line(&format!("GET /{long} HTTP/1.1")).0,
        (414, "target_too_long"),
    ));
    let large = format!("X: {}", long.repeat(5));
    all.push((hosted(&large).0, (431, "head_too_large")));
    all.push((hosted(&"X: y\r\n".repeat(70)).0, (431, "head_too_large")));
    all
}

/// Bodies that end nowhere that all parsers agree on.
fn bad_chunks() -> Vec<String> {
    let extensions = format!("1;{}\r\n", "x".repeat(200));
    let many = format!("1;{}\r\n ", "x".repeat(100)).to_owned() + "\r\n";
    let chunk = |size: &str| format!("{size}\r\n{TASK}\r\n0\r\n\r\n");
    let size = format!("{:x}", TASK.len());
    vec![
        chunk("zz"),
        chunk(""),
        chunk("-1"),
        chunk(&format!("+{size}")),
        chunk(&format!("0x{size}")),
        chunk(&format!("{size} ")),
        chunk(&format!("0{}{size}", "0".repeat(20))),
        chunk("ffffffffffffffff"),
        chunk("10000000000000000"),
        chunk("1"),
        chunk(&size).replacen("\r\n", "\n", 1),
        chunk(&size).replace("\r\n0", "0"),
        format!("{size}\r\n{TASK}\r\n0\r\nX-Trailer: y\r\n\r\n"),
        format!("{size}\r\n{TASK}\r\n0\r\n\n"),
        extensions,
        many.repeat(60),
        "1;\x01\r\n \r\n".into(),
    ]
}

async fn nothing_was_done(app: &TestApp) {
    let tasks = app.get("/api/v1/tasks").await.is(200).body;
    assert_eq!(
        tasks["items"],
        Value::Array(vec![]),
        "something was smuggled in"
    );
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_ends_the_connection() {
    let app = TestApp::start_with(&["bots.seed=[]", "limits.address.burst=100000"]).await;
    let length = format!("Host: deia\r\nContent-Length: {}", TASK.len());
    let smuggled = submit(&app, &length, TASK);
    for (bad, (status, code)) in bad_heads(&app) {
        let shown: String = bad.chars().take(300).collect();
        let came = exchange(&app, [&*get(&app), &bad, &smuggled].concat().as_bytes());
        assert_eq!(came.len(), 2, "{shown:?}: {came:?}");
        assert_eq!(came[0].status, 200, "{shown:?}: {came:?}");
        assert_eq!(came[1].status, status, "{shown:?}: {came:?}");
        assert!(
            came[1]
                .head
                .contains("content-type: application/problem+json"),
            "{came:?}"
        );
        assert!(
            came[1].head.contains("connection: close"),
            "{shown:?}: {came:?}"
        );
        let body: Value = serde_json::from_str(&came[1].body).unwrap();
        assert_eq!(body["code"], code, "{shown:?}: {body:#}");
        // The same at the beginning of a connection.
        let came = exchange(&app, [&*bad, &smuggled].concat().as_bytes());
        assert_eq!(
            (came.len(), came[0].status),
            (1, status),
            "{shown:?}: {came:?}"
        );
    }
    nothing_was_done(&app).await;
}

#[tokio::test]
async fn a_body_that_ends_nowhere_is_refused_and_ends_the_connection() {
    let app = TestApp::start().await;
    let length = format!("Host: deia\r\nContent-Length: {}", TASK.len());
    let smuggled = submit(&app, &length, TASK);
    for body in bad_chunks() {
        let bad = submit(&app, "Host: deia\r\nTransfer-Encoding: chunked", &body);
        let came = exchange(&app, [&*get(&app), &bad, &smuggled].concat().as_bytes());
        let statuses: Vec<u16> = came.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 400], "{body:?}: {came:?}");
        let told: Value = serde_json::from_str(&came[1].body).unwrap();
        assert_eq!(told["code"], "malformed_request", "{body:?}: {told:#}");
    }
    nothing_was_done(&app).await;
}

#[tokio::test]
async fn what_is_odd_and_right_is_served() {
    let app = TestApp::start().await;
    let (get, key) = (get(&app), &app.admin);
    let size = format!("{:X}", TASK.len());
    let chunked = "Host: deia\r\ntransfer-encoding:CHUNKED";
    let (begin, end) = TASK.split_at(7);
    let two = format!(
        "7;name=\"value\"\r\n{begin}\r\n{:x}\r\n{end}\r\n000\r\n\r\n",
        end.len()
    );
    let expecting = format!(
        "Host: deia\r\nExpect: 100-continue\r\nContent-Length: {}",
        TASK.len()
    );
    let requests = [
        get.clone(),
        format!("\r\n{get}"),
        get.replace("Host: deia", "hOST:deia:80 "),
        get.replace("Host: deia", "Host: [::1]:8000"),
        get.replace("/api/v1", "http://deia/api/v1"),
        get.replace("\r\n\r\n", "\r\nX:\r\nY: \u{e9}\r\n\r\n"),
        submit(&app, chunked, &format!("{size}\r\n{TASK}\r\n0\r\n\r\n")),
        submit(&app, chunked, &two),
        submit(&app, &expecting, TASK),
        format!("GET /livez HTTP/1.0\r\nAuthorization: Bearer {key}\r\n\r\n"),
    ];
    let came = exchange(&app, requests.concat().as_bytes());
    let statuses: Vec<u16> = came.iter().map(|answer| answer.status).collect();
    // The body has come: it needs no 100.
    let expected = [200, 200, 200, 200, 200, 200, 202, 202, 202, 200];
    assert_eq!(statuses, expected, "{came:#?}");
    // The result is the same for one byte at a time.
    let mut stream = connect(&app);
    for byte in [&*requests[7], &*requests[9]].concat().bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let came = answers(&read_to_end(&mut stream));
    let statuses: Vec<u16> = came.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [202, 200], "{came:#?}");
}

#[tokio::test]
async fn what_the_guard_lets_pass_the_parser_takes() {
    let app = TestApp::start_with(&["bots.seed=[]", "limits.address.burst=100000"]).await;
    let key = &app.admin;
    let mut requests = Vec::new();
    for odd in (b'!'..=b'~').map(char::from) {
        requests.push(format!("GET /x{odd}y HTTP/1.1\r\nHost: a\r\n"));
        requests.push(format!("GET /livez?x{odd}y HTTP/1.1\r\nHost: a\r\n"));
        requests.push(format!(
            "GET /livez HTTP/1.1\r\nHost: a\r\nX{odd}y: {odd}\r\n"
        ));
        requests.push(format!("G{odd}T /livez HTTP/1.1\r\nHost: a\r\n"));
    }
    for head in requests {
        let last = format!("{head}Authorization: Bearer {key}\r\nConnection: close\r\n\r\n");
        let came = exchange(&app, last.as_bytes());
        assert_eq!(came.len(), 1, "{head:?}: {came:?}");
        // A refusal has the usual form, no matter which part refuses.
        assert!(
            came[0].head.contains("x-request-id: "),
            "{head:?}: {came:?}"
        );
        assert!(came[0].status < 500, "{head:?}: {came:?}");
    }
    // A connection of HTTP/1.0 is kept when that is asked for.
    let old = "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let came = exchange(
        &app,
        [old, old, "GET /livez HTTP/1.0\r\n\r\n"]
            .concat()
            .as_bytes(),
    );
    assert_eq!(came.len(), 3, "{came:?}");
}

/// Sends a byte of `drip` now and then until the server closes, and gives what it said.
fn trickle(app: &TestApp, begin: &str, drip: &str) -> Vec<Raw> {
    let mut stream = connect(app);
    stream.write_all(begin.as_bytes()).unwrap();
    let pause = Duration::from_millis(20);
    stream.set_read_timeout(Some(pause)).unwrap();
    let (mut came, mut bytes, begun) = (Vec::new(), drip.bytes().cycle(), Instant::now());
    loop {
        assert!(begun.elapsed() < PATIENCE, "it is never cut off: {begin:?}");
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => came.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(_) => {
                // When it is refused nobody reads any longer.
                let byte: Vec<u8> = bytes.by_ref().take(1).collect();
                let _ = stream.write_all(&byte);
            }
        }
    }
    answers(&String::from_utf8(came).unwrap())
}

#[tokio::test]
async fn who_is_slow_is_cut_off() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "server.request_head_timeout=1s",
        "server.min_bytes_per_second=1000",
    ])
    .await;
    let get = get(&app);
    let body = submit(&app, "Host: deia\r\nContent-Length: 100000", "{");
    let chunked = submit(&app, "Host: deia\r\nTransfer-Encoding: chunked", "");
    for (begin, drip, statuses) in [
        // Without a word.
        ("", "", &[][..]),
        // A head that stops, and one that does not end.
        ("GET /livez HTTP/1.1\r\n", "", &[408]),
        ("GET /livez HTTP/1.1\r\nX: ", "x", &[408]),
        (&format!("{get}GET"), "", &[200, 408]),
        // A body that stops, and one that comes a byte at a time.
        (&body, "", &[408]),
        (&body, " ", &[408]),
        (&chunked, "1\r\n \r\n", &[408]),
    ] {
        let came = trickle(&app, begin, drip);
        let told: Vec<u16> = came.iter().map(|answer| answer.status).collect();
        assert_eq!(told, statuses, "{begin:?} {drip:?}: {came:?}");
    }
    nothing_was_done(&app).await;
    app.get("/api/v1/auth/whoami").await.is(200);
}

#[tokio::test]
async fn who_says_nothing_more_is_let_go() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.keep_alive=1s"]).await;
    let mut stream = connect(&app);
    stream.write_all(get(&app).as_bytes()).unwrap();
    let came = answers(&read_to_end(&mut stream));
    assert_eq!((came.len(), came[0].status), (1, 200), "{came:?}");
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.write_timeout=1s"]).await;
    let mut stream = connect(&app);
    let key = &app.admin;
    let large = format!(
        "GET /api/openapi.json HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let begun = Instant::now();
    loop {
        match stream.write(large.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(begun.elapsed() < PATIENCE, "it is never cut off");
    }
    app.get("/api/v1/auth/whoami").await.is(200);
}

#[tokio::test]
async fn requests_sent_ahead_wait_for_their_turn() {
    let app = TestApp::start_with(&["bots.seed=[]"]).await;
    let id = app
        .submit(&json!({"type": "general", "content": "x"}))
        .await;
    let key = app.admin.clone();
    let ask = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {key}\r\n\r\n")
    };
    // A later request does not decide on the form of an earlier answer.
    let result = format!("/api/v1/tasks/{id}/result?wait_ms=300");
    let mut stream = connect(&app);
    let both = ask("GET", &result) + &ask("HEAD", "/api/v1/auth/whoami");
    stream.write_all(both.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let text = read_to_end(&mut stream);
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 409"), "{text}");
    assert!(
        rest.starts_with('{') && rest.contains("task_not_finished"),
        "{text}"
    );
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");

    // However many there are: none is taken in before the one before it is answered.
    let mut stream = connect(&app);
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    stream
        .write_all(ask("GET", &result.replace("300", "3000")).as_bytes())
        .unwrap();
    let flood = "GET /livez HTTP/1.1\r\nHost: deia\r\n\r\n".repeat(200_000);
    let sent = stream.write_all(flood.as_bytes());
    assert!(
        sent.is_err(),
        "7 MB were taken in while a request was in hand"
    );
}

#[tokio::test]
async fn small_bodies_may_come_late_again_and_again() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.request_head_timeout=1s"]).await;
    let mut stream = connect(&app);
    let body = r#"{"type":"general","content":"x"}"#;
    let head = format!(
        "POST /api/v1/tasks/submit HTTP/1.1\r\nHost: deia\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        app.admin,
        body.len()
    );
    for n in 0..8 {
        stream.write_all(head.as_bytes()).unwrap();
        // Nothing comes back while the body is waited for.
        let pause = Some(Duration::from_millis(400));
        stream.set_read_timeout(pause).unwrap();
        assert!(stream.read(&mut [0; 1]).is_err(), "request {n}");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 202", "request {n}");
        let mut rest = [0; 4096];
        let _ = stream.read(&mut rest).unwrap();
    }
}
