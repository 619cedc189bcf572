//! A reaper that is late leaves the programs of the next run alone.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{TestApp, task, unique_sleep};

/// Processes with exactly this command line that have not ended.
fn processes(line: &[&str]) -> Vec<i32> {
    let expected = line.join("\0") + "\0";
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == expected)
    })
    .collect()
}

/// The reaper among the children of a server.
fn reaper_of(server: Pid) -> Pid {
    let is_reaper = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').nth(1) == Some("reaper")
    };
    let mut children = String::new();
    for thread in fs::read_dir(format!("/proc/{server}/task")).unwrap() {
        children += &fs::read_to_string(thread.unwrap().path().join("children")).unwrap();
    }
    let mut pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    Pid::from_raw(pids.find(is_reaper).unwrap())
}

fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[actix_rt::test]
async fn guard_that_was_stopped_ends_nothing_of_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let seconds = unique_sleep();
    let line = ["sleep", &*seconds];
    let mut first = TestApp::start_in(&data, &["bots.seed=[]"]).await;
    let sleeps = json!({"kind": "command", "command": line});
    first.bot("sleeps", sleeps, &["general"]).await;
    let id = first.submit(&task("x")).await;
    first
        .until("it runs", async |_| processes(&line).len() == 1)
        .await;
    let earlier = processes(&line);
    let reaper = reaper_of(first.pid());
    kill(reaper, Signal::SIGSTOP).unwrap();
    first.kill_9();

    let mut second = TestApp::start_in(&data, &["bots.seed=[]"]).await;
    second
        .until("it runs again", async |_| {
            let now = processes(&line);
            now.len() == 1 && now != earlier
        })
        .await;
    let running = processes(&line);
    kill(reaper, Signal::SIGCONT).unwrap();
    second
        .until("the late reaper has done its work", async |_| {
            has_ended(reaper)
        })
        .await;
    assert_eq!(processes(&line), running);
    let now = second
        .get(&format!("/api/v1/tasks/{id}"))
        .await
        .is(200)
        .body;
    assert_eq!(
        (&now["status"], &now["attempt"]),
        (&json!("running"), &json!(2))
    );
    assert!(second.stop().success());
}
