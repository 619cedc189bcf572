//! An archive in a bucket, and a store in a cloud that fails.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::{STATUS, is_refused_for_the_archive, tasks_in};
use crate::{
    object_stores::{BUCKET, Fault, Proxy, S3, s3_environment},
    support::{TestApp, command, task},
};

/// A hive whose archive is in a bucket, behind a proxy.
struct InBucket {
    app: TestApp,
    proxy: Proxy,
    dir: tempfile::TempDir,
    _server: S3,
}

/// Starts a hive in a directory below `dir`.
async fn start_in(dir: &Path, name: &str, endpoint: &str, settings: &[&str]) -> TestApp {
    let started = try_start_in(dir, name, endpoint, settings).await;
    started.unwrap_or_else(|log| panic!("the server does not start:\n{log}"))
}

async fn try_start_in(
    dir: &Path,
    name: &str,
    endpoint: &str,
    settings: &[&str],
) -> Result<TestApp, String> {
    let data_dir = dir.join(name);
    let url = format!("recovery.url=s3://{BUCKET}/hives/a");
    let settings = [
        &[
            url.as_str(),
            "recovery.mode=async",
            "bots.seed=[]",
            "limits.enabled=false",
            "recovery.ship_every=50ms",
            "recovery.drill_every=0s",
        ],
        settings,
    ]
    .concat();
    let mut server = command(&data_dir, &settings);
    server.envs(s3_environment(endpoint));
    TestApp::try_start(server, &data_dir).await
}

async fn status(app: &TestApp) -> Value {
    app.get(STATUS).await.is(200).body
}

async fn until_shipping(app: &TestApp) {
    app.until("a first restore point", async |app| {
        let status = status(app).await;
        status["state"] == "shipping" && status["points"].as_u64() > Some(0)
    })
    .await;
}

/// Waits for a failure with these words.
async fn until_failing(app: &TestApp, words: &str) -> Value {
    let what = format!("a failure with {words:?}");
    app.until(&what, async |app| {
        let status = status(app).await;
        let reason = status["failing"]["reason"].as_str().unwrap_or_default();
        status["state"] == "failing" && reason.contains(words)
    })
    .await;
    status(app).await
}

async fn until_all_is_shipped(app: &TestApp) {
    app.until("all is shipped", async |app| {
        let status = status(app).await;
        status["state"] == "shipping" && status["exposure_seconds"] == 0.0
    })
    .await;
}

async fn until_alert(app: &TestApp, name: &str) {
    app.until("the alert", async |app| {
        let alerts = app.get("/api/v1/alerts").await.is(200).body;
        alerts.to_string().contains(name)
    })
    .await;
}

impl InBucket {
    /// Returns `None` if there is no server.
    async fn start(settings: &[&str]) -> Option<Self> {
        let server = S3::start()?;
        let proxy = Proxy::start(server.address());
        let dir = tempfile::tempdir().unwrap();
        let app = start_in(dir.path(), "data", &proxy.url, settings).await;
        until_shipping(&app).await;
        Some(Self {
            app,
            proxy,
            dir,
            _server: server,
        })
    }

    fn restore(&self, to: &str, options: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_deia"))
            .args(["restore", "--from", &format!("s3://{BUCKET}/hives/a/")])
            .arg("--to")
            .arg(self.dir.path().join(to))
            .args(options)
            .envs(s3_environment(&self.proxy.url))
            .output()
            .unwrap()
    }

    async fn restored_tasks(&self, to: &str, options: &[&str]) -> BTreeSet<String> {
        let done = self.restore(to, options);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        tasks_in(&self.dir.path().join(to)).await
    }
}

