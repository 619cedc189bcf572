//! Changes that make the hive sick: within its probation a change is taken back by the hive itself,
//! later it is not.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    degradation::CALM,
    support::{TestApp, command},
};

/// Settings under which any use of memory is too much, and a change that is well.
const SICK: &str = "secrets: {max: 6}\ndegradation: {memory: {trip_percent: 0.001, clear_percent: 0, hold: 200ms, clear_hold: 200ms}}\n";
const WELL: &str = "secrets: {max: 5}\ndegradation: {memory: {hold: 200ms, clear_hold: 200ms}}\n";

async fn start(dir: &Path, probation: &str) -> TestApp {
    let file = dir.join("deia.yaml");
    std::fs::write(&file, WELL).unwrap();
    let probation = format!("settings.probation={probation}");
    let own = [
        "bots.seed=[]",
        "settings.watch=false",
        "degradation.healthy_bots.min_bots=1",
        "degradation.healthy_bots.hold=200ms",
        &probation,
    ];
    // The memory of the machine is the signal of this test.
    let calm = CALM.iter().filter(|it| !it.contains(".memory."));
    let settings: Vec<_> = calm.copied().chain(own).collect();
    let data_dir = dir.join("data");
    let mut command = command(&data_dir, &settings);
    command.arg("--config").arg(&file);
    TestApp::try_start(command, &data_dir).await.unwrap()
}

async fn reload(app: &TestApp, dir: &Path, text: &str) -> Value {
    std::fs::write(dir.join("deia.yaml"), text).unwrap();
    let reloaded = app
        .post("/api/config/reload", &json!({}))
        .await
        .is(200)
        .body;
    assert_eq!(reloaded["applied"], true, "{reloaded:#}");
    reloaded
}

async fn max(app: &TestApp) -> Value {
    let value = app.get("/api/config/value/secrets.max").await.is(200).body;
    value["value"].clone()
}

async fn level(app: &TestApp) -> u64 {
    let status = app.get("/api/degradation/status").await.is(200).body;
    status["level"].as_u64().unwrap()
}

#[actix_rt::test]
async fn reload_that_makes_the_hive_sick_is_taken_back_without_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let app = start(dir.path(), "60s").await;
    assert_eq!((max(&app).await, level(&app).await), (json!(5), 0));
    let reloaded = reload(&app, dir.path(), SICK).await;
    assert!(reloaded["probation_until"].is_string(), "{reloaded:#}");
    app.until("it is taken back", async |app| max(app).await == 5)
        .await;
    app.until("the hive is well", async |app| level(app).await == 0)
        .await;
    let status = app.get("/api/config/status").await.is(200).body;
    assert_eq!(status["file"]["rejected"], true, "{status:#}");
    let events = app.get("/api/v1/events?action=config").await.is(200).body;
    let event = &events["items"][0];
    assert_eq!(event["action"], "config.reverted", "{events:#}");
    assert_eq!(event["actor"], "deia", "{event:#}");
    app.until("a person is told", async |app| {
        let alerts = app.get("/api/v1/alerts").await.is(200).body;
        let alerts = alerts["items"].as_array().unwrap();
        let of_settings = |it: &Value| it["name"] == "settings_taken_back";
        alerts.iter().any(of_settings)
    })
    .await;
}

#[actix_rt::test]
async fn trouble_after_the_probation_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let app = start(dir.path(), "100ms").await;
    reload(&app, dir.path(), &WELL.replace("max: 5", "max: 6")).await;
    app.until("its probation is over", async |app| {
        let status = app.get("/api/config/status").await.is(200).body;
        status["in_force"]["outcome"] == "confirmed"
    })
    .await;
    let sick = json!({"executor": {"kind": "worker", "command": ["false"]},
        "capabilities": {"specializations": ["x"], "max_concurrent_tasks": 1}});
    app.put("/api/v1/bots/sick", &sick).await.is(201);
    let launch = "/api/v1/bots/sick/launch";
    app.post(launch, &Value::Null).await.is(202);
    app.until("the level rises", async |app| level(app).await > 0)
        .await;
    assert_eq!(max(&app).await, 6);
    let history = app.get("/api/config/history").await.is(200).body;
    assert_eq!(history["items"][0]["outcome"], "confirmed", "{history:#}");
}
