//! Remains of attempts: none of their processes, and all of their output.

use std::{path::Path, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    outputs::shell,
    support::{TestApp, command, store_in, task},
};

/// Returns the number of processes that are exactly `sleep <seconds>`.
fn sleeping(seconds: &str) -> usize {
    let expected = format!("sleep\0{seconds}\0");
    let sleeps = |entry: std::io::Result<std::fs::DirEntry>| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        (line == expected.as_bytes()).then_some(())
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(sleeps)
        .count()
}

/// A number of seconds that no other test sleeps for.
fn unique_sleep(n: u32) -> String {
    format!("86400.{:07}{n:03}", std::process::id())
}

/// Leaves a process outside of the group, with and without an environment, and one
/// that is forked twice; goes on when all are there.
fn daemons(seconds: &str, then: &str) -> Value {
    shell(&format!(
        "setsid sleep {seconds} >/dev/null 2>&1 </dev/null &
         env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null &
         (env -i setsid sh -c 'sleep {seconds} & exit' >/dev/null 2>&1 </dev/null &)
         until [ $(pgrep -cxf 'sleep {seconds}') -ge 3 ]; do sleep 0.02; done
         {then}"
    ))
}

async fn bot_log(app: &TestApp, bot: &str) -> String {
    let log = app.get(&format!("/api/v1/bots/{bot}/logs")).await.is(200);
    log.body["lines"].to_string()
}

#[tokio::test]
async fn no_process_outlives_an_attempt_that_ended_by_itself() {
    let app = TestApp::start().await;
    for (n, end) in ["echo done", "exit 3"].into_iter().enumerate() {
        let seconds = unique_sleep(u32::try_from(n).unwrap());
        let (bot, kind) = (format!("esc-{n}"), format!("esc-{n}"));
        app.bot(&bot, daemons(&seconds, end), &[&kind]).await;
        let submitted = json!({"type": kind, "content": "x", "max_attempts": 1});
        let id = app.submit(&submitted).await;
        app.result(&id).await;
        assert_eq!(sleeping(&seconds), 0, "{end}");
        app.until("the log says so", async |app| {
            let log = bot_log(app, &bot).await;
            log.contains("ended 3 processes that left the process group")
        })
        .await;
    }
    let bot = app.get("/api/v1/bots/esc-0").await.is(200).body;
    assert_eq!(bot["containment"]["means"], "subreaper");
    assert!(bot["containment"]["escape"].is_string());
}

#[tokio::test]
async fn no_process_outlives_a_time_out_a_cancellation_or_its_bot() {
    let app = TestApp::start().await;
    for (n, end) in ["time-out", "cancel", "stop", "remove"]
        .into_iter()
        .enumerate()
    {
        let seconds = unique_sleep(10 + u32::try_from(n).unwrap());
        let (bot, kind) = (format!("esc-{end}"), format!("esc-{end}"));
        let forever = format!("exec sleep {seconds}");
        app.bot(&bot, daemons(&seconds, &forever), &[&kind]).await;
        let timeout = if end == "time-out" { 3 } else { 600 };
        let submitted = json!({"type": kind, "content": "x", "max_attempts": 1,
            "timeout_seconds": timeout});
        let id = app.submit(&submitted).await;
        app.until("all run", async |_| sleeping(&seconds) >= 3)
            .await;
        let path = format!("/api/v1/bots/{bot}");
        match end {
            "cancel" => {
                app.post(&format!("/api/v1/tasks/{id}/cancel"), &Value::Null)
                    .await;
            }
            "stop" | "remove" => {
                app.post(&format!("{path}/stop"), &Value::Null)
                    .await
                    .is(202);
            }
            _ => {}
        }
        app.until(end, async |_| sleeping(&seconds) == 0).await;
        if end == "remove" {
            app.until("it is removed", async |app| {
                app.delete(&path).await.status == 204
            })
            .await;
        }
    }
}

