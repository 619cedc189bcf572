//! A disk that is full: every write is answered with 507, nothing acknowledged
//! is lost, reads go on, and writing resumes by itself when there is room.
//!
//! The server's data directory is a small file system of its own, in a mount
//! namespace of its own. Where the machine allows no namespaces the test says
//! so and is skipped; with `DEIA_TEST_FULL_DISK=must` it fails instead.

use std::{os::unix::fs::MetadataExt, path::Path};

use serde_json::{Value, json};

use crate::{
    small_disk::{SmallDisk, small_disk},
    support::{Answer, TestApp},
};

/// Promises that were made to the callers.
#[derive(Default)]
struct Promised(Vec<String>);

impl Promised {
    /// Sends it; whether it was done. Anything but done or "no room" is a failure.
    async fn post(&mut self, app: &TestApp, path: &str, body: &Value) -> bool {
        let answer = app.post(path, body).await;
        let done = done(answer);
        if let Some(body) = &done {
            let ids = body["ids"].as_array().cloned().unwrap_or_default();
            let ids = ids.into_iter().chain([body["id"].clone()]);
            if path.starts_with("/api/v1/tasks/") {
                self.0
                    .extend(ids.filter_map(|id| Some(id.as_str()?.to_owned())));
            }
        }
        done.is_some()
    }

    /// Submits until nothing more fits, not even something small.
    async fn submit_until_full(&mut self, app: &TestApp) {
        let mut refused = 0;
        for n in 0..20_000 {
            let size = [10, 2_000, 1 << 20][usize::from(refused == 0) * (n % 3)];
            let task = json!({"type": "waits", "content": "x".repeat(size)});
            let done = match n % 4 {
                0 => {
                    let batch = json!({"tasks": vec![task; 3]});
                    self.post(app, "/api/v1/tasks/batch", &batch).await
                }
                _ => self.post(app, "/api/v1/tasks/submit", &task).await,
            };
            refused = if done { 0 } else { refused + 1 };
            if refused == 10 {
                return;
            }
        }
        panic!("the disk is never full");
    }
}

/// The answer to a write, if it was done; otherwise it says that there is no room.
#[track_caller]
fn done(answer: Answer) -> Option<Value> {
    if (200..300).contains(&answer.status) {
        return Some(answer.body);
    }
    no_room(&answer);
    None
}

/// Asserts that there was no room for a write, or none for its entry in the audit trail.
#[track_caller]
fn no_room(answer: &Answer) {
    let code = answer.body["code"].as_str().unwrap_or_default();
    let expected = [(507, "storage_full"), (503, "audit_unavailable")];
    assert!(expected.contains(&(answer.status, code)), "{answer:#?}");
}

/// A bot that is never launched for good.
fn spare() -> Value {
    json!({"executor": {"kind": "simulated", "latency_ms": 1},
        "capabilities": {"specializations": ["spare"]}})
}

/// Every kind of write, none of which must do harm.
async fn try_every_write(app: &TestApp, task: &str) {
    for path in [
        format!("/api/v1/tasks/{task}/cancel"),
        "/api/v1/bots/worker/launch".into(),
        "/api/v1/bots/spare/launch".into(),
        "/api/v1/bots/spare/stop".into(),
    ] {
        done(app.post(&path, &Value::Null).await);
    }
    let key = json!({"user": "ada", "role": "viewer"});
    done(app.post("/api/v1/auth/keys", &key).await);
    done(app.put("/api/v1/bots/spare", &spare()).await);
}

async fn reads_go_on(app: &TestApp, task: &str) {
    for path in [
        "/livez".into(),
        "/api/v1/system/status".into(),
        "/api/v1/system/health".into(),
        "/api/v1/queue".into(),
        "/api/v1/tasks?limit=1000".into(),
        "/api/v1/bots".into(),
        "/api/v1/bots/worker/logs".into(),
        "/api/v1/auth/keys".into(),
        "/api/v1/supervisors".into(),
        format!("/api/v1/tasks/{task}"),
        format!("/api/v1/tasks/{task}/status"),
        format!("/api/v1/tasks/{task}/result"),
    ] {
        app.get(&path).await.is(200);
    }
}

/// Starts of parts of the hive after the first, bots aside.
fn restarts(node: &Value) -> u64 {
    let children = node["children"].as_array().into_iter().flatten();
    let below: u64 = children
        .filter(|child| child["name"] != "bots")
        .map(restarts)
        .sum();
    below + node["restarts"].as_u64().unwrap_or(0)
}

