//! The client that all figures over HTTP share: keep-alive connections, bytes
//! that were put together beforehand, as little of its own as possible.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 << 10),
        })
    }

    /// Sends a request and reads the answer. Returns the status and the body.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            if read == 0 {
                bail!("the connection was closed");
            }
            if let Some((status, from, to)) = answer(&self.buffer)? {
                return Ok((status, &self.buffer[from..to]));
            }
        }
    }
}

/// Returns the status and the place of the body, if the answer is whole.
fn answer(buffer: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&buffer[..end])?;
    let status = head.get(9..12).context("no status")?.parse()?;
    let length = head
        .lines()
        .find_map(|line| {
            line.split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        })
        .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())?;
    let whole = end + 4 + length;
    Ok((buffer.len() >= whole).then_some((status, end + 4, whole)))
}

/// Returns the bytes of a request.
pub(crate) fn request(method: &str, path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends requests over `connections` connections for `time`. Returns the requests a second
/// and the latencies of all of them. Fails on an answer of another status.
pub(crate) async fn rate(
    addr: SocketAddr,
    connections: usize,
    time: Duration,
    request: &[u8],
    expected: u16,
) -> Result<(f64, Vec<Duration>)> {
    let begun = Instant::now();
    let one = || async {
        let mut connection = Connection::open(addr).await?;
        let mut latencies = Vec::new();
        while begun.elapsed() < time {
            let sent = Instant::now();
            let (status, body) = connection.send(request).await?;
            if status != expected {
                bail!("status {status}: {}", String::from_utf8_lossy(body));
            }
            latencies.push(sent.elapsed());
        }
        Ok(latencies)
    };
    let all = futures_util::future::try_join_all((0..connections).map(|_| one())).await?;
    let took = begun.elapsed().as_secs_f64();
    let latencies: Vec<Duration> = all.into_iter().flatten().collect();
    #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
    Ok((latencies.len() as f64 / took, latencies))
}

/// Returns the value below which that share lies.
pub(crate) fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = ((values.len() as f64 - 1.0) * share).round() as usize;
    values.get(at).copied().unwrap_or_default()
}
