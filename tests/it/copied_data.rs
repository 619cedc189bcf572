//! A copy of a data directory that is started harms nothing of the original.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::json;

use crate::support::{TestApp, task, unique_sleep};

#[actix_rt::test]
async fn hive_on_a_copied_directory_leaves_the_programs_of_the_original_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let mut original = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    let shell = json!({"kind": "command", "command": ["sh"]});
    original.bot("shell", shell, &["general"]).await;
    let seconds = unique_sleep();
    let started = dir.path().join("started");
    let script = format!("echo $$ >> '{}'; exec sleep {seconds}", started.display());
    let id = original.submit(&task(&script)).await;
    let runs = || {
        let text = std::fs::read_to_string(&started).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lives = |pid: &str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline"));
        line.is_ok_and(|line| line == format!("sleep\0{seconds}\0").as_bytes())
    };
    original
        .until("its program runs", async |_| {
            runs().first().is_some_and(|pid| lives(pid))
        })
        .await;
    let first = runs()[0].clone();

    let copied = Command::new("cp")
        .arg("-a")
        .arg(&data_dir)
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let mut other = TestApp::start_in(&copy, &["bots.seed=[]"]).await;
    // The task was given back in the copy, and runs there as well by now.
    other
        .until("the copy runs it", async |_| runs().len() == 2)
        .await;
    assert!(lives(&first), "ended by the start of the copy");
    let show = format!("/api/v1/tasks/{id}");
    let before = original.get(&show).await.is(200).body;
    assert_eq!(
        (&before["status"], &before["attempt"]),
        (&json!("running"), &json!(1))
    );

    // The end of the copy ends its own, by whatever way.
    let second = runs()[1].clone();
    other.kill_9();
    original
        .until("the copy's program is gone", async |_| !lives(&second))
        .await;
    // A later start of the copy finds itself, and again leaves the original alone.
    let mut other = TestApp::start_in(&copy, &["bots.seed=[]"]).await;
    assert!(other.stop().success());
    assert!(lives(&first), "ended by a later start of the copy");
    assert_eq!(original.get(&show).await.is(200).body["attempt"], 1);

    // And the original still ends its own.
    original.kill_9();
    let mut original = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    assert!(
        !lives(&first),
        "a start on the same directory ends what was left"
    );
    assert!(original.stop().success());
}

/// The command by which the guide makes a backup, with these directories.
fn backup_of_the_guide(data_dir: &Path, backup: &Path) -> String {
    let guide = include_str!("../../docs/OPERATIONS.md");
    let line = guide
        .lines()
        .find(|line| line.starts_with("cp -a /var/lib/deia "));
    let line = line.expect("the guide makes a backup");
    line.replace("/var/lib/deia", data_dir.to_str().unwrap())
        .replace("/var/backups/deia-2026-11-28", backup.to_str().unwrap())
}

#[actix_rt::test]
async fn offline_copy_of_the_guide_is_a_whole_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, backup) = (dir.path().join("data"), dir.path().join("backup"));
    let mut app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    let shell = json!({"kind": "command", "command": ["sh"]});
    app.bot("shell", shell, &["general"]).await;
    let done = app.submit(&task("echo before")).await;
    assert_eq!(app.result(&done).await["output"], "before\n");
    let later = json!({"type": "general", "content": "echo later", "delay_ms": 3_600_000});
    let later = app.submit(&later).await;
    let secret = json!({"value": "s3cret"});
    app.put("/api/v1/secrets/api", &secret).await;
    let viewer = app.key("vic", "viewer").await;
    assert!(app.stop().success());

    let run = |script: &str| {
        let done = Command::new("sh").args(["-e", "-c", script]).status();
        assert!(done.unwrap().success(), "{script}");
    };
    run(&backup_of_the_guide(&data_dir, &backup));
    let mut app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    let after = app.submit(&task("echo after")).await;
    app.result(&after).await;
    assert!(app.stop().success());
    let (data, old) = (data_dir.display(), backup.display());
    run(&format!("mv {data} {data}.aside && cp -a {old} {data}"));

    let mut app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    assert_eq!(app.result(&done).await["output"], "before\n");
    let waits = app.get(&format!("/api/v1/tasks/{later}/status")).await;
    assert_eq!(waits.is(200).body["status"], "pending");
    app.get(&format!("/api/v1/tasks/{after}")).await.is(404);
    app.get_as(&viewer, "/api/v1/bots/shell").await.is(200);
    let secrets = app.get("/api/v1/secrets").await.is(200).body;
    assert_eq!(secrets["items"][0]["name"], "api", "{secrets}");
    for (path, mode) in [("", 0o700), ("deia.db", 0o600), ("secrets.key", 0o600)] {
        let found = std::fs::metadata(data_dir.join(path))
            .unwrap()
            .permissions();
        assert_eq!(found.mode() & 0o777, mode, "{path}");
    }
    assert!(!app.log().contains("do not open"), "{}", app.log());
    assert!(app.stop().success());
}