async fn nothing_was_restarted(app: &TestApp) {
    let tree = app.get("/api/v1/supervisors").await.is(200).body;
    assert_eq!(restarts(&tree), 0, "{tree:#}");
}

async fn until_written(app: &TestApp) {
    app.until("it writes again", async |app| {
        done(app.put("/api/v1/bots/spare", &spare()).await).is_some()
    })
    .await;
}

/// Tasks whose programs wait for the file `gate`, then say in `runs` that they ran.
async fn put_bots(app: &TestApp, gate: &Path, runs: &Path) {
    let script = format!(
        "while ! test -e '{}'; do sleep 0.02; done; echo ran >> '{}'; echo logged >&2; exec cat",
        gate.display(),
        runs.display()
    );
    let worker = json!({"kind": "command", "command": ["sh", "-c", script]});
    app.bot("worker", worker, &["gated"]).await;
    let crashes = json!({"kind": "simulated", "latency_ms": 1_000, "crash_rate": 1.0});
    app.bot("crashes", crashes, &["crash"]).await;
    app.put("/api/v1/bots/spare", &spare()).await.is(201);
    app.bot(
        "quick",
        json!({"kind": "simulated", "latency_ms": 1}),
        &["quick"],
    )
    .await;
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .count()
}

async fn status(app: &TestApp, id: &str) -> String {
    let path = format!("/api/v1/tasks/{id}/status");
    let body = app.get(&path).await.is(200).body;
    body["status"].as_str().unwrap().to_owned()
}

/// The blocks of the reserve, in bytes.
pub(crate) fn reserved(disk: &SmallDisk) -> u64 {
    let file = disk.outside().join("reserve");
    file.metadata().unwrap().blocks() * 512
}

#[actix_rt::test]
async fn pause_cancel_and_stop_work_on_a_full_disk_and_ends_are_recorded() {
    const RESERVE: u64 = 4 << 20;
    let Some(disk) = small_disk("40m") else {
        return;
    };
    let settings = [
        "bots.seed=[]",
        "store.reserve_bytes=4MiB",
        "degradation.enabled=false",
    ];
    let mut app = disk.start(&settings).await.unwrap();
    assert_eq!(reserved(&disk), RESERVE);
    let gates = tempfile::tempdir().unwrap();
    let (gate, runs) = (gates.path().join("gate"), gates.path().join("runs"));
    put_bots(&app, &gate, &runs).await;
    let waits = app.submit(&json!({"type": "waits", "content": ""})).await;
    let mut gated = Vec::new();
    for _ in 0..3 {
        gated.push(app.submit(&json!({"type": "gated", "content": "x"})).await);
    }
    app.until("they run", async |app| {
        app.get("/api/v1/queue").await.body["totals"]["running"] == 3
    })
    .await;
    let mut promised = Promised::default();
    disk.fill();
    promised.submit_until_full(&app).await;

    let pause = json!({"reason": "the disk is full"});
    app.post("/api/v1/queue/pause", &pause).await.is(200);
    let cancel = format!("/api/v1/tasks/{waits}/cancel");
    app.post(&cancel, &Value::Null).await.is(200);
    assert_eq!(status(&app, &waits).await, "cancelled");
    let running = gated.pop().unwrap();
    let cancel = format!("/api/v1/tasks/{running}/cancel");
    app.post(&cancel, &Value::Null).await.is(200);
    assert_eq!(app.result(&running).await["success"], false);
    std::fs::write(&gate, "").unwrap();
    for id in &gated {
        assert_eq!(app.result(id).await["success"], true);
    }
    for bot in ["quick", "worker"] {
        let stop = format!("/api/v1/bots/{bot}/stop");
        app.post(&stop, &Value::Null).await.is(202);
        app.until("the bot is stopped", async |app| {
            app.get(&format!("/api/v1/bots/{bot}")).await.body["status"] == "stopped"
        })
        .await;
    }

    // Work is still refused, and this is reported once, with the place and the room there.
    let quick = json!({"type": "quick", "content": ""});
    let refused = app.post("/api/v1/tasks/submit", &quick).await;
    let refused = refused.refuses(507, "storage_full");
    let detail = refused.body["detail"].as_str().unwrap();
    assert_eq!(detail.matches("nothing was changed").count(), 1, "{detail}");
    assert!(detail.contains("free"), "{detail}");
    assert!(detail.contains(disk.inside().to_str().unwrap()), "{detail}");
    let resume = app.post("/api/v1/queue/resume", &json!({})).await;
    no_room(&resume);
    assert_eq!(reserved(&disk), 0);
    nothing_was_restarted(&app).await;

    // Over a restart on the full disk as well.
    assert!(app.stop().success(), "{}", app.log());
    let mut app = disk.start(&settings).await.unwrap();
    let refused = app.post("/api/v1/tasks/submit", &quick).await;
    refused.refuses(507, "storage_full");

    disk.make_room();
    until_written(&app).await;
    assert_eq!(reserved(&disk), RESERVE);
    app.post("/api/v1/queue/resume", &json!({})).await.is(200);
    app.submit(&quick).await;
    for id in &promised.0 {
        assert_eq!(status(&app, id).await, "queued", "{id}");
    }
    assert!(app.stop().success());
    assert!(!app.log().contains("panicked"), "{}", app.log());
}

