//! The real server in a data directory of its own, and how tests speak to it.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub(crate) use deia_hive::testing::{PATIENCE, block_until, until};
use deia_hive::{config::Layers, testing};
use deia_ledger::{EventReads as _, store::SqliteStore};
use deia_model::Event;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running server. It is killed when this is dropped.
pub(crate) struct TestApp {
    server: Child,
    /// URL at which the server listens.
    pub(crate) url: String,
    /// The first admin key.
    pub(crate) admin: String,
    data_dir: PathBuf,
    log: Arc<Mutex<String>>,
    client: reqwest::Client,
    _dir: Option<TempDir>,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// `Null` when there is none.
    pub(crate) body: Value,
}

impl TestApp {
    /// With the defaults, but without bots.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["bots.seed=[]"]).await
    }

    /// With these settings (`key=value`).
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut app = Self::start_in(&dir.path().join("data"), settings).await;
        app._dir = Some(dir);
        app
    }

    /// In that data directory.
    pub(crate) async fn start_in(data_dir: &Path, settings: &[&str]) -> Self {
        let started = Self::try_start(command(data_dir, settings), data_dir).await;
        started.unwrap_or_else(|log| panic!("the server does not start:\n{log}"))
    }

    /// By that command; its log when it ends before it is ready.
    pub(crate) async fn try_start(command: Command, data_dir: &Path) -> Result<Self, String> {
        Self::try_start_for(client().build().unwrap(), command, data_dir).await
    }

    /// The same, spoken to by that client.
    pub(crate) async fn try_start_for(
        client: reqwest::Client,
        mut command: Command,
        data_dir: &Path,
    ) -> Result<Self, String> {
        let mut server = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        // Absent when the test has its standard error.
        let stderr = server.stderr.take();
        let collecting = stderr.map(|stderr| collect(stderr, log.clone()));
        let Some(url) = listening(&mut server) else {
            let _ = server.wait();
            if let Some(collecting) = collecting {
                collecting.join().unwrap();
            }
            return Err(log.lock().unwrap().clone());
        };
        let mut app = Self {
            server,
            url,
            admin: String::new(),
            data_dir: data_dir.to_owned(),
            log,
            client,
            _dir: None,
        };
        let begun = Instant::now();
        loop {
            match app.request(Method::GET, "/readyz").send().await {
                Ok(answer) if answer.status() == 200 => break,
                Ok(answer) => {
                    if answer.text().await.unwrap().contains("cannot commit") {
                        // Up, on a full disk.
                        break;
                    }
                    assert!(begun.elapsed() < PATIENCE, "the server never gets ready");
                }
                Err(_) => {
                    let _ = app.server.wait();
                    if let Some(collecting) = collecting {
                        collecting.join().unwrap();
                    }
                    return Err(app.log());
                }
            }
        }
        let key = std::fs::read_to_string(data_dir.join("admin.key")).unwrap();
        key.trim().clone_into(&mut app.admin);
        Ok(app)
    }

    /// A request without a key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request with that key.
    pub(crate) fn request_as(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(key)
    }

    /// Sends it. A kept connection may be closed by a server that stops just when
    /// the request goes out on it; as clients do (RFC 9112, 9.3.1), one that
    /// changes nothing is then sent once more, on another connection.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let again = request.try_clone();
        let broken = |error: &reqwest::Error| error.is_request() && !error.is_timeout();
        let response = match (request.send().await, again) {
            (Err(error), Some(again)) if broken(&error) => {
                let again = again.build().unwrap();
                assert_eq!(again.method(), Method::GET, "{error:?}");
                self.client.execute(again).await.unwrap()
            }
            (sent, _) => sent.unwrap(),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let kind = headers.get("content-type").map(|kind| kind.as_bytes());
        let body = match bytes.is_empty() {
            true => Value::Null,
            // Metrics are for Prometheus, the page is for people.
            false if kind.is_some_and(|kind| !kind.ends_with(b"json")) => {
                String::from_utf8(bytes.to_vec()).unwrap().into()
            }
            false => serde_json::from_slice(&bytes).unwrap(),
        };
        Answer {
            status,
            headers,
            body,
        }
    }

    /// As the admin.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.admin, path).await
    }

    pub(crate) async fn get_as(&self, key: &str, path: &str) -> Answer {
        self.send(self.request_as(key, Method::GET, path)).await
    }

    /// The answer to a GET as it comes: of bytes, or with a body that breaks off.
    pub(crate) async fn client_get(&self, key: &str, path: &str) -> reqwest::Response {
        let request = self.request_as(key, Method::GET, path);
        request.send().await.unwrap()
    }

    /// As the admin; without a body when it is `Null`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_as(&self.admin, path, body).await
    }

    pub(crate) async fn post_as(&self, key: &str, path: &str, body: &Value) -> Answer {
        let request = self.request_as(key, Method::POST, path);
        let request = match body {
            Value::Null => request,
            body => request.json(body),
        };
        self.send(request).await
    }

    /// As the admin.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = self.request_as(&self.admin, Method::PUT, path).json(body);
        self.send(request).await
    }

    /// As the admin.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        let request = self.request_as(&self.admin, Method::DELETE, path);
        self.send(request).await
    }

    /// A new key of that role.
    pub(crate) async fn key(&self, user: &str, role: &str) -> String {
        let body = json!({"user": user, "role": role, "new_user": true});
        let made = self.post("/api/v1/auth/keys", &body).await.is(201);
        made.body["key"].as_str().unwrap().to_owned()
    }

    /// Puts a bot in place, launches it, and waits until it is healthy.
    pub(crate) async fn bot(&self, name: &str, executor: Value, types: &[&str]) {
        let spec = json!({"executor": executor,
            "capabilities": {"specializations": types, "max_concurrent_tasks": 4}});
        self.put(&format!("/api/v1/bots/{name}"), &spec)
            .await
            .is(201);
        let launch = format!("/api/v1/bots/{name}/launch");
        self.post(&launch, &Value::Null).await.is(202);
        self.until("the bot is healthy", async |app| {
            app.get(&format!("/api/v1/bots/{name}")).await.body["status"] == "healthy"
        })
        .await;
    }

    /// The id of a task that is accepted.
    pub(crate) async fn submit(&self, task: &Value) -> String {
        let accepted = self.post("/api/v1/tasks/submit", task).await.is(202);
        accepted.body["id"].as_str().unwrap().to_owned()
    }

    /// The result of a task, once it has one.
    pub(crate) async fn result(&self, id: &str) -> Value {
        let path = format!("/api/v1/tasks/{id}/result?wait_ms=50000");
        self.get(&path).await.is(200).body
    }

    /// Waits until so many requests are worked on besides the one that asks.
    pub(crate) async fn until_in_hand(&self, n: usize) {
        let line = format!("\ndeia_http_requests_in_flight {}\n", n + 1);
        self.until("requests are in hand", async |app| {
            let metrics = app.get("/metrics").await.is(200).body;
            metrics.as_str().unwrap().contains(&line)
        })
        .await;
    }

    /// Waits until it is so. Looks no more often than the limits of probes and of callers
    /// allow for some seconds.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a self,
        what: &'a str,
        mut is_so: impl AsyncFnMut(&TestApp) -> bool + 'a,
    ) -> impl Future<Output = ()> + 'a {
        const BETWEEN: Duration = Duration::from_millis(20);
        testing::until(what, async move || {
            let so = is_so(self).await;
            if !so {
                // Sleeps: between two looks.
                tokio::time::sleep(BETWEEN).await;
            }
            so
        })
    }

    /// Waits until it has logged that: another thread collects what it writes.
    pub(crate) async fn until_logged(&self, words: &str) {
        let what = format!("the log tells {words:?}");
        self.until(&what, async |app| app.log().contains(words))
            .await;
    }

    /// Returns the log of the server so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.server.id()).unwrap())
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Ends it the way a crash or an impatient operator does.
    pub(crate) fn kill_9(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        testing::block_until("the server ends", || self.server.try_wait().unwrap())
    }

    /// Asks it to stop and waits until it has.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        self.wait()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

