use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const TIMEOUTS: Timeouts = Timeouts {
    head: Duration::from_secs(5),
    write: Duration::from_secs(5),
    min_bytes_per_second: 100,
};
const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// Returns a client, the stream that a parser reads, and the switch that stops the server.
fn connected() -> (DuplexStream, Stream<DuplexStream, ()>, watch::Sender<bool>) {
    let (client, server) = tokio::io::duplex(64 << 10);
    let (stop, stopping) = watch::channel(false);
    (client, Stream::new(server, (), TIMEOUTS, stopping), stop)
}

async fn read(stream: &mut Stream<DuplexStream, ()>) -> String {
    let mut bytes = vec![0; 4096];
    let read = stream.read(&mut bytes).await.unwrap();
    bytes.truncate(read);
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn next_request_is_read_once_the_one_before_it_is_answered() {
    let (mut client, mut stream, _stop) = connected();
    client.write_all(GET.repeat(2).as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await, GET);
    let early = tokio::time::timeout(Duration::from_secs(60), read(&mut stream)).await;
    assert!(early.is_err(), "{early:?}");
    stream.connection().answered();
    assert_eq!(read(&mut stream).await, GET);
}

#[tokio::test(start_paused = true)]
async fn refused_request_is_replaced_and_what_follows_it_is_ignored() {
    let (mut client, mut stream, _stop) = connected();
    let bad = GET.replace("Host: a", "Host: a,b") + GET;
    client.write_all(bad.as_bytes()).await.unwrap();
    assert!(read(&mut stream).await.starts_with(REFUSED_METHOD));
    let refusal = stream.connection().refusal().unwrap();
    assert_eq!(refusal.fault, FramingFault::Malformed);
    drop(client);
    assert_eq!(read(&mut stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn head_that_stalls_is_refused_after_its_time() {
    let (mut client, mut stream, _stop) = connected();
    client.write_all(b"GET / HT").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert!(read(&mut stream).await.starts_with(REFUSED_METHOD));
    assert_eq!(begun.elapsed(), TIMEOUTS.head);
    let refusal = stream.connection().refusal().unwrap();
    assert_eq!(refusal.fault, FramingFault::TooSlow);
}

#[tokio::test(start_paused = true)]
async fn expectation_is_hidden_and_met_when_the_body_is_wanted() {
    let (mut client, mut stream, _stop) = connected();
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert!(!read(&mut stream).await.contains("100-continue"));
    stream.connection().invite();
    stream.flush().await.unwrap();
    let mut interim = [0; CONTINUE.len()];
    client.read_exact(&mut interim).await.unwrap();
    assert_eq!(interim, CONTINUE);
}

#[tokio::test(start_paused = true)]
async fn idle_connection_ends_soon_after_the_server_stops() {
    let (_client, mut stream, stop) = connected();
    stop.send_replace(true);
    let begun = tokio::time::Instant::now();
    assert_eq!(read(&mut stream).await, "");
    assert_eq!(begun.elapsed(), FIRST_WHEN_STOPPING);
}