#[actix_rt::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let Some(disk) = small_disk("40m") else {
        return;
    };
    let settings = [
        "store.reserve_bytes=4MiB",
        "degradation.enabled=false",
        "bots.seed=[]",
        "bots.restart.min=1ms",
        "tasks.retry.min=1ms",
    ];
    let mut app = disk.start(&settings).await.unwrap();
    let gates = tempfile::tempdir().unwrap();
    let (gate, runs) = (gates.path().join("gate"), gates.path().join("runs"));
    put_bots(&app, &gate, &runs).await;
    let finished = app.submit(&json!({"type": "quick", "content": ""})).await;
    app.result(&finished).await;
    let waits = app.submit(&json!({"type": "waits", "content": ""})).await;
    let waits_too = app.submit(&json!({"type": "waits", "content": ""})).await;

    // Programs run when the disk becomes full, and one bot goes down meanwhile.
    let mut gated = Vec::new();
    for n in 0..4 {
        let content = format!("{n}").repeat(300_000);
        gated.push(
            app.submit(&json!({"type": "gated", "content": content}))
                .await,
        );
    }
    let crash = app.submit(&json!({"type": "crash", "content": ""})).await;
    app.until("they run", async |app| {
        app.get("/api/v1/queue").await.body["totals"]["running"] == 5
    })
    .await;
    let mut promised = Promised::default();
    disk.fill();
    promised.submit_until_full(&app).await;
    std::fs::write(&gate, "").unwrap();
    app.until("they have run", async |_| lines(&runs) == 4)
        .await;
    app.until("a bot is down", async |app| {
        app.get("/api/v1/bots/crashes").await.body["status"] != "healthy"
    })
    .await;
    try_every_write(&app, &waits).await;
    reads_go_on(&app, &finished).await;
    nothing_was_restarted(&app).await;

    // There is room: what was kept in memory is recorded, and nothing runs again.
    disk.make_room();
    until_written(&app).await;
    for id in &gated {
        let result = app.result(id).await;
        assert_eq!(
            (&result["success"], &result["attempt"]),
            (&json!(true), &json!(1))
        );
    }
    assert_eq!(lines(&runs), 4);
    app.result(&crash).await;
    let crashes = app.get("/api/v1/bots/crashes").await.is(200).body;
    assert_ne!(crashes["status"], "failing", "{crashes:#}");
    let next = app.submit(&json!({"type": "quick", "content": ""})).await;
    assert_eq!(app.result(&next).await["success"], true);

    // Full again, this time mostly by tasks; killed, and started on the full disk.
    std::fs::remove_file(&gate).unwrap();
    disk.take(8 << 20);
    let again = app
        .submit(&json!({"type": "gated", "content": "again"}))
        .await;
    app.until("it runs", async |app| {
        status(app, &again).await == "running"
    })
    .await;
    promised.submit_until_full(&app).await;
    disk.fill();
    promised.submit_until_full(&app).await;
    nothing_was_restarted(&app).await;
    app.kill_9();
    let mut app = disk.start(&settings).await.unwrap();
    reads_go_on(&app, &finished).await;
    try_every_write(&app, &waits_too).await;
    let quick = json!({"type": "quick", "content": ""});
    assert!(!promised.post(&app, "/api/v1/tasks/submit", &quick).await);
    nothing_was_restarted(&app).await;

    disk.make_room();
    std::fs::write(&gate, "").unwrap();
    until_written(&app).await;
    let result = app.result(&again).await;
    assert_eq!(result["success"], true, "{result:#}");
    for id in &promised.0 {
        assert_eq!(status(&app, id).await, "queued", "{id}");
    }
    nothing_was_restarted(&app).await;
    assert!(app.stop().success());
    assert!(!app.log().contains("panicked"), "{}", app.log());
}
