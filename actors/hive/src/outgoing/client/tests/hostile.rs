//! Receivers that misbehave.

use std::future::pending;

use super::*;

/// 20,000 zeros, compressed by gzip.
const GZIP_OF_ZEROS: &str = "1f8b0800000000000203edc13101000000c2a0f54f6d0d0fa000000000000000000000000000000000000000783002532f97204e0000";

fn timed_out_in(error: &ExchangeError, expected: Phase) -> bool {
    matches!(error, ExchangeError::TimedOut { phase, after: SHORT } if *phase == expected)
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let error = error_of(&Receiver::silent().await, within(SHORT)).await;
    assert!(timed_out_in(&error, Phase::Answer), "{error:?}");
    assert_eq!(
        error.to_string(),
        "no complete answer within 700ms; the time ran out while waiting for the answer"
    );
}

#[tokio::test]
async fn an_answer_in_drops_ends_at_the_deadline() {
    for (start, phase) in [
        ("HTTP/1.1 200 OK\r\nx: ", Phase::Answer),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n",
            Phase::Body,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n384\r\n",
            Phase::Body,
        ),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", Phase::Body),
    ] {
        let receiver = Receiver::start(move |mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(start.as_bytes()).await?;
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                stream.write_all(b"a").await?;
            }
        })
        .await;
        let error = error_of(&receiver, within(SHORT)).await;
        assert!(timed_out_in(&error, phase), "{start:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_reads_nothing_ends_at_the_deadline() {
    let receiver = Receiver::start(|stream| async move {
        let _open = stream;
        pending().await
    })
    .await;
    let client = client();
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let target = client.policy().check_url(&url).unwrap();
    // More than the buffers of the two sockets take.
    let body = Bytes::from(vec![b'a'; 32 << 20]);
    let exchange = client
        .post(&target, HeaderMap::new(), body, within(SHORT))
        .await;
    let error = exchange.outcome.unwrap_err();
    assert!(timed_out_in(&error, Phase::Answer), "{error:?}");
}

#[tokio::test]
async fn an_endless_body_is_cut_and_its_connection_closed() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
    ] {
        let (closed, mut was_closed) = tokio::sync::mpsc::unbounded_channel();
        let receiver = Receiver::start(move |mut stream| {
            let closed = closed.clone();
            async move {
                read_request(&mut stream).await?;
                stream.write_all(head.as_bytes()).await?;
                while stream.write_all(&[b'a'; 4_096]).await.is_ok() {}
                closed.send(()).map_err(std::io::Error::other)
            }
        })
        .await;
        let answered = answer_of(&receiver).await;
        assert_eq!((answered.status, answered.truncated), (200, true));
        assert_eq!(answered.body, vec![b'a'; 1_000]);
        was_closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_body_at_the_limit_is_whole() {
    for (bytes, truncated) in [(999, false), (1_000, false), (1_001, true)] {
        let body = "a".repeat(bytes);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{body}");
        let answered = answer_of(&Receiver::answering(answer).await).await;
        assert_eq!(answered.truncated, truncated, "{bytes}");
        assert_eq!(answered.body.len(), bytes.min(1_000));
    }
}

#[tokio::test]
async fn a_compressed_body_stays_compressed() {
    let bomb = data_encoding::HEXLOWER
        .decode(GZIP_OF_ZEROS.as_bytes())
        .unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let receiver = Receiver::answering([head.as_bytes(), &bomb].concat()).await;
    let answered = answer_of(&receiver).await;
    assert_eq!(answered.body, bomb);
    assert!(!answered.truncated);
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_malformed() {
    let many = "a: b\r\n".repeat(10_000);
    let some = "a: b\r\n".repeat(101);
    for headers in [
        many,
        some,
        format!("a: {}\r\n", "b".repeat(17 * 1_024)),
        format!("a: {}\r\n", "b".repeat(2 << 20)),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
        let error = error_of(&Receiver::answering(answer).await, limits()).await;
        assert!(matches!(error, ExchangeError::Malformed(_)), "{error:?}");
    }
    let allowed = "a: b\r\n".repeat(99);
    let answer = format!("HTTP/1.1 200 OK\r\n{allowed}content-length: 0\r\n\r\n");
    assert_eq!(
        answer_of(&Receiver::answering(answer).await).await.status,
        200
    );
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_malformed() {
    for answer in [
        "hello\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        let error = error_of(&Receiver::answering(answer).await, limits()).await;
        assert!(
            matches!(error, ExchangeError::Malformed(_)),
            "{answer:?}: {error:?}"
        );
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_told_with_its_phase() {
    for (answer, phase) in [
        ("", Phase::Answer),
        ("HTTP/1.1 200 OK\r\nconte", Phase::Answer),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            Phase::Body,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
            Phase::Body,
        ),
    ] {
        let error = error_of(&Receiver::answering_once(answer).await, limits()).await;
        assert!(
            matches!(error, ExchangeError::Closed(at) if at == phase),
            "{answer:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_reset_is_told_as_closed() {
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await?;
        // Without lingering, the connection is reset when it is dropped.
        stream.set_zero_linger()
    })
    .await;
    let error = error_of(&receiver, limits()).await;
    assert!(
        matches!(error, ExchangeError::Closed(Phase::Answer)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_closed_port_is_told_as_such() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}/s3cret");
    let error = post_to(&client(), &url, limits())
        .await
        .outcome
        .unwrap_err();
    assert!(matches!(error, ExchangeError::Connect(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("refused") && !text.contains("s3cret"),
        "{text}"
    );
}
