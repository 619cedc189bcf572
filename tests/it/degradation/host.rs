//! Memory that a control group is short of, and processors that are all in use.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{feature, mode, recorded_up_and_back, settings, signal, until_level};
use crate::support::{TestApp, block_until, command};

const GROUPS: &str = "/sys/fs/cgroup";
const MIB: u64 = 1 << 20;

/// Tells the reader of the run that something was not tested here, past the test harness.
fn skipped(what: &str) {
    let said = format!("\nSKIPPED: {what}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}

/// A control group with a limit of its memory, as long as this lives.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Makes a group of version 1; `None` where there are none, or not for this process.
    fn version_1(limit: u64) -> Option<Self> {
        let parent = Path::new(GROUPS).join("memory");
        Self::make(&parent, "memory.limit_in_bytes", limit)
    }

    /// Makes a group of version 2.
    fn version_2(limit: u64) -> Option<Self> {
        let parent = Path::new(GROUPS);
        let controllers = fs::read_to_string(parent.join("cgroup.controllers")).ok()?;
        if !controllers.contains("memory") {
            return None;
        }
        let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        Self::make(parent, "memory.max", limit)
    }

    fn make(parent: &Path, file: &str, limit: u64) -> Option<Self> {
        let dir = parent.join(format!("deia-test-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let group = Self(dir);
        fs::write(group.0.join(file), limit.to_string()).ok()?;
        Some(group)
    }

    /// Returns a command that runs another one in the group.
    fn entered(&self) -> Command {
        let mut shell = Command::new("sh");
        let procs = self.0.join("cgroup.procs");
        let script = format!("echo $$ > '{}' && exec \"$0\" \"$@\"", procs.display());
        shell.args(["-c", &script]);
        shell
    }

    /// Starts a program in the group that takes so much memory, and keeps it.
    fn hog(&self, bytes: u64) -> Hog {
        let mut hog = self.entered();
        // The reader of its output reads nothing, so the program waits with a full buffer.
        let size = format!("bs={bytes}");
        hog.args(["dd", "if=/dev/zero", &size, "count=1", "status=none"]);
        let hog = hog.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Hog(hog.unwrap())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let empty = || fs::remove_dir(&self.0).is_ok();
        if !std::thread::panicking() {
            block_until("the group is empty", empty);
        }
    }
}

struct Hog(Child);

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn memory_of_a_group_sheds_and_comes_back(group: &MemoryGroup) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let settings = settings(&[
        "degradation.memory.trip_percent=60",
        "degradation.memory.clear_percent=50",
        "degradation.memory.hold=300ms",
        "degradation.memory.clear_hold=300ms",
    ]);
    let server = command(&data_dir, &settings);
    let mut entered = group.entered();
    entered
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut app = TestApp::try_start(entered, &data_dir).await.unwrap();
    let quick = json!({"kind": "simulated", "latency_ms": 1});
    app.bot("quick", quick, &["quick"]).await;
    app.until("memory is measured", async |app| {
        signal(app, "memory").await["state"] == "clear"
    })
    .await;
    let hog = group.hog(300 * MIB);
    until_level(&app, "all that can be spared is shed", |level| level == 3).await;
    let status = mode(&app).await;
    assert!(
        status["why"].as_str().unwrap().starts_with("memory: "),
        "{status:#}"
    );
    app.until("the tree follows", async |app| {
        feature(app, "webhook_delivery").await["state"] == "off"
    })
    .await;
    let urgent = json!({"type": "quick", "content": "", "priority": "P0"});
    let id = app.submit(&urgent).await;
    assert_eq!(
        app.result(&id).await["success"],
        true,
        "urgent work goes on"
    );
    drop(hog);
    until_level(&app, "all is back", |level| level == 0).await;
    app.until("the tree follows", async |app| {
        feature(app, "webhook_delivery").await["state"] == "on"
    })
    .await;
    recorded_up_and_back(&app).await;
    assert!(app.stop().success());
}

#[actix_rt::test]
async fn memory_hog_in_a_control_group_sheds_until_it_is_gone() {
    let limit = 512 * MIB;
    for (version, group) in [
        ("1", MemoryGroup::version_1(limit)),
        ("2", MemoryGroup::version_2(limit)),
    ] {
        match group {
            Some(group) => memory_of_a_group_sheds_and_comes_back(&group).await,
            None => skipped(&format!(
                "no control groups of version {version} with memory for us here; \
                 a memory hog in one was NOT tested"
            )),
        }
    }
}

/// Keeps twice as many processors busy as there are, by tasks; returns these.
async fn burn(app: &TestApp) -> Vec<String> {
    let burner = json!({"kind": "command", "command": ["sh", "-c", "while :; do :; done"]});
    app.bot("burner", burner, &["burn"]).await;
    let processors = std::thread::available_parallelism().unwrap().get();
    let mut ids = Vec::new();
    for _ in 0..(2 * processors).min(8) {
        ids.push(
            app.submit(&json!({"type": "burn", "content": "", "priority": "P0"}))
                .await,
        );
    }
    ids
}

async fn cool_down(app: &TestApp, burning: &[String]) {
    for id in burning {
        app.post(&format!("/api/v1/tasks/{id}/cancel"), &Value::Null)
            .await
            .is(200);
    }
}

/// Returns false, after saying so, where the kernel shows no pressure.
async fn shows_pressure(app: &TestApp) -> bool {
    app.until("it was measured", async |app| {
        let reading = signal(app, "cpu_and_commits").await["reading"].clone();
        !reading.as_str().unwrap().contains("not answered yet")
    })
    .await;
    let is_shown = signal(app, "cpu_and_commits").await["state"] != "unknown";
    if !is_shown {
        skipped("no pressure information (PSI) here; busy processors were NOT tested");
    }
    is_shown
}

#[actix_rt::test]
async fn agents_that_use_all_processors_shed_nothing() {
    let app = TestApp::start_with(&settings(&[
        "degradation.cpu_and_commits.trip_percent=3",
        "degradation.cpu_and_commits.clear_percent=1",
        "degradation.cpu_and_commits.hold=100ms",
    ]))
    .await;
    if !shows_pressure(&app).await {
        return;
    }
    let burning = burn(&app).await;
    app.until("work waits for processors", async |app| {
        signal(app, "cpu_and_commits").await["value"].as_f64() > Some(3.0)
    })
    .await;
    // Sleeps: nothing must happen for much longer than the hold.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = mode(&app).await;
    assert_eq!(status["level"], 0, "{status:#}");
    cool_down(&app, &burning).await;
}

#[actix_rt::test]
async fn busy_processors_with_slow_commits_shed_until_the_commits_are_fast() {
    let app = TestApp::start_with(&settings(&[
        "degradation.cpu_and_commits.trip_percent=3",
        "degradation.cpu_and_commits.clear_percent=0",
        // Any commit is slow, and none is fast.
        "degradation.cpu_and_commits.trip_latency=1ms",
        "degradation.cpu_and_commits.clear_latency=0s",
        "degradation.cpu_and_commits.window=1s",
        // The records of the changes themselves do not count.
        "degradation.cpu_and_commits.min_commits=6",
        "degradation.cpu_and_commits.hold=100ms",
        "degradation.cpu_and_commits.clear_hold=100ms",
        "alerts.look_every=10m",
    ]))
    .await;
    if !shows_pressure(&app).await {
        return;
    }
    let quick = json!({"kind": "simulated", "latency_ms": 1});
    app.bot("quick", quick, &["quick"]).await;
    let burning = burn(&app).await;
    let mut accepted = Vec::new();
    let urgent = json!({"type": "quick", "content": "", "priority": "P0"});
    while mode(&app).await["level"] == 0 {
        for _ in 0..10 {
            accepted.push(app.submit(&urgent).await);
        }
    }
    let status = mode(&app).await;
    assert!(
        status["why"]
            .as_str()
            .unwrap()
            .starts_with("cpu_and_commits: "),
        "{status:#}"
    );
    cool_down(&app, &burning).await;
    for id in &accepted {
        assert_eq!(app.result(id).await["success"], true, "{id}");
    }
    until_level(&app, "all is back", |level| level == 0).await;
}
