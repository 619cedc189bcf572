//! A restart in place that would fail is refused; one that fails all the same
//! goes back to what ran before.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{TestApp, all_events, client, command, silent, store_in, task};

const RESTART: &str = "/api/v1/system/restart";
const REAL: &str = env!("CARGO_BIN_EXE_deia");

/// A hive whose binary and settings can be replaced.
struct Site {
    dir: TempDir,
    app: TestApp,
}

impl Site {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, binary) = (dir.path().join("data"), dir.path().join("deia"));
        let settings = dir.path().join("deia.yaml");
        fs::write(&settings, text("tasks: {max_batch: 5}")).unwrap();
        install(&binary);
        let mut run = Command::new(&binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DEIA__") {
                run.env_remove(name);
            }
        }
        // The disk of the machine may be nearly full: that is not what these tests are about.
        run.env("DEIA__DEGRADATION__ENABLED", "false");
        run.arg("--config")
            .arg(&settings)
            .arg("--data-dir")
            .arg(&data)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let app = TestApp::try_start_for(client().build().unwrap(), run, &data).await;
        Self {
            app: app.unwrap_or_else(|log| panic!("the server does not start:\n{log}")),
            dir,
        }
    }

    fn binary(&self) -> PathBuf {
        self.dir.path().join("deia")
    }

    fn settings(&self, lines: &str) {
        fs::write(self.dir.path().join("deia.yaml"), text(lines)).unwrap();
    }

    /// Puts a program in the place of the binary, as an update would.
    fn script(&self, lines: &str) {
        let draft = self.dir.path().join("draft");
        fs::write(&draft, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&draft, self.binary()).unwrap();
    }

    async fn status(&self) -> Value {
        self.app.get("/api/v1/system/status").await.is(200).body
    }

    /// Asks for a restart, which is refused with that reason; nothing has changed.
    async fn refuses(&self, reason: &str) {
        let before = self.status().await;
        let refused = self.app.post(RESTART, &Value::Null).await;
        let refused = refused.refuses(409, "restart_refused");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{reason}: {detail}");
        let after = self.status().await;
        assert_eq!(after["started_at"], before["started_at"], "{reason}");
        assert_eq!(after["state"], "ready", "{reason}");
        self.app.submit(&task("x")).await;
    }

    /// Restarts, and waits for the start that follows.
    async fn restart(&self) -> Value {
        let before = self.app.post(RESTART, &Value::Null).await.is(202).body;
        self.app
            .until("it has restarted", async |app| {
                let now = app.get("/api/v1/system/status").await;
                now.status == 200
                    && now.body["started_at"] != before["started_at"]
                    && now.body["state"] == "ready"
            })
            .await;
        let after = self.status().await;
        assert_eq!(after["pid"], before["pid"]);
        after
    }

    /// Checks the number of tasks that a batch may have, which shows the settings in
    /// force.
    async fn takes_batches_of(&self, most: usize) {
        let batch = |n| json!({"tasks": vec![task("x"); n]});
        let path = "/api/v1/tasks/batch";
        self.app.post(path, &batch(most)).await.is(202);
        let refused = self.app.post(path, &batch(most + 1)).await;
        refused.refuses(422, "invalid_input");
    }
}

fn text(lines: &str) -> String {
    // Settings that a case does not mean to change.
    let mut text = String::from("bots: {seed: []}\n");
    if !lines.contains("server:") {
        text += "server: {bind: \"127.0.0.1:0\", restart_check_timeout: 20s}\n";
    }
    text + lines + "\n"
}

/// The real binary at that place, as a file of its own.
fn install(binary: &Path) {
    let _ = fs::remove_file(binary);
    if fs::hard_link(REAL, binary).is_err() {
        fs::copy(REAL, binary).unwrap();
    }
}