impl Answer {
    /// Itself, if it has that status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Asserts that the answer is a problem of that status and code, in the form that the
    /// contract describes. Returns the answer.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["code"], code, "{:#}", answer.body);
        assert_eq!(answer.body["status"], status);
        assert_eq!(answer.body["type"], format!("/api/errors/{code}"));
        assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
        for text in ["title", "detail"] {
            let told = answer.body[text]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            assert!(told, "{:#}", answer.body);
        }
        answer
    }

    /// The pointers of its `errors`.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors
            .map(|error| error["pointer"].as_str().unwrap())
            .collect()
    }

    /// A header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// The server as it is run by a user who set nothing in the environment.
pub(crate) fn command(data_dir: &Path, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deia"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DEIA__") {
            command.env_remove(name);
        }
    }
    command
        .args(["--bind", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .current_dir(data_dir.parent().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // The machine of the tests may be short of anything, and slow: features are shed, and
    // requests refused for their waits, where a test is about it.
    command.args(["--set", "degradation.enabled=false"]);
    command.args(["--set", "server.admission.overload.enabled=false"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// The bot that turns small letters into capitals.
pub(crate) fn upper() -> Value {
    json!({"kind": "command", "command": ["tr", "a-z", "A-Z"]})
}

/// A bot that takes tasks and never answers.
pub(crate) fn silent() -> Value {
    json!({"kind": "simulated", "behavior": "offline"})
}

/// A general task with that content.
pub(crate) fn task(content: &str) -> Value {
    json!({"type": "general", "content": content})
}

/// A number of seconds that no other `sleep` of this machine sleeps.
pub(crate) fn unique_sleep() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{count}", 100_000 + std::process::id())
}

/// Returns a builder of the client that makes the requests.
pub(crate) fn client() -> reqwest::ClientBuilder {
    // Nothing here speaks TLS, but the client wants to know how.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
}

fn listening(server: &mut Child) -> Option<String> {
    let out = BufReader::new(server.stdout.take().unwrap());
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = said.send(line.strip_prefix("listening on ").map(str::to_owned));
        }
    });
    heard.recv_timeout(PATIENCE).ok().flatten()
}

fn collect(mut from: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..n]);
            log.lock().unwrap().push_str(&text);
        }
    })
}

/// Opens the store of a hive that is not running.
pub(crate) fn store_in(data_dir: &Path) -> SqliteStore {
    let config = Layers::default()
        .set("data_dir", data_dir.display().to_string())
        .load()
        .unwrap();
    SqliteStore::open(deia_hive::store_options(&config)).unwrap()
}

/// The whole event log.
pub(crate) async fn all_events(store: &SqliteStore) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let more = store.events(after, 10_000).await.unwrap();
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}
