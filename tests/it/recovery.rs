//! The archive: what a lost disk costs, restores, and archives that cannot be written.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deia_ledger::TaskReads as _;
use deia_model::{PageRequest, TaskFilter, Timestamp, Visibility};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, command, store_in, task};

mod buckets;
mod drills;
mod files;
mod in_place;
mod off;
mod targets;
mod unmounted;

const STATUS: &str = "/api/disaster-recovery/status";

/// A hive whose archive is in another directory.
struct Archived {
    app: TestApp,
    dir: tempfile::TempDir,
}

impl Archived {
    async fn start(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = Self::start_in(dir.path(), settings).await;
        let made = Self { app, dir };
        made.until_shipping().await;
        made
    }

    async fn start_in(dir: &Path, settings: &[&str]) -> TestApp {
        let data_dir = dir.join("data");
        let url = format!("recovery.url=file://{}", dir.join("archive").display());
        let settings = [
            &[
                url.as_str(),
                "recovery.mode=async",
                "bots.seed=[]",
                "limits.enabled=false",
                "recovery.ship_every=50ms",
                "recovery.drill_every=0s",
            ],
            settings,
        ]
        .concat();
        let server = command(&data_dir, &settings);
        TestApp::try_start(server, &data_dir).await.unwrap()
    }

    async fn status(&self) -> Value {
        self.app.get(STATUS).await.is(200).body
    }

    /// Waits until there is a restore point.
    async fn until_shipping(&self) {
        self.app
            .until("a first restore point", async |_| {
                let status = self.status().await;
                status["state"] == "shipping" && status["points"].as_u64() > Some(0)
            })
            .await;
    }

    /// Waits until the archive has everything.
    async fn until_archived(&self) {
        self.app
            .until("all is shipped", async |_| {
                self.status().await["exposure_seconds"] == 0.0
            })
            .await;
    }

