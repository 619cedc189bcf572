//! Secrets of bots: references that the settings allow, values that only the program
//! gets, and the store that they may be in.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, all_events, command, store_in, task};

const IN_FILE: &str = "hunter2-of-the-file";
const IN_ENV: &str = "hunter2-of-the-environment";
const IN_STORE: &str = "hunter2-of-the-store";
const NEW_IN_STORE: &str = "hunter2-of-the-store-anew";

/// A hive that may take secrets from a directory beside its data, and from one
/// variable.
async fn start(dir: &Path) -> TestApp {
    let places = dir.join("secrets");
    fs::create_dir_all(&places).unwrap();
    fs::write(places.join("api"), format!("{IN_FILE}\n")).unwrap();
    let files = format!("bots.secret_files=[{}]", json!(places));
    let settings = [
        "bots.seed=[]",
        &files,
        "bots.secret_env=[AGENT_SECRET]",
        "bots.fault.min=10ms",
        "bots.fault.max=50ms",
        "tasks.bot_fault_delay=10ms",
        "logging.access=true",
        "logging.filter=debug",
    ];
    let data = dir.join("data");
    let mut command = command(&data, &settings);
    command.env("AGENT_SECRET", IN_ENV).env("OTHER", "other");
    TestApp::try_start(command, &data).await.unwrap()
}

/// A program that tells of its secrets without printing them.
fn checksum() -> Value {
    json!({"kind": "command", "command": ["sh", "-c", "printf %s \"$A|$B|$C\" | cksum"]})
}

fn expected(text: &str) -> String {
    let script = format!("printf %s '{text}' | cksum");
    let done = std::process::Command::new("sh")
        .args(["-c", &script])
        .output();
    String::from_utf8(done.unwrap().stdout).unwrap()
}

fn references(dir: &Path) -> Value {
    json!({
        "A": {"file": dir.join("secrets/api")},
        "B": {"env": "AGENT_SECRET"},
        "C": {"store": "anthropic"},
    })
}

async fn run(app: &TestApp) -> Value {
    let id = app.submit(&task("x")).await;
    app.result(&id).await["output"].clone()
}

