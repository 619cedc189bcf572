use std::{net::IpAddr, time::Duration};

use reqwest::header::HeaderValue;
use tokio::io::AsyncWriteExt;

use self::receiver::{Answers, Receiver, SilentLookup, read_request};
use super::*;
use crate::outgoing::{Answered, LookupError, RefusalReason};

mod hostile;
mod moving;
mod open;
mod receiver;
mod tls;

/// Time within which each exchange of a test ends by itself; none comes near it.
const AMPLE: Duration = Duration::from_secs(60);
/// Deadline of exchanges that are meant to miss it.
const SHORT: Duration = Duration::from_millis(700);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_AND_CLOSE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

fn limits() -> ExchangeLimits {
    ExchangeLimits {
        deadline: AMPLE,
        max_body_bytes: 1_000,
        max_head_bytes: 16 * 1_024,
        max_retry_after: Duration::from_secs(3_600),
    }
}

fn within(deadline: Duration) -> ExchangeLimits {
    ExchangeLimits {
        deadline,
        ..limits()
    }
}

fn loopback() -> ReachPolicy {
    ReachPolicy {
        allow_http: true,
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..ReachPolicy::new("webhooks")
    }
}

fn client_with(
    policy: ReachPolicy,
    options: OutgoingOptions,
    lookup: Arc<dyn Lookup>,
) -> OutgoingClient {
    let tls = tls_trusting(rustls::RootCertStore::empty()).unwrap();
    OutgoingClient::new(policy, options, tls, lookup).unwrap()
}

fn client() -> OutgoingClient {
    client_with(loopback(), OutgoingOptions::default(), Answers::new(&[]))
}

fn client_looking(lookup: Arc<dyn Lookup>) -> OutgoingClient {
    client_with(loopback(), OutgoingOptions::default(), lookup)
}

async fn post_to(client: &OutgoingClient, url: &str, limits: ExchangeLimits) -> Exchange {
    let target = client.policy().check_url(url).unwrap();
    let body = Bytes::from_static(b"{\"type\":\"task.completed\"}");
    client.post(&target, HeaderMap::new(), body, limits).await
}

/// Sends a request to a receiver on loopback.
async fn post(receiver: &Receiver, limits: ExchangeLimits) -> Exchange {
    let url = format!("http://127.0.0.1:{}/hook", receiver.port);
    post_to(&client(), &url, limits).await
}

async fn answer_of(receiver: &Receiver) -> Answered {
    post(receiver, limits()).await.outcome.unwrap()
}

async fn error_of(receiver: &Receiver, limits: ExchangeLimits) -> ExchangeError {
    post(receiver, limits).await.outcome.unwrap_err()
}

