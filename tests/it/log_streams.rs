//! The server works on and ends in order, whatever happens to its standard error and
//! output.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
};

use deia_ledger::CommandLog as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::support::{PATIENCE, TestApp, command, store_in};

/// Enough lines that what may wait, and a pipe, are full.
const REQUESTS: usize = 1_000;
const SETTINGS: [&str; 3] = [
    "bots.seed=[]",
    "logging.access=true",
    "logging.max_pending_bytes=64KiB",
];

/// Lines are dropped only when standard error takes none, however late the thread that
/// writes them is.
const WITH_ROOM: [&str; 3] = [
    "bots.seed=[]",
    "logging.access=true",
    "logging.max_pending_bytes=16MiB",
];

/// Makes the server log `REQUESTS` lines, and sees each request answered.
async fn talk(app: &TestApp) {
    for _ in 0..REQUESTS {
        app.get("/api/v1/auth/whoami").await.is(200);
    }
}

async fn dropped_lines(app: &TestApp) -> u64 {
    let metrics = app.get("/metrics").await.is(200).body;
    let name = "deia_log_lines_dropped_total ";
    let mut lines = metrics.as_str().unwrap().lines();
    let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
    line.parse().unwrap()
}

/// Waits until it has ended, for a generous time.
fn ended(mut server: Child) -> ExitStatus {
    let (end, awaited) = mpsc::channel();
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
    std::thread::spawn(move || end.send(server.wait().unwrap()));
    awaited.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = kill(pid, Signal::SIGKILL);
        panic!("the server does not end");
    })
}

#[track_caller]
fn ended_in_order(status: ExitStatus, data_dir: &Path) {
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(store_in(data_dir).previous_shutdown_clean());
}

#[actix_rt::test]
async fn stalled_reader_of_the_log_stops_neither_requests_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let (reader, log) = std::io::pipe().unwrap();
    let mut server = command(&data_dir, &SETTINGS);
    server.stderr(log);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    talk(&app).await;
    app.until("lines are dropped", async |app| {
        dropped_lines(app).await > 0
    })
    .await;
    let status = app.stop();
    ended_in_order(status, &data_dir);
    drop(reader);
}

#[actix_rt::test]
async fn dropped_lines_are_told_once_the_reader_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let (reader, log) = std::io::pipe().unwrap();
    let mut server = command(&data_dir, &SETTINGS);
    server.stderr(log);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    talk(&app).await;
    app.until("lines are dropped", async |app| {
        dropped_lines(app).await > 0
    })
    .await;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // Read to the end: the server must not find its reader gone.
        for line in BufReader::new(reader).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["message"].as_str().unwrap().contains("were dropped") {
                let _ = tell.send(line);
            }
        }
    });
    let line = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(line["level"], "warn", "{line}");
    let lines = line["fields"]["lines"].as_u64().unwrap();
    assert!(lines > 0 && lines <= dropped_lines(&app).await, "{line}");
    assert!(app.stop().success());
}

#[actix_rt::test]
async fn server_whose_standard_error_fails_starts_serves_and_ends_in_order() {
    for redirection in ["2>/dev/full", "2>&-", "2>/dev/null", "reader gone"] {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let server = command(&data_dir, &WITH_ROOM);
        let mut run = Command::new("sh");
        run.arg("-c");
        match redirection {
            "reader gone" => run
                .arg("exec \"$0\" \"$@\"")
                .stderr(std::io::pipe().unwrap().1),
            _ => run.arg(format!("exec \"$0\" \"$@\" {redirection}")),
        };
        run.arg(server.get_program())
            .args(server.get_args())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let started = TestApp::try_start(run, &data_dir).await;
        let mut app = started.unwrap_or_else(|log| panic!("{redirection}: {log}"));
        talk(&app).await;
        let fails = !["2>&-", "2>/dev/null"].contains(&redirection);
        let right = format!("{redirection}: the count of dropped lines is right");
        app.until(&right, async |app| fails == (dropped_lines(app).await > 0))
            .await;
        ended_in_order(app.stop(), &data_dir);
    }
}

/// A pipe that takes nothing more, and its end to read from.
fn stalled_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

#[actix_rt::test]
async fn nobody_has_to_read_where_the_server_listens() {
    let stalled = stalled_pipe();
    let outputs: [(&str, Stdio); 3] = [
        ("full", File::create("/dev/full").unwrap().into()),
        ("gone", std::io::pipe().unwrap().1.into()),
        ("stalled", stalled.1.into()),
    ];
    for (what, stdout) in outputs {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let mut server = command(&data_dir, &SETTINGS)
            .stdout(stdout)
            .spawn()
            .unwrap();
        let log = BufReader::new(server.stderr.take().unwrap());
        let mut lines = log.lines();
        let is_ready = |line: &String| line.contains("\"message\":\"ready\"");
        let ready = lines.by_ref().map(Result::unwrap).find(is_ready);
        let ready: Value = serde_json::from_str(&ready.expect(what)).unwrap();
        let url = format!(
            "http://{}/livez",
            ready["fields"]["address"].as_str().unwrap()
        );
        let client = crate::support::client().build().unwrap();
        assert_eq!(
            client.get(url).send().await.unwrap().status(),
            200,
            "{what}"
        );
        let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        ended_in_order(ended(server), &data_dir);
    }
    drop(stalled.0);
}

#[test]
fn failing_start_ends_although_nobody_reads_why() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, stalled) = stalled_pipe();
    let mut server = command(&dir.path().join("data"), &["server.workers=300"]);
    let server = server.stderr(stalled).spawn().unwrap();
    assert_eq!(ended(server).code(), Some(2));
    drop(reader);
}

#[test]
fn why_a_start_fails_is_the_last_line_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut server = command(&file.join("data"), &[]);
    let mut server = server.current_dir(dir.path()).spawn().unwrap();
    let mut log = String::new();
    let mut stderr = server.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("deia: ") && last.contains("file/data"),
        "{log}"
    );
    assert_eq!(ended(server).code(), Some(1));
}