/// Files of the data directory that have the text in them.
fn holding(data_dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![data_dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        if bytes.windows(text.len()).any(|at| at == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn only_the_program_gets_the_secrets_and_get_then_put_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut app = start(dir.path()).await;
    let mut heard = Vec::new();
    let put = |value: &str| json!({"value": value});
    app.put("/api/v1/secrets/anthropic", &put(IN_STORE))
        .await
        .is(204);
    let spec = json!({"executor": checksum(), "secrets": references(dir.path())});
    let made = app.put("/api/v1/bots/b", &spec).await.is(201);
    assert_eq!(made.body["warnings"], Value::Null, "{:#}", made.body);
    app.post("/api/v1/bots/b/launch", &Value::Null)
        .await
        .is(202);
    let all = format!("{IN_FILE}|{IN_ENV}|{IN_STORE}");
    assert_eq!(run(&app).await, expected(&all));

    let got = app.get("/api/v1/bots/b").await.is(200).body;
    assert_eq!(got["secrets"], references(dir.path()));
    let copy = json!({"executor": got["executor"], "capabilities": got["capabilities"], "secrets": got["secrets"]});
    let back = app.put("/api/v1/bots/b", &copy).await.is(200).body;
    assert_eq!(back["secrets"], got["secrets"]);
    assert_eq!(run(&app).await, expected(&all));

    // The next attempt has the new value; nothing is restarted for it.
    app.put("/api/v1/secrets/anthropic", &put(NEW_IN_STORE))
        .await
        .is(204);
    assert_eq!(
        run(&app).await,
        expected(&format!("{IN_FILE}|{IN_ENV}|{NEW_IN_STORE}"))
    );

    let listed = app.get("/api/v1/secrets").await.is(200).body;
    assert_eq!(listed["items"][0]["name"], "anthropic");
    for path in [
        "/api/v1/secrets",
        "/api/v1/bots",
        "/api/v1/bots/b/logs",
        "/api/v1/tasks",
        "/metrics",
        "/api/v1/system/health",
    ] {
        heard.push(app.get(path).await.is(200).body.to_string());
    }
    app.delete("/api/v1/secrets/anthropic").await.is(204);
    app.delete("/api/v1/secrets/anthropic")
        .await
        .refuses(404, "not_found");
    assert!(app.stop().success());
    let events = all_events(&store_in(app.data_dir())).await;
    heard.push(serde_json::to_string(&events).unwrap());
    assert!(heard.last().unwrap().contains("secret.changed"));
    for secret in [IN_FILE, IN_ENV, IN_STORE] {
        assert_eq!(
            holding(app.data_dir(), secret),
            Vec::<String>::new(),
            "{secret}"
        );
        assert!(!app.log().contains(secret), "{secret} is in the log");
        assert!(heard.iter().all(|text| !text.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn only_what_the_settings_allow_is_referred_to() {
    let dir = tempfile::tempdir().unwrap();
    let app = start(dir.path()).await;
    let data = app.data_dir().join("admin.key");
    for (reference, expected) in [
        (json!({"file": "/etc/passwd"}), "bots.secret_files"),
        (json!({"file": data}), "bots.secret_files"),
        (
            json!({"file": dir.path().join("secrets/../data/admin.key")}),
            "without . and ..",
        ),
        (json!({"env": "OTHER"}), "bots.secret_env"),
        (json!({"env": "PATH"}), "bots.secret_env"),
        (json!({"store": "../x"}), "1 to 64"),
        (json!("hunter2"), "a reference, not the secret"),
        (json!({"value": "hunter2"}), "a reference, not the secret"),
        (
            json!({"file": "/a", "env": "B"}),
            "a reference, not the secret",
        ),
    ] {
        let spec = json!({"executor": checksum(), "secrets": {"A": reference}});
        let answer = app
            .put("/api/v1/bots/b", &spec)
            .await
            .refuses(422, "invalid_input");
        assert_eq!(answer.pointers(), ["/secrets/A"], "{:#}", answer.body);
        let told = answer.body.to_string();
        assert!(
            told.contains(expected) && !told.contains("hunter2"),
            "{told}"
        );
    }
    for (env, pointer) in [
        (json!({"API_TOKEN": "hunter2"}), "/executor/env/API_TOKEN"),
        (
            json!({"URL": "https://u:hunter2@example.com"}),
            "/executor/env/URL",
        ),
    ] {
        let mut executor = checksum();
        executor["env"] = env;
        let spec = json!({"executor": executor});
        let answer = app
            .put("/api/v1/bots/b", &spec)
            .await
            .refuses(422, "invalid_input");
        assert_eq!(answer.pointers(), [pointer]);
        let told = answer.body.to_string();
        assert!(
            told.contains("secrets instead") && !told.contains("hunter2"),
            "{told}"
        );
    }
    let both = json!({"executor": {"kind": "command", "command": ["x"], "env": {"A": "1"}}, "secrets": {"A": {"env": "AGENT_SECRET"}}});
    app.put("/api/v1/bots/b", &both)
        .await
        .refuses(422, "invalid_input");
    let idle =
        json!({"executor": {"kind": "simulated"}, "secrets": {"A": {"env": "AGENT_SECRET"}}});
    app.put("/api/v1/bots/b", &idle)
        .await
        .refuses(422, "invalid_input");
    // A link that leads out is seen when the value is wanted.
    std::os::unix::fs::symlink(&data, dir.path().join("secrets/link")).unwrap();
    let link = json!({"executor": checksum(), "secrets": {"A": {"file": dir.path().join("secrets/link")}}});
    let made = app.put("/api/v1/bots/b", &link).await.is(201).body;
    assert!(
        made["warnings"].to_string().contains("a link leads out"),
        "{made:#}"
    );
    for (who, status) in [
        ("operator", 403),
        ("viewer", 403),
        ("external", 403),
        ("bot", 403),
    ] {
        let key = app.key(&format!("a-{who}"), who).await;
        for (method, path) in [
            (Method::GET, "/api/v1/secrets"),
            (Method::PUT, "/api/v1/secrets/a"),
            (Method::DELETE, "/api/v1/secrets/a"),
        ] {
            let request = app
                .request_as(&key, method, path)
                .json(&json!({"value": "x"}));
            app.send(request).await.is(status);
        }
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_a_fault_of_the_bot() {
    let dir = tempfile::tempdir().unwrap();
    let app = start(dir.path()).await;
    let file = dir.path().join("secrets/late");
    let secrets = json!({"A": {"file": &file}});
    let spec = json!({"executor": checksum(), "secrets": secrets});
    let made = app.put("/api/v1/bots/b", &spec).await.is(201).body;
    let reason = format!("the secret A (file:{})", file.display());
    assert!(made["warnings"].to_string().contains(&reason), "{made:#}");
    app.post("/api/v1/bots/b/launch", &Value::Null)
        .await
        .is(202);
    let id = app.submit(&task("x")).await;
    app.until("the bot has a fault", async |app| {
        let fault = app.get("/api/v1/bots/b").await.body["fault"].clone();
        fault["reason"]
            .as_str()
            .is_some_and(|told| told.contains(&reason))
    })
    .await;
    fs::write(&file, "hunter2").unwrap();
    let result = app.result(&id).await;
    assert_eq!(result["output"], expected("hunter2||"));
    let shown = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(shown["failures"], 0, "{shown:#}");
}

/// `deia secrets rotate` on that directory: whether it went well, and what it said.
fn rotate(data_dir: &Path) -> (bool, String) {
    let ended = command(data_dir, &[])
        .args(["secrets", "rotate"])
        .output()
        .unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn the_key_is_rotated_while_the_hive_is_stopped_and_secrets_stay() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let key_file = data.join("secrets.key");
    let mut app = start(dir.path()).await;
    let put = json!({"value": IN_STORE});
    app.put("/api/v1/secrets/anthropic", &put).await.is(204);
    let spec = json!({"executor": checksum(), "secrets": {"C": {"store": "anthropic"}}});
    app.put("/api/v1/bots/b", &spec).await.is(201);
    app.post("/api/v1/bots/b/launch", &Value::Null)
        .await
        .is(202);
    let mode = key_file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (done, said) = rotate(&data);
    assert!(!done && said.contains("stop it"), "{said}");
    assert!(app.stop().success());

    let before = fs::read_to_string(&key_file).unwrap();
    let (done, said) = rotate(&data);
    assert!(done && said.ends_with(": 1\n"), "{said}");
    let after = fs::read_to_string(&key_file).unwrap();
    let keys = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("deia-key "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((keys(&before).len(), keys(&after).len()), (1, 1));
    assert_ne!(keys(&before), keys(&after));
    let mut app = start(dir.path()).await;
    assert_eq!(run(&app).await, expected(&format!("||{IN_STORE}")));
    assert!(app.stop().success());

    // A rotation that was cut short has left a key that seals nothing yet.
    let cut_short = after.replacen("deia-key ", &format!("{}\ndeia-key ", keys(&before)[0]), 1);
    fs::write(&key_file, cut_short).unwrap();
    let (done, said) = rotate(&data);
    assert!(done && said.ends_with(": 1\n"), "{said}");
    let after = fs::read_to_string(&key_file).unwrap();
    assert_eq!(keys(&after).len(), 1);
    let mut app = start(dir.path()).await;
    assert_eq!(run(&app).await, expected(&format!("||{IN_STORE}")));
    assert!(app.stop().success());

    // Another key does not open it: the hive works, and says what is lost.
    fs::write(&key_file, &before).unwrap();
    let (done, said) = rotate(&data);
    assert!(!done && said.contains("bots/anthropic"), "{said}");
    let mut app = start(dir.path()).await;
    app.until_logged("stored secrets cannot be opened").await;
    let id = app.submit(&task("x")).await;
    app.until("the bot has a fault", async |app| {
        let fault = app.get("/api/v1/bots/b").await.body["fault"].clone();
        fault["reason"]
            .as_str()
            .is_some_and(|told| told.contains("secrets.key does not have"))
    })
    .await;
    app.put("/api/v1/secrets/anthropic", &put).await.is(204);
    assert_eq!(
        app.result(&id).await["output"],
        expected(&format!("||{IN_STORE}"))
    );
    assert!(app.stop().success());

    // A file that is not of keys is never replaced.
    fs::write(&key_file, "hunter2").unwrap();
    let refused = TestApp::try_start(command(&data, &[]), &data).await;
    let Err(log) = refused else {
        panic!("it starts")
    };
    assert!(
        log.contains("secrets.key") && log.contains("line 1"),
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");
    assert_eq!(fs::read_to_string(&key_file).unwrap(), "hunter2");
}

#[tokio::test]
async fn data_that_is_a_link_is_refused_by_a_start() {
    for name in ["deia.db", "secrets.key"] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(dir.path().join("theirs"), "").unwrap();
        std::os::unix::fs::symlink(dir.path().join("theirs"), data.join(name)).unwrap();
        let refused = TestApp::try_start(command(&data, &["bots.seed=[]"]), &data).await;
        let Err(log) = refused else {
            panic!("{name}: it starts")
        };
        assert!(
            log.contains(name) && log.contains("is a symbolic link"),
            "{log}"
        );
        let checked = command(&data, &["bots.seed=[]"])
            .arg("check")
            .output()
            .unwrap();
        let said = String::from_utf8(checked.stdout).unwrap();
        assert!(
            !checked.status.success() && said.contains("is a symbolic link"),
            "{said}"
        );
        assert_eq!(fs::read(dir.path().join("theirs")).unwrap(), b"");
    }
}

#[tokio::test]
async fn nothing_in_the_data_directory_is_open_to_others_whatever_the_umask_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = ["bots.seed=[]", "tasks.max_output_bytes=1KiB"];
    let server = command(&data, &settings);
    let mut open = std::process::Command::new("sh");
    open.args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut app = TestApp::try_start(open, &data).await.unwrap();
    let much = ["sh", "-c", "echo to the log >&2; seq 1000"];
    app.bot("much", json!({"kind": "command", "command": much}), &[])
        .await;
    let id = app.submit(&task("x")).await;
    app.result(&id).await;
    let put = json!({"value": IN_STORE});
    app.put("/api/v1/secrets/a", &put).await.is(204);
    let mut seen = 0;
    let look = |path: &Path, left: &mut Vec<std::path::PathBuf>| {
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has {mode:o}", path.display());
        if metadata.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        }
    };
    // Files that come and go while it runs are checked after its stop.
    assert!(data.join("outputs").join(&id).is_dir() && data.join("work/much").is_dir());
    assert!(app.stop().success());
    let mut left = vec![data];
    while let Some(path) = left.pop() {
        look(&path, &mut left);
        seen += 1;
    }
    assert!(seen > 12, "{seen}");
}