fn refusal_of(exchange: Exchange) -> RefusalReason {
    match exchange.outcome {
        Err(ExchangeError::Refused(refusal)) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_arrives_whole_and_the_answer_comes_back() {
    let (sent, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let receiver = Receiver::start(move |mut stream| {
        let sent = sent.clone();
        async move {
            sent.send(read_request(&mut stream).await?).unwrap();
            stream.write_all(OK.as_bytes()).await
        }
    })
    .await;
    let client = client();
    let url = format!("http://127.0.0.1:{}/hook?a=b", receiver.port);
    let target = client.policy().check_url(&url).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
    let body = Bytes::from_static(b"{\"a\":1}");
    let exchange = client.post(&target, headers, body, limits()).await;
    let expected = Answered {
        status: 200,
        retry_after: None,
        body: Bytes::from_static(b"ok"),
        truncated: false,
    };
    assert_eq!(exchange.outcome.unwrap(), expected);
    assert!(exchange.duration < AMPLE);
    let request = requests.recv().await.unwrap();
    assert!(
        request.starts_with("post /hook?a=b http/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    for header in [
        "webhook-id: msg_1",
        "content-length: 7",
        concat!("user-agent: deia/", env!("CARGO_PKG_VERSION")),
        &format!("host: 127.0.0.1:{}", receiver.port),
    ] {
        assert!(
            request.contains(&format!("\r\n{header}\r\n")),
            "{header} in {request}"
        );
    }
    for absent in ["accept-encoding", "transfer-encoding", "referer"] {
        assert!(!request.contains(absent), "{absent} in {request}");
    }
}

#[tokio::test]
async fn connections_are_used_again_until_the_policy_changes() {
    let receiver = Receiver::answering(OK).await;
    let client = client();
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    for _ in 0..3 {
        post_to(&client, &url, limits()).await.outcome.unwrap();
    }
    assert_eq!(receiver.connections(), 1);
    let target = client.policy().check_url(&url).unwrap();
    // The same policy again is no change.
    client.set_policy(loopback()).unwrap();
    post_to(&client, &url, limits()).await.outcome.unwrap();
    assert_eq!(receiver.connections(), 1);
    let mut wider = loopback();
    wider.allow_ports.push(9_999);
    client.set_policy(wider).unwrap();
    post_to(&client, &url, limits()).await.outcome.unwrap();
    assert_eq!(receiver.connections(), 2);
    // A URL that the old policy let pass is judged by the new one.
    client.set_policy(ReachPolicy::new("webhooks")).unwrap();
    let exchange = client
        .post(&target, HeaderMap::new(), Bytes::new(), limits())
        .await;
    assert_eq!(
        refusal_of(exchange),
        RefusalReason::PlainHttp { inside: false }
    );
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let inside = Receiver::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://127.0.0.1:{}/", inside.port);
        let answer =
            format!("HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        assert_eq!(answer_of(&receiver).await.status, status);
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_read_and_bounded() {
    for (value, seconds) in [("7", Some(7)), ("99999", Some(3_600)), ("soon", None)] {
        let answer =
            format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let answered = answer_of(&Receiver::answering(answer).await).await;
        assert_eq!(answered.status, 503);
        assert_eq!(answered.retry_after, seconds.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn reserved_headers_are_refused_before_anything_is_sent() {
    let receiver = Receiver::answering(OK).await;
    let client = client();
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let target = client.policy().check_url(&url).unwrap();
    for name in [
        "host",
        "transfer-encoding",
        "content-length",
        "connection",
        "upgrade",
    ] {
        let name = HeaderName::from_static(name);
        assert!(is_reserved_header(&name));
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("x"))]);
        let exchange = client.post(&target, headers, Bytes::new(), limits()).await;
        let error = exchange.outcome.unwrap_err();
        assert!(matches!(error, ExchangeError::Request(_)), "{error}");
    }
    assert_eq!(receiver.connections(), 0);
    assert!(!is_reserved_header(&HeaderName::from_static(
        "authorization"
    )));
}

#[tokio::test]
async fn look_ups_fail_with_their_reason() {
    let url = "http://receiver.example:9000/";
    let unknown = post_to(&client(), url, limits()).await.outcome.unwrap_err();
    assert!(
        matches!(unknown, ExchangeError::Lookup(LookupError::Failed(_))),
        "{unknown:?}"
    );
    assert_eq!(
        unknown.to_string(),
        "the look-up of the name failed: no such name"
    );

    let options = OutgoingOptions {
        lookup_timeout: SHORT,
        ..OutgoingOptions::default()
    };
    let silent = client_with(loopback(), options, Arc::new(SilentLookup));
    let late = post_to(&silent, url, limits()).await.outcome.unwrap_err();
    assert!(
        matches!(late, ExchangeError::Lookup(LookupError::TimedOut(SHORT))),
        "{late:?}"
    );

    let silent = client_looking(Arc::new(SilentLookup));
    let cut = post_to(&silent, url, within(SHORT))
        .await
        .outcome
        .unwrap_err();
    let expected = Phase::Lookup;
    assert!(
        matches!(cut, ExchangeError::TimedOut { phase, after: SHORT } if phase == expected),
        "{cut:?}"
    );
}

#[tokio::test]
async fn the_look_up_of_the_system_finds_loopback() {
    let lookup = crate::outgoing::SystemLookup::new(1);
    for _ in 0..3 {
        let found = lookup.lookup("localhost").await.unwrap();
        assert!(
            !found.is_empty() && found.iter().all(IpAddr::is_loopback),
            "{found:?}"
        );
    }
}

/// Set for the process that is started with proxies in its environment.
const BEHIND_PROXY: &str = "DEIA_TEST_BEHIND_PROXY";

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    if std::env::var_os(BEHIND_PROXY).is_some() {
        let receiver = Receiver::answering(OK).await;
        assert_eq!(answer_of(&receiver).await.status, 200);
        assert_eq!(receiver.connections(), 1);
        return;
    }
    let proxy = Receiver::answering("HTTP/1.1 502 Proxy\r\ncontent-length: 0\r\n\r\n").await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child
        .args([
            "--exact",
            "outgoing::client::tests::a_proxy_of_the_environment_is_not_used",
        ])
        .env(BEHIND_PROXY, "1")
        .kill_on_drop(true);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        let url = format!("http://127.0.0.1:{}", proxy.port);
        child.env(name, &url).env(name.to_uppercase(), &url);
    }
    for name in ["no_proxy", "NO_PROXY"] {
        child.env_remove(name);
    }
    let output = child.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    assert_eq!(proxy.connections(), 0);
}
