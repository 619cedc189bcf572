//! The server of the walk, and its event log.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use deia_model::Event;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::{Answer, TestApp, all_events, command, store_in, until},
    webhook_support::{LOOPBACK, Manner, Receiver},
};

/// The user who makes the calls. Everything that they need is set up by the first admin.
pub(super) const CALLER: &str = "walker";

pub(super) struct Walk {
    pub(super) app: TestApp,
    /// Key of the caller.
    pub(super) key: String,
    /// Takes deliveries.
    pub(super) sink: Receiver,
    /// Accepts connections and never answers.
    pub(super) silent: TcpListener,
    count: u32,
    data_dir: PathBuf,
    settings_file: PathBuf,
    _dir: TempDir,
}

impl Walk {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let settings_file = dir.path().join("deia.yaml");
        std::fs::write(&settings_file, "secrets: {max: 50}\n").unwrap();
        let app = Self::app(&data_dir, &settings_file).await;
        let key = app.key(CALLER, "admin").await;
        Self {
            app,
            key,
            sink: Receiver::start(Manner::Accepts(Duration::ZERO)),
            silent: TcpListener::bind("127.0.0.1:0").unwrap(),
            count: 0,
            data_dir,
            settings_file,
            _dir: dir,
        }
    }

    async fn app(data_dir: &Path, settings_file: &Path) -> TestApp {
        let settings = [
            &LOOPBACK[..],
            &[
                "bots.seed=[]",
                "limits.enabled=false",
                "server.drain_timeout=0s",
                "recovery.mode=async",
                "scheduler.poll_interval=100ms",
                // An alert that any disk raises.
                "alerts.disk_percent=1",
                "alerts.look_every=1s",
            ],
        ]
        .concat();
        let mut server = command(data_dir, &settings);
        server.arg("--config").arg(settings_file);
        TestApp::try_start(server, data_dir).await.unwrap()
    }

    /// Starts the server again, once it has ended.
    pub(super) async fn start_again(&mut self) {
        self.app = Self::app(&self.data_dir, &self.settings_file).await;
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(super) fn settings_file(&self) -> &Path {
        &self.settings_file
    }

    /// Returns a name that nothing else has.
    pub(super) fn name(&mut self) -> String {
        self.count += 1;
        format!("walk-{}", self.count)
    }

    /// Returns a request of the caller without a body.
    pub(super) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.request_as(&self.key, method, path)
    }

    /// Returns a request of the caller.
    pub(super) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.call(Method::POST, path).json(body)
    }

    /// Waits until the archive has a restore point and no job is under way, and returns the
    /// id of the point.
    pub(super) async fn first_point(&self) -> String {
        let status = async || {
            let answer = self.app.get("/api/disaster-recovery/status").await;
            answer.is(200).body
        };
        self.app
            .until("a restore point and no job", async |_| {
                let status = status().await;
                status["newest_point"].is_object() && status["job"]["state"] != "running"
            })
            .await;
        status().await["newest_point"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Returns the id of a task that waits, because no bot takes its type.
    pub(super) async fn waiting_task(&self) -> String {
        self.app
            .submit(&json!({"type": "nobody", "content": "x"}))
            .await
    }

    /// Returns the name of a remote bot, which takes tasks of the type of its name.
    pub(super) async fn remote_bot(&mut self) -> String {
        let name = self.name();
        let spec =
            json!({"executor": {"kind": "remote"}, "capabilities": {"specializations": [name]}});
        let path = format!("/api/v1/bots/{name}");
        self.app.put(&path, &spec).await.is(201);
        let launch = format!("{path}/launch");
        self.app.post(&launch, &Value::Null).await.is(202);
        name
    }

    /// Leases a task, and returns a report about it.
    pub(super) async fn report(&mut self, what: &str, mut fields: Value) -> RequestBuilder {
        let bot = self.remote_bot().await;
        let task = json!({"type": bot, "content": "x"});
        self.app.submit(&task).await;
        let path = format!("/api/v1/bots/{bot}/lease");
        let leased = self
            .app
            .post(&path, &json!({"wait_ms": 20_000}))
            .await
            .is(200);
        let leased = &leased.body["tasks"][0];
        fields["attempt"] = leased["attempt"].clone();
        fields["lease_token"] = leased["lease_token"].clone();
        let id = leased["id"].as_str().unwrap();
        self.post(&format!("/api/v1/tasks/{id}/{what}"), &fields)
    }

    /// Returns the id of a task that was cancelled.
    pub(super) async fn ended_task(&self) -> String {
        let id = self.waiting_task().await;
        let cancel = format!("/api/v1/tasks/{id}/cancel");
        self.app.post(&cancel, &Value::Null).await;
        id
    }

    /// Returns the name of a bot that is stopped.
    pub(super) async fn stopped_bot(&mut self) -> String {
        let name = self.name();
        let spec = json!({"executor": {"kind": "simulated", "latency_ms": 1},
            "capabilities": {"specializations": ["unused"]}});
        let path = format!("/api/v1/bots/{name}");
        self.app.put(&path, &spec).await.is(201);
        name
    }

    /// Returns the name of a bot that runs.
    pub(super) async fn running_bot(&mut self) -> String {
        let name = self.name();
        let simulated = json!({"kind": "simulated", "latency_ms": 1});
        self.app.bot(&name, simulated, &["unused"]).await;
        name
    }

    /// Returns the name of a bot whose program reads lines.
    pub(super) async fn worker_bot(&mut self) -> String {
        let name = self.name();
        let script = r#"echo '{"type":"hello","protocol":1,"pings":false}'; exec cat >/dev/null"#;
        let worker = json!({"kind": "worker", "command": ["sh", "-c", script]});
        self.app.bot(&name, worker, &["unused"]).await;
        name
    }

    /// Returns the path of an endpoint at that URL.
    pub(super) async fn webhook(&self, url: &str, more: Value) -> String {
        let made = crate::webhook_support::register(&self.app, url, more).await;
        format!("/api/v1/webhooks/{}", made["id"].as_str().unwrap())
    }

    /// Makes a user with a key, and returns the id of the key with the key itself.
    pub(super) async fn user_with_key(&mut self) -> (String, String, String) {
        let user = self.name();
        let body = json!({"user": user, "role": "viewer", "new_user": true});
        let made = self.app.post("/api/v1/auth/keys", &body).await.is(201).body;
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (user, text("id"), text("key"))
    }

    /// Opens a web session for a key.
    pub(super) async fn open_session(&self, key: &str) -> Answer {
        let path = "/api/v1/auth/session";
        self.app.post_as(key, path, &Value::Null).await.is(201)
    }

    /// Returns the sequence number of the newest event.
    pub(super) async fn newest_event(&self) -> u64 {
        let page = self.app.get("/api/v1/events?limit=1").await.is(200).body;
        page["items"][0]["seq"].as_u64().unwrap()
    }

    /// Waits for an event of the caller that the route declares.
    pub(super) async fn leaves(&self, route: &str, after: u64, declared: impl Fn(&str) -> bool) {
        let what = format!("{route} leaves an event that it declares");
        until(&what, async || {
            let found = self.events_of_caller_after(after).await;
            let name = |event: &Value| event["action"].as_str().unwrap().to_owned();
            found
                .iter()
                .any(|event| declared(&name(event)))
                .then_some(())
        })
        .await;
    }

    /// Returns the events of the caller after that one, newest first.
    pub(super) async fn events_of_caller_after(&self, seq: u64) -> Vec<Value> {
        let path = format!("/api/v1/events?limit=1000&actor={CALLER}");
        let page = self.app.get(&path).await.is(200).body;
        let items = page["items"].as_array().unwrap().iter();
        let after = items.filter(|event| event["seq"].as_u64().unwrap() > seq);
        after.cloned().collect()
    }

    /// Stops the server, and returns the kinds of all actions in its log.
    pub(super) async fn all_kinds(&mut self) -> BTreeSet<String> {
        assert!(self.app.stop().success());
        let events = all_events(&store_in(&self.data_dir)).await;
        let kind = |event: &Event| event.action.as_str().split('.').next().map(str::to_owned);
        events.iter().filter_map(kind).collect()
    }
}
