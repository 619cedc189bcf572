//! A receiver on loopback that keeps what it is sent and answers as it is told.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// An answer to a delivery.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// `None`: it never comes.
    status: Option<u16>,
    headers: String,
}

impl Answer {
    pub(super) fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            headers: String::new(),
        }
    }

    pub(super) fn never() -> Self {
        Self {
            status: None,
            headers: String::new(),
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    fn is_accepted(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// A delivery that was received.
#[derive(Clone, Debug)]
pub(super) struct Received {
    headers: BTreeMap<String, String>,
    pub(super) body: Value,
    is_accepted: bool,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> String {
        self.headers.get(name).cloned().unwrap_or_default()
    }
}

type Behaviour = Box<dyn Fn(usize) -> Answer + Send>;

struct State {
    received: Mutex<Vec<Received>>,
    behaviour: Mutex<Behaviour>,
}

/// A receiver; each delivery is answered by its number.
#[derive(Clone)]
pub(super) struct Receiver {
    port: u16,
    state: Arc<State>,
}

impl Receiver {
    pub(super) async fn start(behaviour: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            received: Mutex::default(),
            behaviour: Mutex::new(Box::new(behaviour)),
        });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self { port, state }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(super) fn answer_with(&self, behaviour: impl Fn(usize) -> Answer + Send + 'static) {
        *self.state.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.lock().clone()
    }

    /// Returns the tasks of the events that were accepted.
    pub(super) fn accepted_tasks(&self) -> Vec<String> {
        let accepted = self.lock();
        let accepted = accepted.iter().filter(|it| it.is_accepted);
        let task = |it: &Received| it.body["data"]["task_id"].as_str().map(String::from);
        accepted.filter_map(task).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.state.received.lock().unwrap()
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ") {
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
        let length = headers["content-length"].parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let answer = {
            let mut received = state.received.lock().unwrap();
            let answer = state.behaviour.lock().unwrap()(received.len());
            received.push(Received {
                headers,
                body: serde_json::from_slice(&body).unwrap(),
                is_accepted: answer.is_accepted(),
            });
            answer
        };
        let Some(status) = answer.status else {
            return std::future::pending().await;
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\n{}content-length: 0\r\n\r\n",
            answer.headers
        );
        stream.write_all(head.as_bytes()).await?;
    }
}