    /// Makes a restore point, and returns its id.
    async fn mark(&self) -> String {
        let path = "/api/disaster-recovery/restore-point";
        let made = self.app.post(path, &json!({})).await.is(201).body;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of the job on the archive, and returns it.
    async fn job(&self) -> Value {
        self.app
            .until("the end of the job", async |_| {
                self.status().await["job"]["state"] != "running"
            })
            .await;
        self.status().await["job"].clone()
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn restore(&self, to: &str, options: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_deia"))
            .args(["restore", "--from"])
            .arg(format!("file://{}", self.archive().display()))
            .arg("--to")
            .arg(self.dir.path().join(to))
            .args(options)
            .output()
            .unwrap()
    }

    /// Restores, and returns the ids of the restored tasks.
    async fn restored_tasks(&self, to: &str, options: &[&str]) -> BTreeSet<String> {
        let done = self.restore(to, options);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        tasks_in(&self.dir.path().join(to)).await
    }
}

/// Asserts that a write was refused: as unknown if it is on the disk of the hive, as not done if
/// a commit of the hive itself was the first that waited.
#[track_caller]
fn is_refused_for_the_archive(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:#?}");
    let code = answer.body["code"].as_str().unwrap_or_default();
    assert!(
        ["outcome_unknown", "archive_unreachable"].contains(&code),
        "{answer:#?}"
    );
}

pub(crate) async fn tasks_in(data_dir: &Path) -> BTreeSet<String> {
    let store = store_in(data_dir);
    let mut found = BTreeSet::new();
    let mut cursor = None;
    loop {
        let page = PageRequest {
            limit: 1_000,
            cursor,
        };
        let page = store
            .tasks(Visibility::All, TaskFilter::default(), page)
            .await
            .unwrap();
        found.extend(page.items.into_iter().map(|task| task.id.to_string()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

/// Submits tasks until told to stop, or the hive is gone. Notes each answered one with the
/// time of its answer.
async fn submit_until(app: &TestApp, stop: &AtomicBool, answered: &Mutex<Vec<(i64, String)>>) {
    while !stop.load(Ordering::Relaxed) {
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/tasks/submit");
        let Ok(answer) = request.json(&task("x")).send().await else {
            return;
        };
        if answer.status() != 202 {
            continue;
        }
        let Ok(body) = answer.json::<Value>().await else {
            return;
        };
        let id = body["id"].as_str().unwrap().to_owned();
        let at = Timestamp::now().as_millis();
        answered.lock().unwrap().push((at, id));
    }
}

/// Kills a loaded hive, loses its disk, and compares what is restored with what was answered.
async fn lose_the_disk(mode: &str, load_ms: u64) {
    let mode = format!("recovery.mode={mode}");
    let mut archived = Archived::start(&[&mode]).await;
    let (stop, answered) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let mut shown = Value::Null;
    {
        let app = &archived.app;
        let clients = (0..4).map(|_| submit_until(app, &stop, &answered));
        let ending = async {
            // Sleeps: the load goes on for a while, and ends at any moment.
            tokio::time::sleep(Duration::from_millis(load_ms)).await;
            shown = archived.status().await;
            let pid = archived.app.pid();
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        };
        let clients = futures_util::future::join_all(clients);
        tokio::join!(clients, ending);
    }
    archived.app.wait();
    fs::remove_dir_all(archived.dir.path().join("data")).unwrap();
    let restored = archived.restored_tasks("restored", &[]).await;
    let archived_at: Timestamp = shown["archived_at"].as_str().unwrap().parse().unwrap();
    let answered = answered.into_inner().unwrap();
    assert!(answered.len() > 5, "{} answers", answered.len());
    let must_be_there = |at: i64| {
        mode.ends_with("sync") && !mode.ends_with("async") || at < archived_at.as_millis()
    };
    for (at, id) in &answered {
        assert!(
            !must_be_there(*at) || restored.contains(id),
            "{mode}: {id} of {at} is lost"
        );
    }
}

#[tokio::test]
async fn restored_hive_has_all_answered_before_the_shown_exposure() {
    for load_ms in [400, 1_300] {
        lose_the_disk("async", load_ms).await;
    }
}

#[tokio::test]
async fn restored_hive_has_all_answered_in_sync() {
    for load_ms in [300, 900] {
        lose_the_disk("sync", load_ms).await;
    }
}

/// Loses one disk each; `DEIA_SCALE=long` loses a hundred, which takes an hour.
#[tokio::test]
async fn restored_hive_has_what_it_must_in_many_rounds() {
    let is_long = std::env::var_os("DEIA_SCALE").is_some_and(|it| it == "long");
    for round in 0..if is_long { 100 } else { 1 } {
        lose_the_disk("async", 37 * round % 3_000 + 50).await;
        lose_the_disk("sync", 41 * round % 3_000 + 50).await;
    }
}

#[tokio::test]
async fn point_and_later_moments_are_restored_and_the_restored_hive_waits() {
    let archived = Archived::start(&[]).await;
    let app = &archived.app;
    let first = app.submit(&task("first")).await;
    let point = app
        .post(
            "/api/disaster-recovery/restore-point",
            &json!({"label": "a"}),
        )
        .await
        .is(201)
        .body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let second = app.submit(&task("second")).await;
    app.until("all is shipped", async |_| {
        archived.status().await["exposure_seconds"] == 0.0
    })
    .await;
    let at_point = archived.restored_tasks("a", &["--point", &point]).await;
    assert_eq!(at_point, BTreeSet::from([first.clone()]));
    let newest = archived.restored_tasks("b", &[]).await;
    assert_eq!(newest, BTreeSet::from([first.clone(), second.clone()]));
    let events = app
        .get(&format!("/api/v1/tasks/{second}/events"))
        .await
        .is(200)
        .body;
    let seq = events["items"][0]["seq"].as_u64().unwrap().to_string();
    let before = archived
        .restored_tasks("c", &["--before-event", &seq])
        .await;
    assert_eq!(before, BTreeSet::from([first.clone()]));
    let with = archived.restored_tasks("d", &["--event", &seq]).await;
    assert!(with.contains(&second));
    let listed = app
        .get("/api/disaster-recovery/backup-history")
        .await
        .is(200)
        .body;
    let labels: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["label"])
        .collect();
    assert!(labels.contains(&&json!("a")), "{labels:?}");
    // The copy runs beside the hive, and touches nothing of it.
    let copy = TestApp::start_in(&archived.dir.path().join("a"), &["bots.seed=[]"]).await;
    let status = copy.get(STATUS).await.is(200).body;
    assert_eq!(status["restored"]["paused"], true);
    let pauses = async || copy.get("/api/v1/queue").await.is(200).body["paused"].clone();
    assert_eq!(pauses().await[0]["by"], "deia");
    copy.post("/api/disaster-recovery/resume", &Value::Null)
        .await
        .is(200);
    assert_eq!(pauses().await, json!([]));
    copy.post("/api/disaster-recovery/resume", &Value::Null)
        .await
        .refuses(409, "recovery_refused");
    let trail = Command::new(env!("CARGO_BIN_EXE_deia"))
        .args(["audit", "verify", "--dir"])
        .arg(archived.dir.path().join("a/audit"))
        .output()
        .unwrap();
    assert!(
        trail.status.success(),
        "{}",
        String::from_utf8_lossy(&trail.stdout)
    );
    assert_eq!(archived.status().await["state"], "shipping");
}

#[tokio::test]
async fn archive_that_cannot_be_written_stops_nothing_in_async_and_writes_in_sync() {
    for mode in ["async", "sync"] {
        let setting = format!("recovery.mode={mode}");
        let archived = Archived::start(&[&setting, "recovery.answer_within=4s"]).await;
        let app = &archived.app;
        let first = app.submit(&task("first")).await;
        let aside = archived.dir.path().join("aside");
        fs::rename(archived.archive(), &aside).unwrap();
        fs::write(archived.archive(), "not a directory").unwrap();
        if mode == "async" {
            app.submit(&task("second")).await;
        } else {
            // The first is on the disk of the hive only; the next ones are refused.
            let answer = app.post("/api/v1/tasks/submit", &task("second")).await;
            is_refused_for_the_archive(&answer);
            let answer = app.post("/api/v1/tasks/submit", &task("third")).await;
            assert!(!answer.header("retry-after").is_empty());
            answer.refuses(503, "archive_unreachable");
        }
        app.get(&format!("/api/v1/tasks/{first}")).await.is(200);
        app.until("the failure is shown", async |_| {
            let status = archived.status().await;
            status["state"] == "failing" && status["exposure_seconds"].as_f64() > Some(0.0)
        })
        .await;
        fs::remove_file(archived.archive()).unwrap();
        fs::rename(&aside, archived.archive()).unwrap();
        app.until("the archive is written again", async |_| {
            let status = archived.status().await;
            status["state"] == "shipping" && status["exposure_seconds"] == 0.0
        })
        .await;
        app.submit(&task("fourth")).await;
    }
}

#[tokio::test]
async fn archive_goes_on_after_stops_and_kills() {
    let mut archived = Archived::start(&[]).await;
    let generation = archived.status().await["generation"].clone();
    for round in 0..3 {
        archived.app.submit(&task("x")).await;
        match round % 2 {
            0 => archived.app.kill_9(),
            _ => drop(archived.app.stop()),
        }
        archived.app = Archived::start_in(archived.dir.path(), &[]).await;
        archived.until_shipping().await;
        let status = archived.status().await;
        assert_eq!(status["generation"], generation, "{round}: {status}");
        assert_eq!(status["previous_shutdown"]["clean"], round % 2 == 1);
    }
    archived
        .app
        .post("/api/disaster-recovery/mark-shutdown", &Value::Null)
        .await
        .is(200);
    archived.app.kill_9();
    archived.app = Archived::start_in(archived.dir.path(), &[]).await;
    assert_eq!(archived.status().await["previous_shutdown"]["clean"], true);
}
