//! A service on loopback for bots of the kinds `http` and `llm`: it answers as a test tells it,
//! piece by piece, and keeps what it was asked.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
};

use crate::support::TestApp;

/// Settings under which bots reach this machine, and faults and pauses are over within the time of
/// a test.
pub(crate) const QUICK: [&str; 12] = [
    "bots.seed=[]",
    "bots.allow_networks=[127.0.0.0/8]",
    "bots.fault.min=100ms",
    "bots.fault.max=400ms",
    "bots.pause.default=300ms",
    "tasks.bot_fault_delay=50ms",
    "bots.http.probe_every=200ms",
    "bots.http.probe_timeout=2s",
    "bots.http.probe_failures=2",
    "bots.llm.probe_every=200ms",
    "bots.llm.probe_timeout=2s",
    "bots.llm.probe_failures=2",
];

/// A step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Waits so long.
    Pause(Duration),
    /// Waits until [`Service::open_gate`].
    Gate,
    /// Sends these bytes again and again, until the hive leaves.
    Flood(Vec<u8>),
    /// Waits until the hive leaves.
    Hang,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

type Script = Arc<dyn Fn(&Request) -> Vec<Step> + Send + Sync>;

/// A running service. It ends when this is dropped.
pub(crate) struct Service {
    pub(crate) port: u16,
    state: Arc<State>,
    _ends: oneshot::Sender<()>,
}

struct State {
    script: Mutex<Script>,
    requests: Mutex<Vec<Request>>,
    gate: watch::Sender<bool>,
    left: AtomicUsize,
}

impl Service {
    /// Starts a service that answers by this script.
    pub(crate) fn start(script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_at(0, script)
    }

    /// The same, at that port.
    pub(crate) fn start_at(
        port: u16,
        script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(script)),
            requests: Mutex::default(),
            gate: watch::Sender::new(false),
            left: AtomicUsize::new(0),
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

    /// Answers by this script from now on.
    pub(crate) fn set(&self, script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the requests that came whole.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Returns how often the hive left while it waited for an answer.
    pub(crate) fn left(&self) -> usize {
        self.state.left.load(Ordering::Relaxed)
    }

    /// Lets all answers go on that wait at a gate, now and later.
    pub(crate) fn open_gate(&self) {
        self.state.gate.send_replace(true);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            // The hive may leave at any moment.
            let _ = serve(stream, &state).await;
        });
    }
}

async fn serve(stream: TcpStream, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(request) = read_request(&mut stream).await? else {
        return Ok(());
    };
    state.requests.lock().unwrap().push(request.clone());
    let script = state.script.lock().unwrap().clone();
    for step in script(&request) {
        let mut gate = state.gate.subscribe();
        let mut byte = [0; 1];
        match step {
            Step::Bytes(bytes) => stream.write_all(&bytes).await?,
            // Sleeps: the pause of a slow service.
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Gate => {
                tokio::select! {
                    _ = gate.wait_for(|open| *open) => {}
                    _ = stream.read(&mut byte) => {
                        state.left.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                }
            }
            Step::Flood(bytes) => loop {
                stream.write_all(&bytes).await?;
            },
            Step::Hang => {
                let _ = stream.read(&mut byte).await;
                state.left.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    stream.flush().await?;
    stream.shutdown().await
}

/// Reads a request; `None` for a connection without one, as a probe makes it.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request {
        method,
        path,
        headers,
        text: String::from_utf8(body).unwrap(),
    }))
}

/// An answer with a status, headers (each with its line end) and a body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n");
    vec![Step::Bytes([head.as_bytes(), body.as_bytes()].concat())]
}

/// An answer of 200 in JSON.
pub(crate) fn output(body: &Value) -> Vec<Step> {
    answer(200, "content-type: application/json\r\n", &body.to_string())
}

/// Puts a bot for tasks of type `general` in place, and launches it.
pub(crate) async fn put(app: &TestApp, name: &str, executor: &Value, secrets: &Value) {
    let spec = json!({"executor": executor, "secrets": secrets,
        "capabilities": {"specializations": ["general"], "max_concurrent_tasks": 4}});
    let path = format!("/api/v1/bots/{name}");
    let answer = app.put(&path, &spec).await;
    assert!(matches!(answer.status, 200 | 201), "{answer:#?}");
    let launched = app.post(&format!("{path}/launch"), &Value::Null).await;
    launched.is(202);
}

/// Waits until a bot has that status.
pub(crate) async fn until_status(app: &TestApp, name: &str, status: &str) -> Value {
    let path = format!("/api/v1/bots/{name}");
    let what = format!("bot {name} is {status}");
    app.until(&what, async |app| {
        app.get(&path).await.body["status"] == status
    })
    .await;
    app.get(&path).await.is(200).body
}

/// A task that fails with its first failure that counts.
pub(crate) fn once(content: &str) -> Value {
    json!({"type": "general", "content": content, "max_attempts": 1})
}

/// Returns the log of a bot.
pub(crate) async fn log_of(app: &TestApp, name: &str) -> String {
    let log = app
        .get(&format!("/api/v1/bots/{name}/logs?lines=1000"))
        .await;
    log.is(200).body.to_string()
}

/// Puts a secret into the store of the hive.
pub(crate) async fn store_secret(app: &TestApp, name: &str, value: &str) {
    let path = format!("/api/v1/secrets/{name}");
    let answer = app.put(&path, &json!({"value": value})).await;
    assert!(matches!(answer.status, 200 | 201 | 204), "{answer:#?}");
}
