//! A draining hive as clients see it: a restart in place goes unnoticed, a stop refuses
//! submissions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, all_events, client, silent, store_in, task};

const RESTART: &str = "/api/v1/system/restart";

/// Clients that submit and read without a pause, and take note of what fails.
struct Clients {
    url: String,
    key: String,
    over: AtomicBool,
    accepted: AtomicU64,
    reads: AtomicU64,
}

impl Clients {
    fn of(app: &TestApp) -> Self {
        Self {
            url: app.url.clone(),
            key: app.admin.clone(),
            over: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        }
    }

    /// Runs one client, which keeps its connections or makes a new one each time. The client
    /// repeats nothing: the first failed request is reported.
    async fn run(&self, keeps: bool) -> Result<(), String> {
        let idle = if keeps { usize::MAX } else { 0 };
        let http = client().pool_max_idle_per_host(idle).build().unwrap();
        while !self.over.load(Ordering::Relaxed) {
            let submit = http
                .post(format!("{}/api/v1/tasks/submit", self.url))
                .bearer_auth(&self.key)
                .json(&json!({"type": "quick", "content": "x"}));
            let accepted = self.expect(submit, 202).await?;
            self.accepted.fetch_add(1, Ordering::Relaxed);
            let id = accepted["id"].as_str().unwrap();
            let read = http
                .get(format!("{}/api/v1/tasks/{id}/status", self.url))
                .bearer_auth(&self.key);
            self.expect(read, 200).await?;
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn expect(&self, request: reqwest::RequestBuilder, status: u16) -> Result<Value, String> {
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let got = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| format!("{error:?}"))?;
        let body: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        match got == status {
            true => Ok(body),
            false => Err(format!("{got}: {body}")),
        }
    }

    /// Waits until that many more submissions were accepted.
    async fn accept(&self, app: &TestApp, more: u64) {
        let until = self.accepted.load(Ordering::Relaxed) + more;
        app.until("submissions are accepted", async |_| {
            self.accepted.load(Ordering::Relaxed) >= until
        })
        .await;
    }
}

#[actix_rt::test]
async fn no_request_fails_through_a_restart_however_long_it_drains() {
    let mut app = TestApp::start_with(&["bots.seed=[]", "server.drain_timeout=60s"]).await;
    let takes_long = json!({"kind": "simulated", "latency_ms": 3_000});
    app.bot("slow-1", takes_long, &["slow"]).await;
    app.bot("quick-1", json!({"kind": "simulated"}), &["quick"])
        .await;
    let slow = app.submit(&json!({"type": "slow", "content": ""})).await;
    app.until("the slow task runs", async |app| {
        app.get(&format!("/api/v1/tasks/{slow}")).await.body["status"] == "running"
    })
    .await;
    let clients = Clients::of(&app);
    let restarting = async {
        clients.accept(&app, 50).await;
        for round in 0..2 {
            let before = app.post(RESTART, &Value::Null).await.is(202).body;
            if round == 0 {
                let now = app.get("/api/v1/system/status").await.is(200).body;
                assert_eq!(now["state"], "restarting");
                let again = app.post(RESTART, &Value::Null).await;
                let again = again.refuses(409, "restart_refused");
                let detail = again.body["detail"].as_str().unwrap();
                assert!(detail.contains("restart is under way"), "{detail}");
                app.send(app.request(Method::GET, "/readyz")).await.is(200);
                clients.accept(&app, 50).await;
                let waiting = app.submit(&json!({"type": "slow", "content": ""})).await;
                let path = format!("/api/v1/tasks/{waiting}/status");
                assert_eq!(app.get(&path).await.body["status"], "queued");
            }
            app.until("it has restarted", async |app| {
                let now = app.get("/api/v1/system/status").await;
                now.status == 200
                    && now.body["started_at"] != before["started_at"]
                    && now.body["state"] == "ready"
            })
            .await;
            clients.accept(&app, 50).await;
        }
        clients.over.store(true, Ordering::Relaxed);
    };
    let (failed, ()) = futures_util::future::join(
        futures_util::future::join_all([true, true, true, false, false].map(|k| clients.run(k))),
        restarting,
    )
    .await;
    for failed in failed {
        assert_eq!(failed, Ok(()), "{}", app.log());
    }
    let accepted = clients.accepted.load(Ordering::Relaxed) + 2;
    assert_eq!(clients.reads.load(Ordering::Relaxed) + 2, accepted);
    app.until("all tasks are completed", async |app| {
        let queue = app.get("/api/v1/queue").await.is(200).body;
        queue["totals"]["completed"] == accepted
    })
    .await;
    let result = app.result(&slow).await;
    assert_eq!(result["attempt"], 1, "it was waited for: {result}");
    assert_eq!(app.stop().code(), Some(0));
    let mut ends = std::collections::HashMap::new();
    for event in all_events(&store_in(app.data_dir())).await {
        if event.action == deia_model::Action::TaskCompleted {
            *ends.entry(event.target.id).or_insert(0) += 1;
        }
    }
    assert_eq!(ends.len() as u64, accepted);
    assert!(ends.values().all(|n| *n == 1), "completed once");
}

#[actix_rt::test]
async fn a_hive_that_stops_refuses_submissions_and_does_all_else() {
    let mut app = TestApp::start_with(&["bots.seed=[]", "server.drain_timeout=60s"]).await;
    app.bot("silent-1", silent(), &[]).await;
    let id = app.submit(&task("x")).await;
    let path = format!("/api/v1/tasks/{id}");
    app.until("it runs", async |app| {
        app.get(&path).await.body["status"] == "running"
    })
    .await;
    kill(app.pid(), Signal::SIGTERM).unwrap();
    app.until("it stops", async |app| {
        app.send(app.request(Method::GET, "/readyz")).await.status == 503
    })
    .await;
    let now = app.get("/api/v1/system/status").await.is(200).body;
    assert_eq!(now["state"], "stopping");
    let refused = app.post("/api/v1/tasks/submit", &task("y")).await;
    let refused = refused.refuses(503, "unavailable");
    assert_ne!(refused.header("retry-after"), "");
    app.post(RESTART, &Value::Null)
        .await
        .refuses(503, "unavailable");
    app.send(app.request(Method::GET, "/livez")).await.is(200);
    // A long poll is one: who gets an answer at once asks again at once.
    let asked = std::time::Instant::now();
    let polled = app.get(&format!("{path}/result?wait_ms=300")).await;
    polled.refuses(409, "task_not_finished");
    assert!(asked.elapsed() >= std::time::Duration::from_millis(300));
    // A write: and with it, nothing runs any more.
    app.post(&format!("{path}/cancel"), &Value::Null)
        .await
        .is(200);
    assert_eq!(app.wait().code(), Some(0), "{}", app.log());
}
