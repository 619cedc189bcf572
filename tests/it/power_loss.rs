//! A loaded hive loses power: its disk has forgotten what was not synced, or is gone.
//!
//! The archive is on another disk. The hive goes on with what its own disk has, and with
//! everything that was answered; a restore of the archive has what it promises.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deia_model::Timestamp;
use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use serde_json::Value;

use self::disk::{Draws, ForgetfulDisk};
use crate::support::{TestApp, command, task, upper};

mod disk;

const STATUS: &str = "/api/disaster-recovery/status";

/// The answers that a client had.
#[derive(Default)]
struct Answers {
    /// Tasks that were accepted, with the time of the answer in milliseconds since 1970.
    accepted: Mutex<Vec<(i64, String)>>,
    /// Tasks whose result was read.
    completed: Mutex<Vec<String>>,
}

/// A data directory and an archive of it.
struct Site<'a> {
    dir: &'a Path,
    disk: &'a ForgetfulDisk,
    mode: &'a str,
}

impl Site<'_> {
    async fn start(&self, is_watched: bool) -> TestApp {
        let data_dir = self.dir.join("data");
        let url = format!("recovery.url=file://{}", self.dir.join("archive").display());
        let mode = format!("recovery.mode={}", self.mode);
        let settings = [
            url.as_str(),
            &mode,
            "bots.seed=[]",
            "limits.enabled=false",
            "recovery.ship_every=20ms",
            "recovery.drill_every=0s",
            "store.checkpoint_pages=300",
        ];
        let mut server = command(&data_dir, &settings);
        if is_watched {
            self.disk.watch(&mut server, &data_dir);
        }
        let app = TestApp::try_start(server, &data_dir).await;
        app.unwrap_or_else(|log| panic!("the hive does not start:\n{log}"))
    }

    fn deia(&self, arguments: &[&str]) -> Output {
        let mut deia = Command::new(env!("CARGO_BIN_EXE_deia"));
        deia.args(arguments).current_dir(self.dir);
        deia.output().unwrap()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    fn must(&self, arguments: &[&str]) {
        let done = self.deia(arguments);
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(done.status.success(), "{arguments:?}: {said}");
    }
}

/// Submits until the hive is gone, and reads every third result.
async fn submit_until(app: &TestApp, stop: &AtomicBool, answers: &Answers) {
    for n in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/tasks/submit");
        let Ok(answer) = request.json(&task("power")).send().await else {
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
        answers.accepted.lock().unwrap().push((at, id.clone()));
        if n % 3 == 0 {
            let path = format!("/api/v1/tasks/{id}/result?wait_ms=5000");
            let result = app.request_as(&app.admin, Method::GET, &path).send().await;
            if result.is_ok_and(|result| result.status() == 200) {
                answers.completed.lock().unwrap().push(id);
            }
        }
    }
}

async fn status(app: &TestApp) -> Value {
    app.get(STATUS).await.is(200).body
}

/// Loads a hive and kills it after that time. Returns the time up to which it has shown its
/// archive to reach, in milliseconds since 1970.
async fn load_and_kill(site: &Site<'_>, load: Duration, answers: &Answers) -> i64 {
    let mut app = site.start(true).await;
    app.until("a first restore point", async |app| {
        status(app).await["points"].as_u64() > Some(0)
    })
    .await;
    app.bot("b", upper(), &["general"]).await;
    let stop = AtomicBool::new(false);
    let mut shown = Value::Null;
    {
        let app = &app;
        let clients = (0..4).map(|_| submit_until(app, &stop, answers));
        let ending = async {
            // Sleeps: the load goes on for a while, and ends at any moment.
            tokio::time::sleep(load).await;
            shown = status(app).await;
            kill(app.pid(), Signal::SIGKILL).unwrap();
        };
        tokio::join!(futures_util::future::join_all(clients), ending);
    }
    app.wait();
    let archived_at: Timestamp = shown["archived_at"].as_str().unwrap().parse().unwrap();
    archived_at.as_millis()
}

async fn tasks_in(data_dir: &Path) -> Vec<String> {
    crate::recovery::tasks_in(data_dir)
        .await
        .into_iter()
        .collect()
}

/// Loses power once, and looks at what the disk and the archive have.
async fn lose_power(mode: &str, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = ForgetfulDisk::build(dir.path()) else {
        return;
    };
    let site = Site {
        dir: dir.path(),
        disk: &disk,
        mode,
    };
    let mut draws = Draws(seed);
    let answers = Answers::default();
    let load = Duration::from_millis(200 + draws.below(2_500));
    let archived_at = load_and_kill(&site, load, &answers).await;
    let data_dir = dir.path().join("data");
    disk.lose_power(&data_dir, &mut draws);
    let accepted = answers.accepted.into_inner().unwrap();
    let round = format!("{mode}, seed {seed}, {} answers", accepted.len());

    // The disk is gone: the archive alone.
    let from = format!("file://{}", dir.path().join("archive").display());
    site.must(&["restore", "--from", &from, "--to", "restored"]);
    let restored = tasks_in(&dir.path().join("restored")).await;
    for (at, id) in &accepted {
        let must_be_there = mode == "sync" || *at < archived_at;
        let is_there = restored.binary_search(id).is_ok();
        assert!(is_there || !must_be_there, "{round}: {id} of {at} is lost");
    }
    let restored = dir.path().join("restored");
    let mut copy = TestApp::start_in(&restored, &["bots.seed=[]"]).await;
    assert_eq!(status(&copy).await["restored"]["paused"], true, "{round}");
    copy.stop();
    site.must(&["check", "--data-dir", "restored"]);
    site.must(&["audit", "verify", "--dir", "restored/audit"]);

    // The disk came back, without what was not synced.
    let app = site.start(false).await;
    for (_, id) in &accepted {
        let answer = app.get(&format!("/api/v1/tasks/{id}")).await;
        assert_eq!(answer.status, 200, "{round}: {id} is lost");
    }
    for id in answers.completed.into_inner().unwrap() {
        assert_eq!(app.result(&id).await["output"], "POWER", "{round}: {id}");
    }
    app.until("all is shipped", async |app| {
        let status = status(app).await;
        status["state"] == "shipping" && status["exposure_seconds"] == 0.0
    })
    .await;
    let status = status(&app).await;
    assert_eq!(status["archive_was_ahead"], false, "{round}: {status}");
    let mut app = app;
    app.stop();
    let kept = tasks_in(&data_dir).await;
    let data_dir = data_dir.display().to_string();
    site.must(&["check", "--data-dir", &data_dir]);
    site.must(&["audit", "verify", "--dir", "data/audit"]);
    site.must(&["restore", "--from", &from, "--to", "again"]);
    assert_eq!(tasks_in(&dir.path().join("again")).await, kept, "{round}");
    fs::remove_dir_all(dir.path().join("again")).unwrap();
}

/// Loses power a few times, at random moments; `DEIA_SCALE=long` does so 200 times.
#[tokio::test]
async fn hive_and_archive_keep_their_promises_when_power_is_lost() {
    let is_long = std::env::var_os("DEIA_SCALE").is_some_and(|it| it == "long");
    let now = Timestamp::now().as_millis().unsigned_abs();
    for round in 0..if is_long { 100 } else { 2 } {
        lose_power("async", now + round).await;
        lose_power("sync", now + round).await;
    }
}
