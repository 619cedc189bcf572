//! Bots that are killed until fewer than half are healthy, and a queue that is long.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{events, feature, mode, recorded_up_and_back, settings, signal, until_level};
use crate::support::TestApp;

/// A program that is started once, says so, and takes no notice of anything.
const PROGRAM: &str =
    r#"echo '{"type":"hello","protocol":1,"max_concurrent":1}'; while read -r line; do :; done"#;

async fn bot(app: &TestApp, name: &str) -> Value {
    app.get(&format!("/api/v1/bots/{name}")).await.is(200).body
}

/// Kills the programs of a bot until it stays down.
async fn kill_off(app: &TestApp, name: &str) {
    app.until("it stays down", async |app| {
        let bot = bot(app, name).await;
        let pids = bot["pids"].as_array().into_iter().flatten();
        for pid in pids.filter_map(|pid| i32::try_from(pid.as_i64()?).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        bot["status"] == "failing"
    })
    .await;
}

#[actix_rt::test]
async fn bots_killed_until_under_half_shed_optional_features_until_they_are_back() {
    let app = TestApp::start_with(&settings(&[
        "degradation.healthy_bots.min_bots=4",
        "degradation.healthy_bots.hold=200ms",
        "degradation.healthy_bots.clear_hold=200ms",
        "bots.restart.min=10ms",
        "bots.restart.restarts=1",
    ]))
    .await;
    let worker = json!({"kind": "worker", "command": ["sh", "-c", PROGRAM]});
    for name in ["w-1", "w-2", "w-3", "w-4"] {
        app.bot(name, worker.clone(), &[name]).await;
    }
    app.until("all are healthy", async |app| {
        signal(app, "healthy_bots").await["value"] == 100.0
    })
    .await;
    for name in ["w-1", "w-2"] {
        kill_off(&app, name).await;
    }
    assert_eq!(mode(&app).await["level"], 0, "half of them are healthy");
    kill_off(&app, "w-3").await;
    until_level(&app, "optional features are shed", |level| level == 1).await;
    let status = mode(&app).await;
    assert_eq!(status["mode"], "degraded");
    let why = status["why"].as_str().unwrap();
    assert!(why.starts_with("healthy_bots: 1 of 4 bots"), "{why}");
    app.until("the tree follows", async |app| {
        feature(app, "live_stream").await["state"] == "off"
    })
    .await;
    let streamed = app
        .request_as(&app.admin, reqwest::Method::GET, "/api/v1/events")
        .header("accept", "text/event-stream");
    let refused = app.send(streamed).await.refuses(503, "feature_suspended");
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("live_stream")
    );
    assert_eq!(
        feature(&app, "webhook_delivery").await["state"],
        "on",
        "level 1 at most"
    );
    for name in ["w-1", "w-2", "w-3"] {
        app.post(&format!("/api/v1/bots/{name}/launch"), &Value::Null)
            .await
            .is(202);
    }
    until_level(&app, "all is back", |level| level == 0).await;
    recorded_up_and_back(&app).await;
}

#[actix_rt::test]
async fn long_queue_sheds_nothing() {
    // The tests beside this one press on processors and disks.
    let app = TestApp::start_with(&settings(&[
        "degradation.memory.trip_percent=85",
        "degradation.descriptors.trip_percent=90",
        "degradation.healthy_bots.min_bots=4",
        "degradation.healthy_bots.hold=1s",
        "degradation.memory.hold=1s",
    ]))
    .await;
    let tasks = vec![json!({"type": "nobody", "content": "x"}); 1_000];
    let batch = json!({"tasks": tasks});
    for _ in 0..100 {
        app.post("/api/v1/tasks/batch", &batch).await.is(202);
    }
    let queue = app.get("/api/v1/queue").await.is(200).body;
    assert_eq!(queue["totals"]["queued"], 100_000);
    // Sleeps: nothing must happen for longer than the holds.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let status = mode(&app).await;
    assert_eq!(status["level"], 0, "{status:#}");
    let changes = events(&app, "mode.changed").await;
    assert!(changes.is_empty(), "{changes:#?}");
}
