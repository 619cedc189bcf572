//! A copy of a data directory that is started harms nothing of the original.

use std::process::Command;

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