#[actix_rt::test]
async fn settings_that_a_start_would_not_take_refuse_a_restart() {
    let site = Site::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("server: {{bind: \"{}\"}}", taken.local_addr().unwrap());
    let other = TestApp::start().await;
    let others = format!("data_dir: {:?}", other.data_dir());
    let file = site.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let in_file = format!("data_dir: {:?}", file.join("data"));
    for (lines, reason) in [
        ("logging: {filter: \"deia=loud\"}", "logging.filter"),
        (&*taken, "cannot listen on"),
        ("tasks: {max_batch: 0}", "tasks.max_batch: 0"),
        ("tasks: {colour: red}", "tasks.colour: no such setting"),
        ("tasks: [", "deia.yaml"),
        (
            "server: {bind: \"127.0.0.1:0\", tls: {cert_file: /none, key_file: /none}}",
            "/none",
        ),
    ] {
        site.settings(lines);
        site.refuses(reason).await;
    }
    if cfg!(not(feature = "otlp")) {
        site.settings("telemetry: {otlp_endpoint: \"http://127.0.0.1:4318/v1/traces\"}");
        site.refuses("telemetry.otlp_endpoint").await;
    }
    // As a check by hand sees it: with another directory than the running one.
    for (data_dir, reason) in [(others, "a hive runs in"), (in_file, "file/data")] {
        let settings = site.dir.path().join("other.yaml");
        fs::write(&settings, text(&data_dir)).unwrap();
        let out = Command::new(REAL)
            .arg("check")
            .arg("--for-restart")
            .arg(site.app.data_dir())
            .arg("--config")
            .arg(&settings)
            .current_dir(site.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("deia-restart-check"), "{said}");
    }
    site.settings("tasks: {max_batch: 7}");
    site.restart().await;
    site.takes_batches_of(7).await;
}

#[actix_rt::test]
async fn a_binary_that_would_not_start_refuses_a_restart() {
    let site = Site::start().await;
    for (script, reason) in [
        ("echo deia 9.9.9", "is not a deia that can take over"),
        ("exit 3", "check failed (exit status: 3)"),
        (
            "echo 'error  store           too new'; exit 1",
            "store too new",
        ),
        ("echo usage >&2; exit 2", "usage"),
        ("exec /none", "check failed"),
        ("sleep 1000 & sleep 1000", "server.restart_check_timeout"),
    ] {
        site.script(script);
        site.refuses(reason).await;
    }
    fs::remove_file(site.binary()).unwrap();
    site.refuses("cannot be run").await;
    fs::write(site.binary(), "no program").unwrap();
    site.refuses("cannot be run").await;
    install(&site.binary());
    site.restart().await;
}

#[actix_rt::test]
async fn a_new_binary_that_fails_to_start_goes_back_to_the_old_one() {
    let mut site = Site::start().await;
    // The new settings stay on disk, and the old ones in force.
    site.settings("tasks: {max_batch: 7}");
    let broken = [
        "--set logging.filter=a=b=c",
        "--set server.tls.cert_file=/none --set server.tls.key_file=/none",
        "--colour",
    ];
    for broken in broken {
        site.script(&format!(
            "case \"$1\" in check) exec {REAL} \"$@\";; *) exec {REAL} \"$@\" {broken};; esac"
        ));
        let listener = site.app.url.clone();
        site.restart().await;
        assert_eq!(site.app.url, listener);
        site.takes_batches_of(5).await;
        let log = site.app.log();
        assert!(log.contains("the restart failed"), "{log}");
    }
    let health = site.app.request(Method::GET, "/readyz");
    site.app.send(health).await.is(200);
    // The server restarts from where it was started, not from where its image is now.
    install(&site.binary());
    site.restart().await;
    site.takes_batches_of(7).await;
    assert_eq!(site.app.stop().code(), Some(0));
    let events = all_events(&store_in(site.app.data_dir())).await;
    let failed = events
        .iter()
        .filter(|event| event.action == deia_model::Action::RestartFailed);
    let reasons: Vec<String> = failed.map(|event| event.details.to_string()).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    for (reason, expected) in reasons.iter().zip(["logging.filter", "/none", "--colour"]) {
        assert!(reason.contains(expected), "{reasons:?}");
    }
}

