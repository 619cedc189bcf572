//! Receivers on loopback with every manner of misbehaviour, and look-ups that tell what a test
//! wants.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::super::Lookup;

/// A listener that runs a function on each connection.
pub(super) struct Receiver {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    pub(super) async fn start<W>(behave: impl Fn(TcpStream) -> W + Send + 'static) -> Self
    where
        W: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(behave(stream));
            }
        });
        Self { port, connections }
    }

    /// Starts a receiver that answers each request with these bytes, then keeps the connection.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                loop {
                    read_request(&mut stream).await?;
                    stream.write_all(&answer).await?;
                }
            }
        })
        .await
    }

    /// Starts a receiver that answers the first request of a connection with these bytes, then
    /// closes it.
    pub(super) async fn answering_once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                read_request(&mut stream).await?;
                stream.write_all(&answer).await?;
                stream.shutdown().await
            }
        })
        .await
    }

    /// Starts a receiver that reads a request and never answers.
    pub(super) async fn silent() -> Self {
        Self::start(|mut stream| async move {
            read_request(&mut stream).await?;
            pending().await
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads a whole request: head, and as many bytes as it announces.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |digits| digits.parse().unwrap()) {
                return Ok(text);
            }
        }
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => request.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A look-up that gives prepared answers one after the other, the last one for ever.
#[derive(Default)]
pub(super) struct Answers {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    looked: AtomicUsize,
}

impl Answers {
    pub(super) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let addresses = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(addresses).collect()),
            looked: AtomicUsize::new(0),
        })
    }

    pub(super) fn looked(&self) -> usize {
        self.looked.load(Ordering::SeqCst)
    }
}

impl Lookup for Answers {
    fn lookup(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            0 => Err(io::Error::other("no such name")),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop_front().unwrap()),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A look-up that never answers.
pub(super) struct SilentLookup;

impl Lookup for SilentLookup {
    fn lookup(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(pending())
    }
}
