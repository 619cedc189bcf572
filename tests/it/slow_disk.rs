//! A slow disk: requests that would wait too long are refused with 503, nothing acknowledged is
//! lost, and all are admitted again when the disk is fast.
//!
//! The syncs of the server are delayed by a library that is loaded before the one of C. Where that
//! cannot be built the test says so and is skipped; with `DEIA_TEST_SLOW_DISK=must` it fails.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{TestApp, command, task};

/// The delays of the syncs of a server.
struct SlowDisk {
    library: PathBuf,
    file: PathBuf,
}

impl SlowDisk {
    /// Builds the library. Returns `None` if there is no compiler of C.
    fn build(dir: &Path) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/slow_disk/slow_sync.c");
        let library = dir.join("slow_sync.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        let this = Self {
            library,
            file: dir.join("delay"),
        };
        this.set(Duration::ZERO);
        built.is_ok_and(|status| status.success()).then_some(this)
    }

    /// Delays each sync by that time from now on.
    fn set(&self, delay: Duration) {
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, delay.as_millis().to_string()).unwrap();
        std::fs::rename(aside, &self.file).unwrap();
    }

    fn slow_down(&self, server: &mut Command) {
        server
            .env("LD_PRELOAD", &self.library)
            .env("SLOW_SYNC_FILE", &self.file);
    }
}

/// Returns the disk, or says that the test is skipped.
fn disk(dir: &Path) -> Option<SlowDisk> {
    let disk = SlowDisk::build(dir);
    if disk.is_none() {
        let must = std::env::var("DEIA_TEST_SLOW_DISK").is_ok_and(|it| it == "must");
        assert!(!must, "the library that delays syncs cannot be built");
        eprintln!("skipped: there is no compiler of C for the library that delays syncs");
    }
    disk
}

/// The answers to submissions of some callers.
#[derive(Default)]
struct Answered {
    accepted: Vec<String>,
    refused: usize,
}

/// Submits for that time, over so many connections of each caller.
async fn submit_for(app: &TestApp, keys: &[String], each: usize, time: Duration) -> Answered {
    let begun = Instant::now();
    let one = async |key: &String| {
        let mut answered = Answered::default();
        while begun.elapsed() < time {
            let asked = Instant::now();
            let answer = app.post_as(key, "/api/v1/tasks/submit", &task("x")).await;
            if answer.status == 202 {
                let id = answer.body["id"].as_str().unwrap().to_owned();
                answered.accepted.push(id);
                continue;
            }
            let refused = answer.refuses(503, "overloaded");
            assert_eq!(refused.header("retry-after"), "1");
            answered.refused += 1;
            let held_back = asked.elapsed();
            assert!(held_back >= Duration::from_millis(250), "{held_back:?}");
            // Sleeps: a client that waits for a part of what it is told to wait.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answered
    };
    let all = keys.iter().flat_map(|key| vec![key; each]).map(one);
    let all = join_all(all).await;
    let mut sum = Answered::default();
    for answered in all {
        sum.accepted.extend(answered.accepted);
        sum.refused += answered.refused;
    }
    sum
}

/// Returns the least share of the ranks of requests that are admitted.
async fn admitted_share(app: &TestApp) -> f64 {
    let metrics = app.get("/metrics").await.is(200).body;
    let lines = metrics.as_str().unwrap().lines();
    let shares = lines
        .filter(|line| line.starts_with("deia_http_admitted_ranks_ratio{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap());
    shares.reduce(f64::min).unwrap()
}

#[actix_rt::test]
async fn slow_disk_is_answered_with_503_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = disk(dir.path()) else { return };
    let data_dir = dir.path().join("data");
    let mut server = command(
        &data_dir,
        &[
            "bots.seed=[]",
            "limits.enabled=false",
            "server.admission.submit=2",
            "server.admission.max_wait=30s",
            "server.admission.overload.enabled=true",
            "server.admission.overload.window=200ms",
            "server.admission.overload.min_requests=4",
        ],
    );
    disk.slow_down(&mut server);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    app.bot("b", json!({"kind": "simulated"}), &["general"])
        .await;
    let mut keys = Vec::new();
    for n in 0..4 {
        keys.push(app.key(&format!("user-{n}"), "operator").await);
    }
    let second = Duration::from_secs(1);
    let fast = submit_for(&app, &keys, 1, second).await;
    assert!(!fast.accepted.is_empty());

    disk.set(Duration::from_millis(60));
    let slow = submit_for(&app, &keys, 6, 4 * second).await;
    assert!(slow.refused > 0, "everything waits its time out");
    assert!(!slow.accepted.is_empty(), "everything is refused");
    let probe = Instant::now();
    app.get("/livez").await.is(200);
    assert!(probe.elapsed() < second, "{:?}", probe.elapsed());
    assert!(admitted_share(&app).await < 1.0);

    disk.set(Duration::ZERO);
    app.until("everything is admitted again", async |app| {
        app.get("/api/v1/tasks?limit=1").await;
        admitted_share(app).await >= 1.0
    })
    .await;
    let after = Mutex::new(Vec::new());
    app.until("nothing is refused", async |app| {
        let answered = submit_for(app, &keys, 1, second / 2).await;
        after.lock().unwrap().extend(answered.accepted);
        answered.refused == 0
    })
    .await;
    let after = after.into_inner().unwrap();
    assert!(!after.is_empty());

    app.kill_9();
    let app = TestApp::start_in(&data_dir, &["bots.seed=[]", "limits.enabled=false"]).await;
    for id in fast.accepted.iter().chain(&slow.accepted).chain(&after) {
        let known: Value = app
            .get(&format!("/api/v1/tasks/{id}/status"))
            .await
            .is(200)
            .body;
        assert!(known["status"].is_string(), "{known:#}");
    }
}

#[actix_rt::test]
async fn hung_disk_is_told_by_the_probe_while_reads_go_on_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = disk(dir.path()) else { return };
    let data_dir = dir.path().join("data");
    let mut server = command(&data_dir, &["bots.seed=[]", "server.probe_timeout=1s"]);
    disk.slow_down(&mut server);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    let before = app.submit(&task("before")).await;
    app.get("/livez").await.is(200);

    disk.set(Duration::from_secs(3_600));
    let hanging = task("while it hangs");
    let submitted = app.submit(&hanging);
    let meanwhile = async {
        app.until("the probe tells", async |app| {
            app.get("/livez").await.status == 503
        })
        .await;
        for path in [
            &format!("/api/v1/tasks/{before}"),
            "/api/v1/tasks",
            "/api/v1/bots",
            "/api/v1/events",
            "/metrics",
        ] {
            app.get(path).await.is(200);
        }
        let health = app.get("/api/v1/system/health").await.is(200).body;
        assert_eq!(health["healthy"], false, "{health:#}");
        disk.set(Duration::ZERO);
    };
    let (late, ()) = tokio::join!(submitted, meanwhile);
    app.until("the hive is well", async |app| {
        app.get("/livez").await.status == 200
    })
    .await;
    app.kill_9();
    let app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    for id in [before, late] {
        app.get(&format!("/api/v1/tasks/{id}")).await.is(200);
    }
}
