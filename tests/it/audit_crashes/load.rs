//! Callers who give the trail much to enter, and remember what was promised to them.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use deia_trail::entry::Entry;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, command};

/// Tasks of a batch.
const BATCH: usize = 20;
/// Clients that submit batches.
const CLIENTS: usize = 4;

/// A server with a short time between checkpoints.
pub(super) fn server(data_dir: &Path) -> Command {
    let settings = [
        "bots.seed=[]",
        "bots.restart.min=1ms",
        "bots.restart.restarts=1000",
        "tasks.poison_after_hive_deaths=100",
        "tasks.retry.min=1ms",
        "server.drain_timeout=1s",
        "limits.enabled=false",
        "audit.seal_every=100ms",
    ];
    command(data_dir, &settings)
}

/// Puts the bot in place that does the tasks of the load.
pub(super) async fn put_bot(app: &TestApp) {
    let quick = json!({"kind": "simulated", "latency_ms": {"min": 0, "max": 3}});
    app.bot("quick", quick, &["work"]).await;
}

/// Acknowledged changes: actions, and the ids of their targets.
#[derive(Default)]
pub(super) struct Load {
    acknowledged: Mutex<BTreeSet<(&'static str, String)>>,
    users: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    pub(super) fn begin(&self) {
        self.over.store(false, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Loads the server until it is gone or the load is ended.
    pub(super) async fn on(&self, app: &TestApp) {
        let clients = join_all((0..CLIENTS).map(|_| self.submits(app)));
        futures_util::future::join(clients, self.creates_keys(app)).await;
    }

    async fn submits(&self, app: &TestApp) {
        let batch = json!({"tasks": vec![json!({"type": "work", "content": "x"}); BATCH]});
        let submit = || app.request_as(&app.admin, Method::POST, "/api/v1/tasks/batch");
        while !self.over.load(Ordering::Relaxed) {
            let Some(answer) = self.answer(submit().json(&batch), 202).await else {
                continue;
            };
            for id in answer["ids"].as_array().unwrap() {
                self.note("task.submitted", id);
            }
        }
    }

    /// New users give the trail new names to keep.
    async fn creates_keys(&self, app: &TestApp) {
        while !self.over.load(Ordering::Relaxed) {
            let user = format!("user-{}", self.users.fetch_add(1, Ordering::Relaxed));
            let body = json!({"user": user, "role": "viewer", "new_user": true});
            let create = app.request_as(&app.admin, Method::POST, "/api/v1/auth/keys");
            if let Some(answer) = self.answer(create.json(&body), 201).await {
                self.note("key.created", &answer["id"]);
            }
        }
    }

    /// Returns the body of a good answer. Ends the load if the server is gone: one that restarts
    /// in place may break off an answer, but refuses no connection.
    async fn answer(&self, request: reqwest::RequestBuilder, good: u16) -> Option<Value> {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                if error.is_connect() {
                    self.end();
                }
                return None;
            }
        };
        let status = answer.status().as_u16();
        let body = answer.json::<Value>().await.ok()?;
        // A server that stops says so, and a trail that is behind does too.
        assert!(status == good || status == 503, "{status}: {body:#}");
        (status == good).then_some(body)
    }

    fn note(&self, action: &'static str, id: &Value) {
        let id = id.as_str().unwrap().to_owned();
        self.acknowledged.lock().unwrap().insert((action, id));
    }

    /// Asserts that everything that was acknowledged has its entry, and that this was much.
    pub(super) fn is_entered(&self, entries: &[Entry]) {
        let acknowledged = self.acknowledged.lock().unwrap();
        let of = |action| acknowledged.iter().filter(|it| it.0 == action).count();
        let (tasks, keys) = (of("task.submitted"), of("key.created"));
        eprintln!("{tasks} tasks, {keys} keys, {} entries", entries.len());
        assert!(tasks > 1_000 && keys > 10, "hardly any load");
        let entered: BTreeSet<_> = entries
            .iter()
            .map(|entry| (&*entry.action, &*entry.target.id))
            .collect();
        let missing: Vec<_> = acknowledged
            .iter()
            .filter(|(action, id)| !entered.contains(&(*action, id)))
            .collect();
        assert!(missing.is_empty(), "acknowledged, not entered: {missing:?}");
    }
}
