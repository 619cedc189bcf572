//! Files of a hive that go away under it: nothing is acknowledged that is lost, and no
//! empty hive takes its place.

use std::{fs, path::Path};

use reqwest::Method;
use serde_json::Value;

use crate::support::{TestApp, command, task};

const RESTART: &str = "/api/v1/system/restart";

async fn ready(app: &TestApp) -> u16 {
    app.send(app.request(Method::GET, "/readyz")).await.status
}

async fn problems(app: &TestApp) -> String {
    let health = app.get("/api/v1/system/health").await.is(200).body;
    health["problems"].to_string()
}

/// A hive on a directory that can be moved away.
async fn on(data: &Path) -> TestApp {
    TestApp::start_in(data, &["bots.seed=[]", "server.drain_timeout=1s"]).await
}

#[actix_rt::test]
async fn hive_without_its_files_acknowledges_nothing_and_does_not_restart() {
    let dir = tempfile::tempdir().unwrap();
    for gone in ["", "deia.db", "deia.db-wal"] {
        let data = dir.path().join("data");
        let mut app = on(&data).await;
        let kept = app.submit(&task("before")).await;
        let (path, aside) = (data.join(gone), dir.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let refused = app.post("/api/v1/tasks/submit", &task("lost")).await;
        let refused = refused.refuses(503, "unavailable");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("deia.db") && detail.contains("is gone"),
            "{detail}"
        );
        app.until("it is not ready", async |app| ready(app).await == 503)
            .await;
        app.send(app.request(Method::GET, "/livez")).await.is(200);
        assert!(problems(&app).await.contains("is gone"), "{gone}");
        if gone != "deia.db-wal" {
            let refused = app.post(RESTART, &Value::Null).await;
            refused.refuses(409, "restart_refused");
        }
        assert!(!path.exists(), "nothing takes its place");

        // An unmounted volume that comes back.
        fs::rename(&aside, &path).unwrap();
        app.until("it is ready", async |app| ready(app).await == 200)
            .await;
        app.submit(&task("after")).await;
        app.get(&format!("/api/v1/tasks/{kept}")).await.is(200);
        assert!(app.stop().success(), "{}", app.log());
        fs::remove_dir_all(&data).unwrap();
    }
}

#[actix_rt::test]
async fn hive_whose_lock_was_removed_is_not_joined_by_a_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = on(&data).await;
    fs::remove_file(data.join("deia.lock")).unwrap();
    let second = command(&data, &["bots.seed=[]"]);
    let refused = TestApp::try_start(second, &data).await.err().unwrap();
    assert!(refused.contains("in use by another deia"), "{refused}");
    assert!(problems(&app).await.contains("deia.lock"));
    app.post(RESTART, &Value::Null)
        .await
        .refuses(409, "restart_refused");
    // The data is where it was.
    app.submit(&task("x")).await;
    assert!(app.stop().success());
}

#[actix_rt::test]
async fn restart_with_a_directory_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    drop(on(&data).await);
    let elsewhere = dir.path().join("elsewhere");
    let mut check = command(&elsewhere, &["bots.seed=[]", "server.bind=127.0.0.1:0"]);
    let out = check.args(["check", "--for-restart"]).arg(&data).output();
    let out = out.unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        !out.status.success() && said.contains("does not exist"),
        "{said}"
    );
}

#[actix_rt::test]
async fn directory_that_goes_while_tasks_end_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = TestApp::start_in(&data, &["bots.seed=[]", "server.drain_timeout=2s"]).await;
    app.bot("silent", crate::support::silent(), &[]).await;
    let id = app.submit(&task("x")).await;
    let path = format!("/api/v1/tasks/{id}");
    app.until("it runs", async |app| {
        app.get(&path).await.body["status"] == "running"
    })
    .await;
    app.post(RESTART, &Value::Null).await.is(202);
    fs::rename(&data, dir.path().join("aside")).unwrap();
    assert_eq!(app.wait().code(), Some(1), "{}", app.log());
    assert!(!data.exists(), "no empty hive");
}