#[actix_rt::test]
async fn binary_that_is_replaced_while_tasks_end_is_checked_again() {
    let mut site = Site::start().await;
    let whole = fs::read(REAL).unwrap();
    let shell = format!("touch {}", site.dir.path().join("shell").display());
    site.app.bot("silent", silent(), &["general"]).await;
    for (file, comes_up) in [
        (shell.as_bytes(), false),
        (&whole[..64 << 10], false),
        (&whole[..], true),
    ] {
        let id = site.app.submit(&task("x")).await;
        let path = format!("/api/v1/tasks/{id}");
        site.app
            .until("it runs", async |app| {
                app.get(&path).await.body["status"] == "running"
            })
            .await;
        let before = site.app.post(RESTART, &Value::Null).await.is(202).body;
        let draft = site.dir.path().join("draft");
        fs::write(&draft, file).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&draft, site.binary()).unwrap();
        let cancel = format!("{path}/cancel");
        site.app.post(&cancel, &Value::Null).await.is(200);
        site.app
            .until("it has restarted", async |app| {
                let now = app.get("/api/v1/system/status").await;
                now.status == 200
                    && now.body["started_at"] != before["started_at"]
                    && now.body["state"] == "ready"
            })
            .await;
        let last = site.status().await["last_restart"].clone();
        assert_eq!(last["succeeded"], comes_up, "{last:#}");
        install(&site.binary());
        site.restart().await;
    }
    assert!(!site.dir.path().join("shell").exists());
    assert!(site.app.stop().success());
}

#[actix_rt::test]
async fn command_that_waits_for_a_restart_fails_when_that_goes_back() {
    let mut site = Site::start().await;
    let restart = |site: &Site| {
        let mut restart = Command::new(REAL);
        restart.args([
            "--url",
            &site.app.url,
            "system",
            "restart",
            "--yes",
            "--wait=60s",
        ]);
        restart.env("DEIA_KEY_FILE", site.app.data_dir().join("admin.key"));
        restart.output().unwrap()
    };
    assert_eq!(site.status().await["last_restart"], Value::Null);
    let out = restart(&site);
    assert!(out.status.success(), "{out:?}");
    site.script(&format!(
        "case \"$1\" in check) exec {REAL} \"$@\";; *) exec {REAL} \"$@\" --colour;; esac"
    ));
    let out = restart(&site);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("--colour"), "{said}");
    let last = site.status().await["last_restart"].clone();
    assert_eq!(last["succeeded"], false);
    assert!(last["reason"].as_str().unwrap().contains("--colour"));
    assert!(site.app.stop().success());
}

#[actix_rt::test]
async fn signals_while_the_new_binary_starts_are_heard_when_it_can() {
    let mut site = Site::start().await;
    let signalled = |signal: &str| {
        format!("case \"$1\" in check) ;; *) kill -{signal} $$;; esac; exec {REAL} \"$@\"")
    };
    site.script(&signalled("HUP"));
    site.restart().await;
    assert_eq!(site.status().await["last_restart"]["succeeded"], true);
    site.app
        .until("it was heard", async |app| app.log().contains("SIGHUP"))
        .await;
    let masks = json!({"kind": "command", "command": ["grep", "SigBlk", "/proc/self/status"]});
    site.app.bot("masks", masks, &["general"]).await;
    let id = site.app.submit(&task("x")).await;
    let seen = site.app.result(&id).await;
    assert_eq!(seen["output"], "SigBlk:\t0000000000000000\n");

    site.script(&signalled("TERM"));
    site.app.post(RESTART, &Value::Null).await.is(202);
    assert_eq!(site.app.wait().code(), Some(0), "{}", site.app.log());
}

#[actix_rt::test]
async fn an_old_image_that_fails_as_well_ends() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let out = command(&data, &["logging.filter=a=b=c"])
        .env(
            "DEIA_HANDED_OVER",
            r#"{"failed": "the new one failed", "binary": "deia"}"#,
        )
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("logging.filter"), "{said}");
}
