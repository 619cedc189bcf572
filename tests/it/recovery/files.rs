//! Outputs, the audit trail, the settings file and key files: in the archive, and back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use age::secrecy::ExposeSecret as _;
use deia_ledger::TaskReads as _;
use deia_model::{PageRequest, TaskFilter, Visibility};
use reqwest::Method;
use serde_json::{Value, json};

use super::Archived;
use crate::support::{TestApp, command, store_in};

/// Outputs of more than that are in files.
const IN_MEMORY: &str = "tasks.max_output_bytes=1KiB";

/// A program that prints its input many times.
async fn printer(app: &TestApp) {
    let script = "t=$(cat); for i in $(seq 300); do echo \"$t $i\"; done";
    let executor = json!({"kind": "command", "command": ["sh", "-c", script]});
    app.bot("printer", executor, &["print"]).await;
}

fn print(content: &str) -> Value {
    json!({"type": "print", "content": content, "max_attempts": 1})
}

impl Archived {
    async fn until_files_archived(&self) {
        self.app
            .until("all is shipped", async |_| {
                let status = self.status().await;
                status["exposure_seconds"] == 0.0 && status["files_waiting"] == 0
            })
            .await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Kills the hive, and loses its disk.
    fn lose_the_data(&mut self) {
        self.app.kill_9();
        fs::remove_dir_all(self.path("data")).unwrap();
    }

    fn restored(&self, to: &str, options: &[&str]) -> String {
        let done = self.restore(to, options);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        String::from_utf8(done.stdout).unwrap()
    }
}

/// Returns the content of each file below a directory, by its name there.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

fn verify_trail(dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deia"))
        .args(["audit", "verify", "--dir"])
        .arg(dir)
        .output()
        .unwrap()
}

fn assert_sound(dir: &Path) {
    let done = verify_trail(dir);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}: {said}", dir.display());
}

/// Checks that each output that the store of a hive says is in a file is there, whole.
async fn assert_outputs(data_dir: &Path) -> usize {
    let store = store_in(data_dir);
    let page = PageRequest {
        limit: 1_000,
        cursor: None,
    };
    let tasks = store.tasks(Visibility::All, TaskFilter::default(), page);
    let mut found = 0;
    for task in tasks.await.unwrap().items {
        let Some(result) = store.result(task.id).await.unwrap() else {
            continue;
        };
        let Some(bytes) = result.output_bytes else {
            continue;
        };
        let path = data_dir.join(format!("outputs/{}/1", task.id));
        let content = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(content.len() as u64, bytes, "{}", path.display());
        let lines: Vec<_> = content.split(|b| *b == b'\n').collect();
        let first = lines[0].strip_suffix(b" 1").unwrap();
        assert!(lines[299].starts_with(first) && lines[299].ends_with(b" 300"));
        found += 1;
    }
    found
}

#[tokio::test]
async fn outputs_and_the_trail_survive_the_loss_of_the_disk() {
    let mut archived = Archived::start(&[IN_MEMORY]).await;
    printer(&archived.app).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(archived.app.submit(&print(&format!("said {n}"))).await);
    }
    for id in &ids {
        archived.app.result(id).await;
    }
    archived.until_files_archived().await;
    // The newest checkpoint covers everything; it is shipped within a turn or two.
    let sealed = fs::read(archived.path("data/audit/checkpoint")).unwrap();
    let outputs = contents(&archived.path("data/outputs"));
    assert_eq!(outputs.len(), 4);
    let erased = &ids[0];
    let path = format!("/api/v1/tasks/{erased}/content");
    let app = &archived.app;
    app.send(app.request_as(&app.admin, Method::DELETE, &path))
        .await
        .is(204);
    app.submit(&print("more")).await;
    archived.until_files_archived().await;
    archived.lose_the_data();
    let said = archived.restored("restored", &[]);
    assert!(
        said.contains("outputs: ") && said.contains("audit-former/1"),
        "{said}"
    );
    let restored = archived.path("restored");
    assert!(assert_outputs(&restored).await >= 3);
    let found = contents(&restored.join("outputs"));
    for (name, content) in &outputs {
        match name.starts_with(erased.as_str()) {
            true => assert!(!found.contains_key(name), "{name} was erased"),
            false => assert!(found.get(name) == Some(content), "{name}"),
        }
    }
    assert_sound(&restored.join("audit-former/1"));
    let size = |note: &[u8]| {
        let text = String::from_utf8_lossy(note).into_owned();
        text.lines().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let former = fs::read(restored.join("audit-former/1/checkpoint")).unwrap();
    assert!(size(&former) >= size(&sealed), "the trail is older");
    let copy = TestApp::start_in(&restored, &["bots.seed=[]"]).await;
    copy.get(&format!("/api/v1/tasks/{}/output", ids[1])).await;
    copy.until("a new log", async |_| {
        restored.join("audit/checkpoint").exists()
    })
    .await;
    assert_sound(&restored.join("audit"));
}

