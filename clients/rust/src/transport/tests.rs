use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread::JoinHandle,
};

use serde_json::{Value, json};

use super::*;
use crate::Secret;

/// Answers one connection with this text and returns the request.
fn server(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = vec![0; 65_536];
        let n = stream.read(&mut asked).unwrap();
        // The client may hang up before it has read everything.
        let _ = stream.write_all(answer.as_bytes());
        String::from_utf8_lossy(&asked[..n]).into_owned()
    });
    (url, thread)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

async fn ask(answer: String) -> (Result<Value, ClientError>, String) {
    let (url, thread) = server(answer);
    let client = Client::builder(url)
        .key(Secret::new("k3y"))
        .max_body_bytes(1_000)
        .build()
        .unwrap();
    let got = client.get(&["a b", "c/d"]).query("q", Some("x&y")).answer();
    (got.await, thread.join().unwrap())
}

#[tokio::test]
async fn paths_and_queries_are_escaped_and_the_key_is_sent() {
    let (got, asked) = ask(http("200 OK", "", "{\"a\":1}")).await;
    assert_eq!(got.unwrap(), json!({"a": 1}));
    assert!(
        asked.starts_with("GET /a%20b/c%2Fd?q=x%26y HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("authorization: Bearer k3y\r\n"), "{asked}");
}

#[tokio::test]
async fn refusals_are_read() {
    let body = json!({
        "type": "https://x/y", "status": 422, "code": "invalid", "title": "Invalid",
        "detail": "two places", "errors": [{"pointer": "/a", "detail": "is wrong"}],
    });
    let answer = http("422 X", "retry-after: 7\r\n", &body.to_string());
    let error = ask(answer).await.0.unwrap_err();
    assert!(error.has_code("invalid"));
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, &*problem.errors[0].pointer), (422, "/a"));
    assert_eq!(problem.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(error.to_string(), "two places");
}

#[tokio::test]
async fn what_is_no_answer_of_a_hive() {
    let long = format!("\"{}\"", "x".repeat(2_000));
    for (answer, expected) in [
        (
            http("302 Found", "location: http://evil/\r\n", ""),
            "redirects to http://evil/",
        ),
        (http("502 Bad Gateway", "", "<html>"), "502 Bad Gateway"),
        (http("200 OK", "", "<html>"), "cannot be read"),
        (http("200 OK", "", &long), "over 1000 bytes"),
    ] {
        let error = ask(answer).await.0.unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?}").contains("k3y"));
    }
}

#[tokio::test]
async fn the_other_scheme_is_named() {
    for (scheme, answer, instead) in [
        ("https", http("400 Bad Request", "", ""), "http"),
        // A TLS alert: fatal, decode error.
        (
            "http",
            "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{32}".to_owned(),
            "https",
        ),
    ] {
        let (url, thread) = server(answer);
        let to = |scheme: &str| url.replacen("http", scheme, 1);
        let client = Client::builder(to(scheme)).build().unwrap();
        let error = client.ready().await.unwrap_err();
        let ClientError::WrongScheme {
            url,
            instead: try_it,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((url, try_it), (to(scheme), to(instead)));
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn nobody_there_broken_off_and_too_late_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let client = Client::builder(url).build().unwrap();
    let error = client.ready().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );

    let error = ask("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into()).await;
    let error = error.0.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );

    // The server accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(format!("http://{}", silent.local_addr().unwrap()))
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let error = client.ready().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
}
