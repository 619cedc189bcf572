//! Degradation from the outside: drills over HTTP and from the command line, and real pressure on
//! memory, processors, disk and bots, each to a change of the mode and back.

mod bots;
mod disk;
mod drill;
mod host;

use serde_json::Value;

use crate::support::TestApp;

/// Settings under which no signal trips, and all are judged often.
pub(crate) const CALM: &[&str] = &[
    "bots.seed=[]",
    "degradation.enabled=true",
    "degradation.sample_every=50ms",
    "degradation.count_every=50ms",
    "degradation.memory.trip_percent=100",
    "degradation.cpu_and_commits.trip_latency=1m",
    "degradation.memory_stall.trip_percent=100",
    "degradation.io_stall.trip_percent=100",
    "degradation.disk_free.trip_percent=0",
    "degradation.disk_free.trip_bytes=0B",
    "degradation.descriptors.trip_percent=100",
    "degradation.healthy_bots.min_bots=100000",
    "degradation.audit_lag.trip=1day",
    "alerts.look_every=1s",
    "alerts.resolve_after=0s",
];

/// Returns the settings under which only the signal of the test trips.
fn settings(signal: &[&'static str]) -> Vec<&'static str> {
    CALM.iter().chain(signal).copied().collect()
}

async fn mode(app: &TestApp) -> Value {
    app.get("/api/degradation/status").await.is(200).body
}

async fn until_level(app: &TestApp, what: &str, is: impl Fn(u64) -> bool) {
    app.until(what, async |app| {
        mode(app).await["level"].as_u64().is_some_and(&is)
    })
    .await;
}

/// Returns a feature as the list shows it.
async fn feature(app: &TestApp, name: &str) -> Value {
    let list = app.get("/api/degradation/features").await.is(200).body;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 9, "{list:#}");
    let found = items.iter().find(|item| item["feature"] == name);
    found.unwrap().clone()
}

/// Returns a signal as the status shows it.
async fn signal(app: &TestApp, name: &str) -> Value {
    let status = mode(app).await;
    let signals = status["signals"].as_array().unwrap();
    let found = signals.iter().find(|item| item["signal"] == name);
    found.unwrap().clone()
}

/// Returns the details of the events of an action, the newest first.
async fn events(app: &TestApp, action: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?action={action}&limit=1000");
    let page = app.get(&path).await.is(200).body;
    let items = page["items"].as_array().unwrap().iter();
    items.map(|event| event["details"].clone()).collect()
}

/// Asserts that the level went up and came back to 0, as the events tell.
async fn recorded_up_and_back(app: &TestApp) {
    app.until("the last change is recorded", async |app| {
        events(app, "mode.changed")
            .await
            .first()
            .is_some_and(|it| it["level"] == 0)
    })
    .await;
    let changes = events(app, "mode.changed").await;
    assert_eq!(changes[changes.len() - 1]["from"], 0, "{changes:#?}");
    assert!(
        changes.iter().all(|it| it["source"] == "signals"),
        "{changes:#?}"
    );
    app.until("the alert is resolved", async |app| {
        let open = app.get("/api/v1/alerts?open=true").await.is(200).body;
        let is_shed = |alert: &Value| alert["name"] == "features_shed";
        !open["items"].as_array().unwrap().iter().any(is_shed)
    })
    .await;
}