#[tokio::test]
async fn killed_hive_has_the_output_of_every_task_that_is_restored() {
    for mode in ["async", "sync"] {
        let mode = format!("recovery.mode={mode}");
        let mut archived = Archived::start(&[IN_MEMORY, &mode]).await;
        printer(&archived.app).await;
        for n in 0..30 {
            archived.app.submit(&print(&format!("said {n}"))).await;
        }
        archived
            .app
            .until("some have ended", async |app| {
                let queue = app.get("/api/v1/tasks?status=completed&limit=100").await;
                queue.body["items"].as_array().unwrap().len() >= 8
            })
            .await;
        archived.lose_the_data();
        archived.restored("restored", &[]);
        let found = assert_outputs(&archived.path("restored")).await;
        assert!(found > 0 || mode.ends_with("async"), "{mode}: {found}");
    }
}

#[tokio::test]
async fn restore_in_place_brings_the_outputs_of_the_point() {
    let archived = Archived::start(&[IN_MEMORY, "server.drain_timeout=0s"]).await;
    let app = &archived.app;
    printer(app).await;
    let id = app.submit(&print("kept")).await;
    app.result(&id).await;
    let point = app
        .post("/api/disaster-recovery/restore-point", &json!({}))
        .await
        .is(201)
        .body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let output = fs::read(archived.path(&format!("data/outputs/{id}/1"))).unwrap();
    let path = format!("/api/v1/tasks/{id}/content");
    app.send(app.request_as(&app.admin, Method::DELETE, &path))
        .await
        .is(204);
    app.until("the output is gone", async |_| {
        !archived.path(&format!("data/outputs/{id}/1")).exists()
    })
    .await;
    let path = format!("/api/disaster-recovery/restore/{point}");
    app.post(&path, &json!({"to": "in_place"})).await.is(202);
    app.until("the restored hive", async |_| {
        let request = app.request_as(&app.admin, Method::GET, super::STATUS);
        match request.send().await {
            Ok(answer) => {
                let status = answer.json::<Value>().await.unwrap_or_default();
                status["restored"]["paused"] == true
            }
            Err(_) => false,
        }
    })
    .await;
    let restored = fs::read(archived.path(&format!("data/outputs/{id}/1"))).unwrap();
    assert!(restored == output);
    // The trail was carried over, and goes on.
    assert!(!archived.path("data/audit-former").exists());
    archived.until_shipping().await;
    assert_sound(&archived.path("data/audit"));
}

#[tokio::test]
async fn damaged_file_part_is_named_and_never_restored_from() {
    let mut archived = Archived::start(&[IN_MEMORY]).await;
    printer(&archived.app).await;
    let id = archived.app.submit(&print("said")).await;
    archived.app.result(&id).await;
    archived.until_files_archived().await;
    archived.app.kill_9();
    let files = archived.archive();
    let all = contents(&files);
    let parts = all.keys().filter(|it| it.contains("/files/"));
    let parts: Vec<_> = parts.collect();
    assert!(parts.len() > 2, "{parts:?}");
    for name in parts {
        let part = files.join(name);
        let whole = fs::read(&part).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [Some(&flipped[..]), Some(&whole[..whole.len() - 1]), None] {
            match damaged {
                Some(bytes) => fs::write(&part, bytes).unwrap(),
                None => fs::remove_file(&part).unwrap(),
            }
            let done = archived.restore("refused", &[]);
            let said = [&done.stdout[..], &done.stderr[..]].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            let file = part.file_name().unwrap().to_str().unwrap();
            assert!(said.contains(file), "{name}: {said}");
            let is_newer =
                said.contains("the newest audit trail in the archive cannot be restored");
            assert_eq!(done.status.success(), is_newer, "{name}: {said}");
            let refused = archived.path("refused");
            // Nothing stays in the way of the next try.
            assert!(is_newer || contents(&refused).is_empty());
            fs::remove_dir_all(refused).unwrap();
            fs::write(&part, &whole).unwrap();
        }
    }
    archived.restored("refused", &[]);
}

