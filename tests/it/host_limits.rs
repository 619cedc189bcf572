//! Conditions set by a host or a parent process: few open files, signals that are
//! ignored or blocked, and being the first process of a container.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{TestApp, command, task};

/// The server, started by the words before it.
fn started_by(words: &[&str], data_dir: &Path, settings: &[&str]) -> Command {
    let server = command(data_dir, settings);
    let mut run = Command::new(words[0]);
    run.args(&words[1..])
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(data_dir.parent().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    run
}

async fn run(app: &TestApp, script: &str) -> String {
    let id = app.submit(&task(script)).await;
    let result = app.result(&id).await;
    assert_eq!(result["success"], true, "{result:#}");
    result["output"].as_str().unwrap().trim_end().to_owned()
}

async fn restart_in_place(app: &TestApp) {
    let before = app.get("/api/v1/system/status").await.is(200).body;
    let restart = "/api/v1/system/restart";
    app.post(restart, &serde_json::Value::Null).await.is(202);
    app.until("it has restarted", async |app| {
        let now = app.get("/api/v1/system/status").await;
        now.status == 200
            && now.body["started_at"] != before["started_at"]
            && now.body["state"] == "ready"
    })
    .await;
}

#[actix_rt::test]
async fn soft_limit_of_open_files_is_raised_and_given_back_to_programs() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let limits = "ulimit -Sn 100; ulimit -Hn 700; exec \"$0\" \"$@\"";
    let settings = ["bots.seed=[]", "server.max_connections=300"];
    let server = started_by(&["sh", "-c", limits], &data_dir, &settings);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    let shell = json!({"kind": "command", "command": ["sh"]});
    app.bot("shell", shell, &["general"]).await;
    let own = format!("/proc/{}/limits", app.pid());
    let own = std::fs::read_to_string(own).unwrap();
    let own = own.lines().find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = own.unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["700", "700"]);
    // The shell may begin before its limit is set back; what it starts later does not.
    let limit = "while [ \"$(ulimit -Sn)\" != 100 ]; do sleep 0.01; done; ulimit -Sn; ulimit -Hn";
    assert_eq!(run(&app, limit).await, "100\n700");
    app.until_logged("limit of open files raised").await;
    assert!(!app.log().contains("at most 700"), "{}", app.log());

    // A restart in place hands on what the first start was given.
    restart_in_place(&app).await;
    assert_eq!(run(&app, limit).await, "100\n700");
    assert!(app.stop().success());
}

/// The descriptors of a program that lists its own, beyond the standard streams and that
/// for progress.
const LISTING: &str = "for fd in /proc/self/fd/*; do n=${fd##*/}; \
     [ \"$n\" -le 2 ] || [ \"$n\" = \"$DEIA_PROGRESS_FD\" ] || readlink \"/proc/$$/fd/$n\"; done; true";

#[actix_rt::test]
async fn programs_get_no_descriptor_that_a_parent_left_open() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let lock = dir.path().join("lock");
    let open = format!(
        "exec 7>{0}; flock -n 7; exec 9<{0}; exec \"$0\" \"$@\"",
        lock.display()
    );
    let server = started_by(&["sh", "-c", &open], &data_dir, &["bots.seed=[]"]);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    let shell = json!({"kind": "command", "command": ["sh"]});
    app.bot("shell", shell, &["general"]).await;
    let is_held = || {
        let taken = Command::new("flock")
            .args(["-n", lock.to_str().unwrap(), "true"])
            .status();
        !taken.unwrap().success()
    };
    assert_eq!(run(&app, LISTING).await, "");
    assert!(is_held(), "the lock of the parent stays with deia");
    app.until_logged("left open").await;

    restart_in_place(&app).await;
    assert_eq!(run(&app, LISTING).await, "");
    assert!(is_held(), "also through a restart in place");
    assert!(app.stop().success());
    assert!(!is_held(), "nothing outlives deia with it");
}

