//! A restart in place: the process id stays, no connection is refused, and the
//! settings are read again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, command, silent, task, upper};

const RESTART: &str = "/api/v1/system/restart";

async fn status(app: &TestApp) -> Value {
    app.get("/api/v1/system/status").await.is(200).body
}

/// Waits until it is another start than `before`.
async fn restarted(app: &TestApp, before: &Value) {
    app.until("it has restarted", async |app| {
        let now = app.get("/api/v1/system/status").await;
        now.status == 200
            && now.body["started_at"] != before["started_at"]
            && now.body["state"] == "ready"
    })
    .await;
}

#[actix_rt::test]
async fn it_goes_on_as_another_start_and_refuses_nobody() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.drain_timeout=0s"]).await;
    app.bot("upper-1", upper(), &["general"]).await;
    app.bot("silent-1", silent(), &["slow"]).await;
    let slow = app.submit(&json!({"type": "slow", "content": ""})).await;
    app.until("the slow task runs", async |app| {
        app.get(&format!("/api/v1/tasks/{slow}")).await.body["status"] == "running"
    })
    .await;

    let over = AtomicBool::new(false);
    let connections = AtomicUsize::new(0);
    let knock = async {
        while !over.load(Ordering::Relaxed) {
            // A new connection each time; it may have to wait, but is never refused.
            let url = app.url.trim_start_matches("http://");
            let stream = tokio::net::TcpStream::connect(url).await;
            assert!(stream.is_ok(), "refused: {stream:?}");
            connections.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let twice = async {
        for start in 2..=3 {
            let before = app.post(RESTART, &Value::Null).await.is(202).body;
            restarted(&app, &before).await;
            let after = status(&app).await;
            assert_eq!(after["pid"], before["pid"]);
            assert_eq!(after["hive_id"], before["hive_id"]);
            assert_eq!(after["previous_shutdown_clean"], true);
            let id = app.submit(&task("hello")).await;
            assert_eq!(app.result(&id).await["output"], "HELLO");
            app.until("the slow task runs again", async |app| {
                let task = app.get(&format!("/api/v1/tasks/{slow}")).await.body;
                task["status"] == "running" && task["attempt"] == start
            })
            .await;
        }
        over.store(true, Ordering::Relaxed);
    };
    futures_util::future::join(knock, twice).await;
    assert!(connections.load(Ordering::Relaxed) > 10);
    let zombies = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&app.pid().to_string().as_str())
        });
    assert_eq!(
        zombies.count(),
        0,
        "no child of an earlier start is left unreaped"
    );
}

#[actix_rt::test]
async fn it_is_refused_when_a_new_start_would_fail_and_reads_the_settings_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deia.yaml");
    std::fs::write(&file, "tasks: {max_batch: 5}\n").unwrap();
    let data_dir = dir.path().join("data");
    let mut server = command(&data_dir, &["bots.seed=[]"]);
    server.arg("--config").arg(&file);
    let app = TestApp::try_start(server, &data_dir).await.unwrap();
    let batch = json!({"tasks": vec![task("x"); 6]});
    app.post("/api/v1/tasks/batch", &batch)
        .await
        .refuses(422, "invalid_input");

    std::fs::write(&file, "tasks: {max_batch: 0}\n").unwrap();
    let before = status(&app).await;
    let refused = app
        .post(RESTART, &Value::Null)
        .await
        .refuses(409, "restart_refused");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("tasks.max_batch: 0"), "{detail}");
    assert_eq!(status(&app).await["started_at"], before["started_at"]);

    std::fs::write(&file, "tasks: {max_batch: 6}\n").unwrap();
    let before = app.post(RESTART, &Value::Null).await.is(202).body;
    restarted(&app, &before).await;
    app.post("/api/v1/tasks/batch", &batch).await.is(202);
}

#[actix_rt::test]
async fn only_who_may_restarts() {
    let app = TestApp::start().await;
    let operator = app.key("olga", "operator").await;
    app.post_as(&operator, RESTART, &Value::Null)
        .await
        .refuses(403, "permission_denied");
    app.send(app.request(Method::POST, RESTART))
        .await
        .refuses(401, "key_missing");
}
