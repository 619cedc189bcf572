//! Answers that are read piece by piece, and looks whether something listens.

use super::*;

fn request(method: Method) -> OutgoingRequest {
    OutgoingRequest {
        method,
        headers: HeaderMap::new(),
        body: Bytes::new(),
    }
}

fn head_limits() -> HeadLimits {
    limits().head()
}

async fn open(receiver: &Receiver, limits: HeadLimits) -> Result<Incoming, ExchangeError> {
    let client = client();
    let url = format!("http://127.0.0.1:{}/events", receiver.port);
    let target = client.policy().check_url(&url).unwrap();
    client.open(&target, request(Method::GET), limits).await
}

#[tokio::test]
async fn pieces_are_there_before_the_answer_is_complete() {
    let (go_on, may_go_on) = tokio::sync::watch::channel(false);
    let receiver = Receiver::start(move |mut stream| {
        let mut gate = may_go_on.clone();
        async move {
            let request = read_request(&mut stream).await?;
            assert!(request.starts_with("get /events http/1.1\r\n"), "{request}");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nx-a: b\r\nretry-after: 7\r\n\r\nfirst")
                .await?;
            let _ = gate.wait_for(|open| *open).await;
            stream.write_all(b" last").await
        }
    })
    .await;
    let mut incoming = open(&receiver, head_limits()).await.unwrap();
    assert_eq!(incoming.status, 200);
    assert_eq!(incoming.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(incoming.headers()["x-a"], "b");
    assert_eq!(incoming.chunk().await.unwrap().unwrap(), "first");
    go_on.send_replace(true);
    assert_eq!(incoming.chunk().await.unwrap().unwrap(), " last");
    assert_eq!(incoming.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn answer_that_breaks_off_is_told_from_one_that_ends() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfirst";
    let receiver = Receiver::answering_once(cut).await;
    let mut incoming = open(&receiver, head_limits()).await.unwrap();
    assert_eq!(incoming.chunk().await.unwrap().unwrap(), "first");
    let error = incoming.chunk().await.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Closed(Phase::Body)),
        "{error}"
    );
    assert!(error.may_have_arrived());
}

#[tokio::test]
async fn receiver_that_says_nothing_misses_the_deadline_of_the_head() {
    let receiver = Receiver::silent().await;
    let limits = HeadLimits {
        deadline: SHORT,
        ..head_limits()
    };
    let error = open(&receiver, limits).await.err().unwrap();
    assert!(matches!(error, ExchangeError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn knock_tells_whether_something_listens() {
    let receiver = Receiver::silent().await;
    let client = client();
    let target = |port: u16| {
        let url = format!("http://127.0.0.1:{port}/");
        client.policy().check_url(&url).unwrap()
    };
    client.knock(&target(receiver.port), AMPLE).await.unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let error = client.knock(&target(port), AMPLE).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Connect(_)), "{error}");
    assert!(!error.may_have_arrived());
}

#[tokio::test]
async fn knock_goes_to_checked_addresses_only() {
    let receiver = Receiver::silent().await;
    let before = receiver.connections();
    let client = client_looking(Answers::new(&[&["127.0.0.1", "10.0.0.1"]]));
    let url = format!("http://receiver.example:{}/", receiver.port);
    let target = client.policy().check_url(&url).unwrap();
    let error = client.knock(&target, AMPLE).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Refused(_)), "{error}");
    assert_eq!(receiver.connections(), before);
}