#[test]
fn check_compares_open_files_with_the_settings() {
    for (hard, settings, verdict, parts) in [
        (
            9_000,
            &["server.max_connections=100"][..],
            "ok ",
            &["9000 allowed"][..],
        ),
        (
            9_000,
            &["server.max_connections=20000"],
            "ok ",
            &["too few", "at most 9000", "20000 for connections"],
        ),
        (
            400,
            &[
                "bots.seed=[{name: many, executor: {kind: command, command: [cat]}, capabilities: {max_concurrent_tasks: 300}}]",
            ],
            "error ",
            &["at most 400", "2400 for 300 programs", "LimitNOFILE"],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let limits = format!("ulimit -n {hard}; exec \"$0\" \"$@\"");
        let mut check = started_by(&["sh", "-c", &limits], &dir.path().join("data"), settings);
        let out = check.arg("check").output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        let line = text.lines().find(|line| line.contains("open files"));
        let line = line.unwrap_or_else(|| panic!("{text}{out:?}"));
        assert!(line.starts_with(verdict), "{line}");
        for part in parts {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(out.status.success(), verdict == "ok ", "{text}");
    }
}

#[test]
fn check_finds_a_directory_that_nobody_can_make() {
    let in_proc = Path::new("/proc/deia");
    let out = command(in_proc, &[]).arg("check").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        !out.status.success() && text.contains("cannot be created"),
        "{text}"
    );
    let dir = tempfile::tempdir().unwrap();
    let out = command(&dir.path().join("a"), &[]).arg("check").output();
    assert!(out.unwrap().status.success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[actix_rt::test]
async fn too_few_open_files_refuse_a_restart_no_more_than_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let limits = "ulimit -n 400; exec \"$0\" \"$@\"";
    let many = "bots.seed=[{name: many, executor: {kind: command, command: [cat]}, capabilities: {max_concurrent_tasks: 300}}]";
    let server = started_by(&["sh", "-c", limits], &data_dir, &[many]);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    app.until_logged("at most 400").await;
    restart_in_place(&app).await;
    assert!(app.stop().success());
}

#[actix_rt::test]
async fn signals_that_a_parent_ignores_or_blocks_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let parent = [
        "env",
        "--ignore-signal=CHLD,USR1,USR2,TERM,RTMIN",
        "--block-signal",
    ];
    let server = started_by(&parent, &data_dir, &["bots.seed=[]"]);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    let shell = json!({"kind": "command", "command": ["sh"]});
    app.bot("shell", shell, &["general"]).await;
    let masks = run(&app, "grep -E '^Sig(Blk|Ign)' /proc/self/status").await;
    let masks: BTreeMap<&str, u64> = masks
        .lines()
        .map(|line| line.split_once(":\t").unwrap())
        .map(|(name, mask)| (name, u64::from_str_radix(mask, 16).unwrap()))
        .collect();
    assert_eq!(masks["SigBlk"], 0);
    // 32 and 33 are the C library's own, which it leaves ignored itself.
    assert_eq!(masks["SigIgn"] & !(0b11 << 31), 0, "{masks:x?}");
    let failed = app.submit(&task("exit 3")).await;
    let failed = app.result(&failed).await;
    assert_eq!(
        failed["success"], false,
        "the exit status is known: {failed:#}"
    );
    assert!(app.stop().success());
}

/// Returns the number of zombies whose parent is this process.
fn zombies_of(parent: i32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_zombie = |process: &std::fs::DirEntry| {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut fields = rest.split(' ');
        fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
    };
    processes.filter(is_zombie).count()
}

/// The only child of this process.
fn child_of(parent: i32) -> Option<i32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = std::fs::read_to_string(path).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Has processes of the container outlive their parents, which nobody but its
/// first process adopts: those of programs are their runner's.
fn leave_orphans(first: i32) {
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &first.to_string(), "--pid", "--mount"]);
    if !nix::unistd::geteuid().is_root() {
        enter.args(["--user", "--preserve-credentials"]);
    }
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 &); done";
    let left = enter.args(["sh", "-c", script]).status().unwrap();
    assert!(left.success(), "{left}");
}

#[actix_rt::test]
async fn first_process_of_a_container_reaps_orphans_and_no_status_is_lost() {
    let mut unshare = vec!["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"];
    if !nix::unistd::geteuid().is_root() {
        unshare.push("--map-root-user");
    }
    let tried = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        let must = std::env::var_os("DEIA_TEST_NAMESPACES").is_some();
        assert!(!must, "this machine allows no PID namespaces");
        // Past the test harness, which would keep it to itself.
        let said = "\nSKIPPED: no PID namespaces here; deia as PID 1 was NOT tested\n";
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = started_by(
        &unshare,
        &data_dir,
        &[
            "bots.seed=[]",
            "tasks.default_max_attempts=1",
            // Every task fails here.
            "bots.circuit.failures=0",
            "bots.circuit.window=0",
        ],
    );
    let app = TestApp::try_start(server, &data_dir).await.unwrap();
    let hive = child_of(app.pid().as_raw()).unwrap();
    let shell = json!({"kind": "command", "command": ["sh"]});
    app.bot("shell", shell, &["general"]).await;
    let status = app.get("/api/v1/system/status").await.is(200).body;
    assert_eq!(status["pid"], 1, "the hive is PID 1");
    leave_orphans(hive);
    let script = "(setsid sleep 0.1 &); (setsid sleep 0.2 & :); exit 3";
    let mut tasks = Vec::new();
    for _ in 0..100 {
        tasks.push(app.submit(&task(script)).await);
    }
    for id in &tasks {
        let result = app.result(id).await;
        let error = result["error"].as_str().unwrap_or_default();
        assert!(
            error.contains("exit code 3"),
            "the status is known: {result:#}"
        );
    }
    app.until("no zombie is left", async |_| zombies_of(hive) == 0)
        .await;
    // No zombie appears afterwards, and programs still have their own status.
    assert_eq!(run(&app, "sleep 1.5; echo fine").await, "fine");
    let pid = nix::unistd::Pid::from_raw(hive);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    app.until_logged("\"message\":\"stopped\"").await;
}
