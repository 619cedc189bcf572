//! A receiver on loopback, on a thread of its own, that keeps what it is sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::{Delivered, delivered::SIGNED};
use crate::support::until;

/// Manner in which a receiver answers.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// 204, after that time.
    Accepts(Duration),
    /// That status, always.
    Refuses(u16),
    /// These statuses to the first deliveries, then 204.
    Answers(&'static [u16]),
    /// 500 to so many of 100 deliveries, at random, but no more than three times to a message.
    Fails(u64),
    /// Takes the request and never answers.
    Silent,
    /// These bytes, then the end of the connection.
    Says(Vec<u8>),
    /// These bytes, then one after each pause, until the hive leaves.
    Drips(&'static str, Duration),
    /// These bytes, then this block again and again, until the hive leaves.
    Floods(&'static str, Vec<u8>),
    /// Closes before it has read the body.
    Closes,
    /// Answers whatever comes first in plain HTTP.
    Plain,
}

/// A delivery that was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: BTreeMap<String, String>,
    /// The body as it was sent.
    text: String,
    pub(crate) body: Value,
    /// True if the answer was 2xx.
    pub(crate) is_accepted: bool,
}

impl Received {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn delivered(&self) -> Delivered {
        let header = |name| self.headers.get(name).cloned().unwrap_or_default();
        let [id, timestamp, signature] = SIGNED.map(header);
        Delivered {
            id,
            timestamp,
            signature,
            body: self.text.clone(),
        }
    }
}

/// A receiver. It ends when this is dropped.
pub(crate) struct Receiver {
    port: u16,
    state: Arc<State>,
    _ends: oneshot::Sender<()>,
}

struct State {
    manner: Mutex<Manner>,
    received: Mutex<Vec<Received>>,
    draws: Mutex<u64>,
}

impl Receiver {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            received: Mutex::default(),
            draws: Mutex::new(u64::from(port)),
        });
        let (ends, ended) = oneshot::channel();
        let serving = state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, serving) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port,
            state,
            _ends: ends,
        }
    }

    /// Returns a URL of the receiver, which takes deliveries at any path.
    pub(crate) fn url(&self) -> String {
        format!("{}/hook", self.origin())
    }

    /// Returns the part of the URL before the path.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.lock().clone()
    }

    /// Waits until so many deliveries have come, and returns what verifiers see of them.
    pub(crate) async fn gets(&self, n: usize) -> Vec<Delivered> {
        let what = format!("the receiver has {n} deliveries");
        until(&what, async || self.count() >= n).await;
        self.lock().iter().map(Received::delivered).collect()
    }

    /// Returns the number of deliveries.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Returns the tasks of the events that were accepted.
    pub(crate) fn accepted_tasks(&self) -> BTreeSet<String> {
        let received = self.lock();
        let accepted = received.iter().filter(|it| it.is_accepted);
        let task = |it: &Received| it.body["data"]["task_id"].as_str().map(String::from);
        accepted.filter_map(task).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.state.received.lock().unwrap()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            // The hive may leave at any moment, and some of these deserve it.
            let _ = serve(stream, state).await;
        });
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let manner = state.manner.lock().unwrap().clone();
        if matches!(manner, Manner::Plain) {
            stream.fill_buf().await?;
            return stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
        let Some(headers) = read_head(&mut stream).await? else {
            return Ok(());
        };
        if matches!(manner, Manner::Closes) {
            return Ok(());
        }
        let length = headers["content-length"].parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let received = Received {
            headers,
            body: serde_json::from_slice(&body).unwrap(),
            text: String::from_utf8(body).unwrap(),
            is_accepted: false,
        };
        answer(&mut stream, &state, manner, received).await?;
    }
}

/// Reads the head of a request; `None` at the end of the connection.
async fn read_head(
    stream: &mut BufReader<TcpStream>,
) -> io::Result<Option<BTreeMap<String, String>>> {
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(headers));
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
    }
}

/// Returns the status that a delivery gets; `None`: something that is not a plain answer.
fn status_of(state: &State, manner: &Manner, id: &str) -> Option<u16> {
    match manner {
        Manner::Accepts(_) => Some(204),
        Manner::Refuses(status) => Some(*status),
        Manner::Answers(statuses) => {
            let earlier = state.received.lock().unwrap().len();
            Some(statuses.get(earlier).copied().unwrap_or(204))
        }
        Manner::Fails(of_100) => {
            let mut draws = state.draws.lock().unwrap();
            *draws = draws
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let earlier = state.received.lock().unwrap();
            let failed = earlier.iter().filter(|it| it.id() == id).count();
            let fails = failed < 3 && (*draws >> 33) % 100 < *of_100;
            Some(if fails { 500 } else { 200 })
        }
        _ => None,
    }
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    state: &State,
    manner: Manner,
    received: Received,
) -> io::Result<()> {
    if let Manner::Accepts(delay) = manner {
        // Sleeps: the receiver is slow.
        tokio::time::sleep(delay).await;
    }
    let status = status_of(state, &manner, received.id());
    state.received.lock().unwrap().push(Received {
        is_accepted: status.is_some_and(|status| (200..300).contains(&status)),
        ..received
    });
    if let Some(status) = status {
        let head = match status {
            204 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            status => format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n"),
        };
        return stream.write_all(head.as_bytes()).await;
    }
    match manner {
        Manner::Says(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
        }
        Manner::Drips(head, pause) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                // Sleeps: the receiver is slow.
                tokio::time::sleep(pause).await;
                stream.write_all(b"x").await?;
            }
        }
        Manner::Floods(head, block) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&block).await?;
            }
        }
        _ => return std::future::pending().await,
    }
    Ok(())
}