#[tokio::test]
async fn hive_is_restored_from_a_bucket() {
    let Some(mut hive) = InBucket::start(&[]).await else {
        return;
    };
    let first = hive.app.submit(&task("first")).await;
    let label = json!({"label": "a"});
    let point = hive
        .app
        .post("/api/disaster-recovery/restore-point", &label);
    let point = point.await.is(201).body["id"].as_str().unwrap().to_owned();
    let second = hive.app.submit(&task("second")).await;
    until_all_is_shipped(&hive.app).await;
    let shown = status(&hive.app).await;
    assert_eq!(shown["url"], format!("s3://{BUCKET}/hives/a"));
    assert_eq!(shown["same_disk"], false);
    for job in ["verify", "drill"] {
        let path = format!("/api/disaster-recovery/{job}");
        hive.app.post(&path, &json!({})).await.is(202);
        hive.app
            .until("the end of the job", async |app| {
                status(app).await["job"]["state"] != "running"
            })
            .await;
        let job = status(&hive.app).await["job"].clone();
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    let at_point = hive.restored_tasks("a", &["--point", &point]).await;
    assert_eq!(at_point, BTreeSet::from([first.clone()]));
    let newest = hive.restored_tasks("b", &[]).await;
    assert_eq!(newest, BTreeSet::from([first, second]));
    // A start continues the generation.
    let generation = status(&hive.app).await["generation"].clone();
    hive.app.stop();
    hive.app = start_in(hive.dir.path(), "data", &hive.proxy.url, &[]).await;
    until_shipping(&hive.app).await;
    assert_eq!(status(&hive.app).await["generation"], generation);
}

const FAULTS: [(Fault, &str); 3] = [
    (Fault::Down, "no answer from 127.0.0.1"),
    (
        Fault::Broken,
        "the store answered 500 Internal Server Error",
    ),
    (Fault::Silent, "did not answer within 1 s"),
];

#[tokio::test]
async fn store_that_fails_stops_nothing_in_async() {
    let settings = ["recovery.request_timeout=1s", "recovery.alert_after=1s"];
    let Some(hive) = InBucket::start(&settings).await else {
        return;
    };
    let app = &hive.app;
    let mut tasks = BTreeSet::new();
    for (fault, words) in FAULTS {
        hive.proxy.set(fault);
        tasks.insert(app.submit(&task("meanwhile")).await);
        let shown = until_failing(app, words).await;
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        until_alert(app, "archive_failing").await;
        tasks.insert(app.submit(&task("later")).await);
        assert!(status(app).await["exposure_seconds"].as_f64() > Some(0.0));
        hive.proxy.set(Fault::None);
        until_all_is_shipped(app).await;
    }
    assert_eq!(hive.restored_tasks("restored", &[]).await, tasks);
    assert!(!app.log().contains("hunter2"));
}

#[tokio::test]
async fn store_that_fails_refuses_writes_in_sync() {
    let settings = [
        "recovery.mode=sync",
        "recovery.request_timeout=1s",
        "recovery.answer_within=2s",
    ];
    let Some(hive) = InBucket::start(&settings).await else {
        return;
    };
    let app = &hive.app;
    let answered = app.submit(&task("first")).await;
    for (fault, words) in FAULTS {
        hive.proxy.set(fault);
        // On the disk of the hive only.
        let answer = app.post("/api/v1/tasks/submit", &task("second")).await;
        is_refused_for_the_archive(&answer);
        until_failing(app, words).await;
        let answer = app.post("/api/v1/tasks/submit", &task("third")).await;
        assert!(!answer.header("retry-after").is_empty());
        answer.refuses(503, "archive_unreachable");
        app.get(&format!("/api/v1/tasks/{answered}")).await.is(200);
        hive.proxy.set(Fault::None);
        until_all_is_shipped(app).await;
        app.submit(&task("fourth")).await;
    }
}

#[tokio::test]
async fn stop_does_not_wait_for_a_store_that_hangs() {
    // Longer than a test may last.
    let Some(mut hive) = InBucket::start(&["recovery.request_timeout=10m"]).await else {
        return;
    };
    let first = hive.app.submit(&task("first")).await;
    until_all_is_shipped(&hive.app).await;
    hive.proxy.set(Fault::Silent);
    let second = hive.app.submit(&task("second")).await;
    hive.app
        .until("the archive is asked", async |app| {
            status(app).await["exposure_seconds"].as_f64() > Some(0.0)
        })
        .await;
    assert!(hive.app.stop().success());
    hive.proxy.set(Fault::None);
    hive.app = start_in(hive.dir.path(), "data", &hive.proxy.url, &[]).await;
    until_all_is_shipped(&hive.app).await;
    let restored = hive.restored_tasks("restored", &[]).await;
    assert_eq!(restored, BTreeSet::from([first, second]));
}

#[tokio::test]
async fn two_hives_do_not_write_one_archive() {
    let Some(mut hive) = InBucket::start(&[]).await else {
        return;
    };
    hive.app.submit(&task("first")).await;
    hive.app.stop();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(hive.dir.path().join("data"))
        .arg(hive.dir.path().join("copy"))
        .status()
        .unwrap();
    assert!(copied.success());
    let often = ["recovery.point_every=1s"];
    hive.app = start_in(hive.dir.path(), "data", &hive.proxy.url, &often).await;
    until_shipping(&hive.app).await;
    let copy = start_in(hive.dir.path(), "copy", &hive.proxy.url, &often).await;
    let is_fenced = async |app: &TestApp| {
        let status = status(app).await;
        let reason = status["failing"]["reason"].as_str().unwrap_or_default();
        reason.contains("another hive writes this archive")
    };
    hive.app
        .until("one of them is fenced", async |app| {
            is_fenced(app).await || is_fenced(&copy).await
        })
        .await;
    let both = is_fenced(&hive.app).await && is_fenced(&copy).await;
    assert!(!both, "nobody writes the archive");
}

#[tokio::test]
async fn wrong_credentials_are_told_without_them() {
    let Some(server) = S3::start_refusing() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let app = start_in(dir.path(), "data", &server.url(), &[]).await;
    let shown = until_failing(&app, "permission denied").await;
    let reason = shown["failing"]["reason"].as_str().unwrap();
    for words in [
        "403 Forbidden",
        "InvalidAccessKeyId",
        "check the credentials",
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    let events = app.get("/api/v1/events?limit=100").await.is(200).body;
    for text in [shown.to_string(), app.log(), events.to_string()] {
        assert!(
            !text.contains("hunter2") && !text.contains("AKIATEST"),
            "{text}"
        );
    }
    let restored = Command::new(env!("CARGO_BIN_EXE_deia"))
        .args(["restore", "--from", &format!("s3://{BUCKET}/hives/a")])
        .arg("--to")
        .arg(dir.path().join("restored"))
        .envs(s3_environment(&server.url()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(
        !restored.status.success() && said.contains("InvalidAccessKeyId"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn url_with_credentials_is_refused_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    for url in [
        "s3://AKIATEST:hunter2@archive/a",
        "az://archive/a?sig=hunter2",
    ] {
        let url = format!("recovery.url={url}");
        let said = try_start_in(dir.path(), "data", "http://127.0.0.1:9", &[&url]).await;
        let said = said.err().expect("the hive has started");
        assert!(
            said.contains("recovery.url") && said.contains("without credentials"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn endpoint_in_clear_over_a_network_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let app = start_in(dir.path(), "data", "http://192.0.2.1:9000", &[]).await;
    let shown = until_failing(&app, "AWS_ALLOW_HTTP=true").await;
    assert!(!shown.to_string().contains("hunter2"), "{shown}");
}
