//! A disk that fills: read-only before it is full, and at once when it is.

use serde_json::json;

use super::{events, mode, recorded_up_and_back, settings, signal, until_level};
use crate::{
    full_disk::reserved,
    small_disk::{SmallDisk, small_disk},
    support::TestApp,
};

/// Submits until the hive refuses, or so often; returns the ids of what it has accepted.
async fn submit(app: &TestApp, n: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    for _ in 0..n {
        let task = json!({"type": "quick", "content": "x".repeat(1_000)});
        let answer = app.post("/api/v1/tasks/submit", &task).await;
        match answer.status {
            202 => accepted.push(answer.body["id"].as_str().unwrap().to_owned()),
            503 | 507 => break,
            _ => panic!("{answer:#?}"),
        }
    }
    accepted
}

async fn started(disk: &SmallDisk, signal: &[&'static str]) -> TestApp {
    let app = disk.start(&settings(signal)).await.unwrap();
    let quick = json!({"kind": "simulated", "latency_ms": 1});
    app.bot("quick", quick, &["quick"]).await;
    app
}

#[actix_rt::test]
async fn filling_disk_ends_in_read_only_and_room_brings_everything_back() {
    let Some(disk) = small_disk("64m") else {
        return;
    };
    let app = started(
        &disk,
        &[
            "degradation.disk_free.trip_percent=30",
            "degradation.disk_free.clear_percent=40",
            "degradation.disk_free.hold=200ms",
            "degradation.disk_free.clear_hold=200ms",
            "store.reserve_bytes=4MiB",
        ],
    )
    .await;
    let mut accepted = submit(&app, 20).await;
    assert_eq!(mode(&app).await["level"], 0);
    disk.take(44 << 20);
    until_level(&app, "it is read-only", |level| level == 4).await;
    let status = mode(&app).await;
    assert_eq!(
        (&status["mode"], &status["source"]),
        (&json!("maintenance"), &json!("signals"))
    );
    assert!(
        status["why"].as_str().unwrap().starts_with("disk_free: "),
        "{status:#}"
    );
    assert_eq!(
        signal(&app, "disk_full").await["state"],
        "clear",
        "there is room yet"
    );
    let levels: Vec<_> = events(&app, "mode.changed").await;
    let levels: Vec<_> = levels.iter().rev().map(|it| it["level"].clone()).collect();
    assert_eq!(levels, [1, 2, 3, 4], "one after the other");
    app.until("there is an alert", async |app| {
        let open = app.get("/api/v1/alerts?open=true").await.is(200).body;
        open["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["name"] == "features_shed")
    })
    .await;
    accepted.extend(submit(&app, 5).await);
    for id in &accepted {
        assert_eq!(app.result(id).await["success"], true, "{id}");
    }
    disk.make_room();
    until_level(&app, "all is back", |level| level == 0).await;
    recorded_up_and_back(&app).await;
    let levels: Vec<_> = events(&app, "mode.changed").await;
    let levels: Vec<_> = levels
        .iter()
        .take(4)
        .map(|it| it["level"].clone())
        .collect();
    assert_eq!(levels, [0, 1, 2, 3], "in order");
    app.submit(&json!({"type": "quick", "content": ""})).await;
}

#[actix_rt::test]
async fn full_disk_is_read_only_at_once_and_says_so_out_of_its_reserve() {
    let Some(disk) = small_disk("40m") else {
        return;
    };
    let app = started(
        &disk,
        &[
            "degradation.disk_free.clear_hold=200ms",
            "store.reserve_bytes=4MiB",
        ],
    )
    .await;
    let mut accepted = submit(&app, 20).await;
    disk.fill();
    accepted.extend(submit(&app, 20_000).await);
    until_level(&app, "it is read-only", |level| level == 4).await;
    assert!(reserved(&disk) < 4 << 20, "the reserve is in use");
    app.until("the change is recorded", async |app| {
        !events(app, "mode.changed").await.is_empty()
    })
    .await;
    let changes = events(&app, "mode.changed").await;
    assert_eq!(
        (&changes[0]["from"], &changes[0]["level"]),
        (&json!(0), &json!(4))
    );
    assert!(
        changes[0]["why"]
            .as_str()
            .unwrap()
            .starts_with("disk_full: ")
    );
    // An operator can still set and end a level.
    let drill = json!({"level": 4, "reason": "the disk is full", "duration_seconds": 600});
    app.post("/api/degradation/mode", &drill).await.is(200);
    app.post("/api/degradation/mode", &json!({})).await.is(200);
    for path in [
        "/livez",
        "/api/v1/tasks?limit=5",
        "/api/v1/system/health",
        "/api/degradation/features",
    ] {
        app.get(path).await.is(200);
    }
    disk.make_room();
    until_level(&app, "all is back", |level| level == 0).await;
    for id in &accepted {
        assert_eq!(app.result(id).await["success"], true, "{id}");
    }
    app.submit(&json!({"type": "quick", "content": ""})).await;
}