#[tokio::test]
async fn no_process_outlives_a_killed_hive() {
    let mut app = TestApp::start().await;
    let seconds = unique_sleep(20);
    let forever = format!("exec sleep {seconds}");
    app.bot("esc", daemons(&seconds, &forever), &[]).await;
    app.submit(&task("x")).await;
    app.until("all run", async |_| sleeping(&seconds) == 4)
        .await;
    app.kill_9();
    app.until("nothing is left", async |_| sleeping(&seconds) == 0)
        .await;
}

/// A hive that is killed when this is dropped.
struct Killed(nix::unistd::Pid);

impl Killed {
    async fn at_the_end(app: &TestApp) -> Self {
        let status = app.get("/api/v1/system/status").await.is(200).body;
        let pid = status["pid"].as_i64().unwrap();
        Self(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Returns whether `script`, which gives a program a terminal, is installed.
pub(crate) fn has_script() -> bool {
    Command::new("script").arg("--version").output().is_ok()
}

#[tokio::test]
async fn program_that_opens_the_terminal_is_told_that_it_has_none() {
    if !has_script() {
        eprintln!("skipped: script (util-linux) is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let plain = command(&data_dir, &["bots.seed=[]", "logging.filter=off"]);
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let words: Vec<_> = std::iter::once(plain.get_program())
        .chain(plain.get_args())
        .map(quoted)
        .collect();
    let mut in_terminal = Command::new("script");
    in_terminal
        .args(["-qefc", &format!("exec {}", words.join(" ")), "/dev/null"])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let app = TestApp::try_start(in_terminal, &data_dir).await.unwrap();
    // The hive is a child of `script` and outlives it.
    let _hive = Killed::at_the_end(&app).await;
    let script = "read x </dev/tty; echo rc=$?; stty -echo </dev/tty; echo rc=$?";
    app.bot("tty", shell(script), &[]).await;
    let id = app.submit(&task("x")).await;
    let result = app.result(&id).await;
    let output = result["output"].as_str().unwrap();
    let codes: Vec<_> = output.lines().collect();
    assert_eq!(codes.len(), 2, "{result:#}");
    assert!(codes.iter().all(|code| *code != "rc=0"), "{result:#}");
}

async fn printed(app: &TestApp, id: &str, query: &str) -> (u16, String, String) {
    let path = format!("/api/v1/tasks/{id}/output{query}");
    let request = app.request_as(&app.admin, Method::GET, &path);
    let response = request.send().await.unwrap();
    let length = response.headers().get("deia-output-length");
    let length = length
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let status = response.status().as_u16();
    (status, length, response.text().await.unwrap())
}

#[tokio::test]
async fn output_of_a_task_that_is_timed_out_or_cancelled_is_kept() {
    let app = TestApp::start().await;
    let script = "echo CRITICAL-PROGRESS; echo warn-on-stderr >&2; sleep 600";
    app.bot("slow", shell(script), &[]).await;
    let timed = app
        .submit(
            &json!({"type": "general", "content": "x", "timeout_seconds": 2, "max_attempts": 1}),
        )
        .await;
    let cancelled = app.submit(&task("x")).await;
    app.until("it has printed", async |app| {
        printed(app, &cancelled, "?follow=false").await.2 == "CRITICAL-PROGRESS\n"
    })
    .await;
    app.post(&format!("/api/v1/tasks/{cancelled}/cancel"), &Value::Null)
        .await;
    for id in [&timed, &cancelled] {
        let result = app.result(id).await;
        assert_eq!(result["output"], "CRITICAL-PROGRESS\n", "{result:#}");
        let (status, length, text) = printed(&app, id, "").await;
        assert_eq!(
            (status, &*length, &*text),
            (200, "18", "CRITICAL-PROGRESS\n")
        );
        let shown = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(shown["failed_attempts"][0]["output_bytes"], 18, "{shown:#}");
    }
    let result = app.result(&timed).await;
    assert_eq!(result["error"], "timed out after 2 s: warn-on-stderr");
}

#[tokio::test]
async fn output_and_log_of_each_attempt_are_to_be_had_and_a_missing_one_is_missing() {
    let mut app = TestApp::start_with(&["bots.seed=[]", "tasks.kept_outputs=2"]).await;
    let script = "[ $DEIA_ATTEMPT = 3 ] || echo out $DEIA_ATTEMPT
        for n in 1 2 3 4 5 6; do echo err $DEIA_ATTEMPT.$n >&2; done; exit 4";
    app.bot("fails", shell(script), &[]).await;
    let retry = json!({"min_ms": 0, "max_ms": 0, "jitter": 0});
    let id = app
        .submit(&json!({"type": "general", "content": "x", "max_attempts": 3, "retry": retry}))
        .await;
    let result = app.result(&id).await;
    let error = "exit code 4: err 3.2\nerr 3.3\nerr 3.4\nerr 3.5\nerr 3.6";
    assert_eq!(result["error"], error);
    assert_eq!(printed(&app, &id, "?attempt=2").await.2, "out 2\n");
    for query in ["?attempt=3", ""] {
        let (status, length, text) = printed(&app, &id, query).await;
        assert_eq!(
            (status, &*length, &*text),
            (200, "0", ""),
            "it printed nothing"
        );
    }
    let path = format!("/api/v1/tasks/{id}");
    let removed = app.get(&format!("{path}/output?attempt=1")).await;
    let removed = removed.refuses(404, "output_missing");
    let why = removed.body["detail"].as_str().unwrap();
    assert!(why.contains("the last 2 are kept"), "{why}");
    let never = app.get(&format!("{path}/output?attempt=4")).await;
    let never = never.refuses(404, "output_missing");
    let why = never.body["detail"].as_str().unwrap();
    assert!(why.contains("it had no attempt 4"), "{why}");

    let log = app
        .get(&format!("{path}/logs?attempt=2"))
        .await
        .is(200)
        .body;
    assert_eq!(log["total"], 7, "{log:#}");
    assert_eq!(log["lines"][0]["line"], "err 2.1");
    assert_eq!(log["lines"][6]["line"], "exit code 4");
    assert_eq!(log["lines"][6]["stream"], "deia");
    let log = app.get(&format!("{path}/logs?lines=2")).await.is(200).body;
    assert_eq!(
        (&log["total"], &log["lines"][1]["attempt"]),
        (&json!(21), &json!(3))
    );
    let external = app.key("somebody", "external").await;
    app.get_as(&external, &format!("{path}/logs"))
        .await
        .refuses(403, "permission_denied");
    let unknown = deia_model::TaskId::new();
    app.get(&format!("/api/v1/tasks/{unknown}/logs"))
        .await
        .refuses(404, "not_found");

    // Files are what is kept: one that somebody removed is missing, too.
    app.stop();
    drop(store_in(app.data_dir()));
    let file = app.data_dir().join(format!("outputs/{id}/2"));
    std::fs::remove_file(&file).unwrap();
    let app = TestApp::start_in(app.data_dir(), &[]).await;
    app.get(&format!("{path}/output?attempt=2"))
        .await
        .refuses(404, "output_missing");
    assert!(Path::new(&file).parent().unwrap().join("3").exists());
}

#[tokio::test]
async fn output_of_an_attempt_that_is_given_back_is_kept() {
    let app = TestApp::start().await;
    app.bot("patient", shell("echo so far; sleep 600"), &[])
        .await;
    let id = app.submit(&task("x")).await;
    app.until("it has printed", async |app| {
        printed(app, &id, "?follow=false").await.2 == "so far\n"
    })
    .await;
    app.post("/api/v1/bots/patient/stop", &Value::Null)
        .await
        .is(202);
    app.until("it is given back", async |app| {
        app.get(&format!("/api/v1/tasks/{id}/status")).await.body["status"] == "queued"
    })
    .await;
    assert_eq!(printed(&app, &id, "?attempt=1").await.2, "so far\n");
}