#[tokio::test]
async fn key_files_are_restored_with_the_identity_only() {
    let identity = age::x25519::Identity::generate();
    let other = age::x25519::Identity::generate();
    let to = identity.to_public().to_string();
    let mut archived = Archived::start(&[&format!("recovery.key={to}")]).await;
    archived
        .app
        .put(
            "/api/v1/secrets/anthropic",
            &json!({"value": "a very secret text"}),
        )
        .await;
    archived.until_files_archived().await;
    let status = archived.status().await;
    assert_eq!(
        (&status["key_files"], &status["encrypted"]),
        (&json!("encrypted"), &json!(false))
    );
    let keys = ["secrets.key", "audit.key"].map(|name| {
        let text = fs::read_to_string(archived.path("data").join(name)).unwrap();
        (name, text)
    });
    for content in contents(&archived.archive()).values() {
        for (name, key) in &keys {
            let key = key.trim().as_bytes();
            assert!(
                !content.windows(key.len()).any(|it| it == key),
                "{name} is in clear"
            );
        }
    }
    archived.lose_the_data();
    for (name, identity) in [("identity", &identity), ("other", &other)] {
        let secret = identity.to_string();
        let text = format!("# made by a test\n{}\n", secret.expose_secret());
        fs::write(archived.path(name), text).unwrap();
    }
    let file = |name: &str| archived.path(name).display().to_string();
    let refused = archived.restore("with", &["--identity", &file("other")]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains(&to), "{said}");
    assert!(
        !archived.path("with/deia.db").exists(),
        "refused before anything is restored"
    );

    let said = archived.restored("without", &[]);
    assert!(said.contains(&to) && said.contains("--identity"), "{said}");
    let without = archived.path("without");
    assert!(!without.join("secrets.key").exists() && !without.join("audit.key").exists());

    let said = archived.restored("with", &["--identity", &file("identity")]);
    assert!(
        said.contains("secrets.key, audit.key") || said.contains("audit.key, secrets.key"),
        "{said}"
    );
    let with = archived.path("with");
    for (name, key) in &keys {
        let path = with.join(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), *key, "{name}");
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Both hives start; one of them reads the secret, and both have a sound trail.
    for dir in [&with, &without] {
        let copy = TestApp::start_in(dir, &["bots.seed=[]"]).await;
        copy.until("a new log", async |_| dir.join("audit/checkpoint").exists())
            .await;
        assert_sound(&dir.join("audit"));
        assert_sound(&dir.join("audit-former/1"));
    }
}

#[tokio::test]
async fn recipient_that_is_none_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = command(&data_dir, &["recovery.key=age1nonsense"]);
    let refused = TestApp::try_start(server, &data_dir).await.err().unwrap();
    assert!(
        refused.contains("recovery.key") && refused.contains("age1"),
        "{refused}"
    );
}

#[tokio::test]
async fn settings_file_is_restored_beside() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let text = "# the settings of this hive\nlimits:\n  enabled: false\n";
    let file = dir.path().join("mine.yaml");
    fs::write(&file, text).unwrap();
    let url = format!(
        "recovery.url=file://{}",
        dir.path().join("archive").display()
    );
    let settings = [
        url.as_str(),
        "recovery.mode=async",
        "bots.seed=[]",
        "recovery.ship_every=50ms",
    ];
    let mut server = command(&data_dir, &settings);
    server.arg("--config").arg(&file);
    let app = TestApp::try_start(server, &data_dir).await.unwrap();
    let archived = Archived { app, dir };
    archived.until_shipping().await;
    archived.until_files_archived().await;
    let said = archived.restored("restored", &[]);
    assert!(said.contains("mine.yaml"), "{said}");
    let found = fs::read_to_string(archived.path("restored/restored-settings.yaml")).unwrap();
    assert_eq!(found, text);
}
