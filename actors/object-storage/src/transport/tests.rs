//! Limits and refusals, against servers that misbehave.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use object_store::{ObjectStoreExt as _, PutPayload, aws::AmazonS3Builder, path::Path};

use super::*;
use crate::failure::of_store;

/// Limit of the client: short, because tests wait for it.
const LIMIT: Duration = Duration::from_secs(1);

/// Serves each connection with a function, and returns the address.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    format!("http://{address}")
}

fn tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn store(endpoint: &str) -> impl object_store::ObjectStore {
    let connector = Connector {
        tls: tls(),
        limit: LIMIT,
    };
    AmazonS3Builder::new()
        .with_bucket_name("b")
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_access_key_id("AKIAHUNTER2")
        .with_secret_access_key("hunter2")
        .with_retry(object_store::RetryConfig {
            max_retries: 0,
            ..Default::default()
        })
        .with_http_connector(connector)
        .build()
        .unwrap()
}

/// Reads the head of a request.
fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

async fn get(endpoint: &str) -> std::io::Error {
    let store = store(endpoint);
    let read = async { store.get(&Path::from("a")).await?.bytes().await };
    of_store(&read.await.unwrap_err())
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"1\"\r\n";

#[tokio::test]
async fn silent_server_is_given_up() {
    let (ended, keeping) = mpsc::sync_channel::<()>(0);
    let keeping = std::sync::Mutex::new(keeping);
    let endpoint = serve(move |mut stream| {
        head(&mut stream);
        let _ = keeping.lock().unwrap().recv();
    });
    let error = get(&endpoint).await;
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    assert!(
        error.to_string().contains("did not answer within 1 s"),
        "{error}"
    );
    drop(ended);
}

#[tokio::test]
async fn answer_that_trickles_is_given_up() {
    let endpoint = serve(move |mut stream| {
        head(&mut stream);
        let _ = write!(stream, "{HEAD}Content-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            // Bytes that come slowly are the matter of this test.
            let (_never, waits) = mpsc::channel::<()>();
            let _ = waits.recv_timeout(LIMIT / 4);
        }
    });
    let error = get(&endpoint).await;
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
}

#[tokio::test]
async fn slow_server_that_takes_pieces_is_waited_for() {
    // Far more than the buffers of two sockets.
    let bytes = vec![7_u8; 32 << 20];
    let endpoint = serve(move |mut stream| {
        let head = head(&mut stream).to_ascii_lowercase();
        let length = head.split_once("content-length: ").unwrap().1;
        let length: usize = length.split_once("\r\n").unwrap().0.parse().unwrap();
        let mut piece = vec![0; length / 8];
        for _ in 0..8 {
            stream.read_exact(&mut piece).unwrap();
            let (_never, waits) = mpsc::channel::<()>();
            let _ = waits.recv_timeout(LIMIT / 2);
        }
        let _ = write!(stream, "{HEAD}Content-Length: 0\r\n\r\n");
    });
    let pieces = bytes.chunks(PIECE).map(Bytes::copy_from_slice);
    let payload = PutPayload::from_iter(pieces);
    let begun = std::time::Instant::now();
    store(&endpoint)
        .put(&Path::from("a"), payload)
        .await
        .unwrap();
    assert!(begun.elapsed() > 2 * LIMIT);
}

#[tokio::test]
async fn endless_answer_is_not_read_to_its_end() {
    let endpoint = serve(move |mut stream| {
        head(&mut stream);
        let _ = write!(stream, "{HEAD}Content-Length: {}\r\n\r\n", u64::MAX >> 1);
        let piece = vec![0; 1 << 20];
        while stream.write_all(&piece).is_ok() {}
    });
    let store = store(&endpoint);
    let answer = store.get(&Path::from("a")).await.unwrap();
    let mut chunks = answer.into_stream();
    let mut read = 0;
    let error = loop {
        match futures_util::StreamExt::next(&mut chunks).await.unwrap() {
            Ok(chunk) => read += chunk.len() as u64,
            Err(error) => break of_store(&error),
        }
    };
    assert!(read <= BODY_MAX, "{read}");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
}

#[tokio::test]
async fn refusal_is_shown_without_its_secrets() {
    let refusal = "<Error><Code>InvalidAccessKeyId</Code><Message>No such key.</Message><AWSAccessKeyId>AKIAHUNTER2</AWSAccessKeyId><StringToSign>hunter2</StringToSign></Error>";
    for (status, kind) in [
        ("403 Forbidden", std::io::ErrorKind::PermissionDenied),
        ("500 Internal Server Error", std::io::ErrorKind::Other),
        ("404 Not Found", std::io::ErrorKind::NotFound),
        ("501 Not Implemented", std::io::ErrorKind::Unsupported),
    ] {
        let endpoint = serve(move |mut stream| {
            head(&mut stream);
            let length = refusal.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{refusal}"
            );
        });
        let error = get(&endpoint).await;
        let said = error.to_string();
        assert_eq!(error.kind(), kind, "{said}");
        assert!(said.contains("InvalidAccessKeyId: No such key."), "{said}");
        assert!(!said.to_ascii_lowercase().contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn other_failures_name_the_host_and_the_reason() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = get(&format!("http://{closed}")).await;
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    let said = error.to_string();
    assert!(
        said.contains(&format!("no answer from {closed}: Connection refused")),
        "{said}"
    );
    let moved = serve(|mut stream| {
        head(&mut stream);
        let _ = write!(stream, "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n");
    });
    let said = get(&moved).await.to_string();
    assert!(said.contains("region"), "{said}");
}

#[test]
fn hosts_of_this_machine_are_told_from_others() {
    for (name, host) in [
        ("127.0.0.1", Host::Loopback),
        ("[::1]", Host::Loopback),
        ("localhost", Host::Loopback),
        ("169.254.169.254", Host::Metadata),
        ("169.254.170.2", Host::Metadata),
        ("[fd00:ec2::254]", Host::Metadata),
        ("metadata.google.internal.", Host::Metadata),
        ("s3.eu-central-1.amazonaws.com", Host::Other),
        ("127.0.0.1.example.org", Host::Other),
        ("10.0.0.1", Host::Other),
    ] {
        assert_eq!(Host::of(name), host, "{name}");
    }
}
