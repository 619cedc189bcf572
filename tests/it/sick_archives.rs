//! An archive on a disk that is full, or that nobody may write: the hive works on in `async`,
//! refuses writes and nothing else in `sync`, and nothing grows without bound.

use std::path::Path;

use crate::{
    small_disk::{SmallDisk, small_disk},
    support::{TestApp, command, task},
};

const STATUS: &str = "/api/disaster-recovery/status";
/// Limit of the write-ahead log, in bytes, and what a group of commits may add.
const LOG_BYTES: u64 = 2 << 20;
const LOG_SLACK: u64 = 2 << 20;

async fn until_shipped(app: &TestApp) {
    app.until("all is shipped", async |app| {
        let status = app.get(STATUS).await.is(200).body;
        let has_points = status["points"].as_u64() > Some(0);
        status["state"] == "shipping" && status["exposure_seconds"] == 0.0 && has_points
    })
    .await;
}

/// Waits for an alert of that name, or for its end.
async fn until_alert(app: &TestApp, name: &str, is_open: bool) {
    app.until("the alert", async |app| {
        let alerts = app.get("/api/v1/alerts?open=true").await.is(200).body;
        let alerts = alerts["items"].as_array().unwrap();
        alerts.iter().any(|alert| alert["name"] == name) == is_open
    })
    .await;
}

/// Makes an archive sick by `hurt`, looks at the hive, and heals it by `heal`.
async fn fall_sick(mode: &str, hurt: fn(&SmallDisk), heal: fn(&SmallDisk)) {
    let Some(disk) = small_disk("16m") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let url = format!("recovery.url=file://{}/archive", disk.inside().display());
    let mode_setting = format!("recovery.mode={mode}");
    let server = command(
        &data_dir,
        &[
            url.as_str(),
            &mode_setting,
            "bots.seed=[]",
            "limits.enabled=false",
            "recovery.ship_every=20ms",
            "recovery.drill_every=0s",
            "recovery.alert_after=1s",
            "recovery.answer_within=1s",
            "store.wal_max_bytes=2MiB",
            "store.checkpoint_pages=100",
            "alerts.look_every=1s",
        ],
    );
    std::fs::create_dir(disk.outside()).unwrap();
    let app = disk.start_beside(&server, &data_dir).await.unwrap();
    until_shipped(&app).await;
    let mut kept = vec![app.submit(&task("before")).await];
    until_shipped(&app).await;

    hurt(&disk);
    if mode == "sync" {
        refuses_writes(&app).await;
    } else {
        // More than the log may have.
        for _ in 0..40 {
            kept.push(app.submit(&task(&"x".repeat(100_000))).await);
        }
        let log = std::fs::metadata(data_dir.join("deia.db-wal")).unwrap();
        assert!(log.len() <= LOG_BYTES + LOG_SLACK, "{} bytes", log.len());
        // An alert is a write: in sync it is raised when the archive is back, if it must.
        until_alert(&app, "archive_failing", true).await;
    }
    app.until("the exposure is shown", async |app| {
        let status = app.get(STATUS).await.is(200).body;
        status["state"] == "failing" && status["exposure_seconds"].as_f64() > Some(0.5)
    })
    .await;
    for id in &kept {
        app.get(&format!("/api/v1/tasks/{id}")).await.is(200);
    }

    heal(&disk);
    until_shipped(&app).await;
    until_alert(&app, "archive_failing", false).await;
    kept.push(app.submit(&task("after")).await);
    until_shipped(&app).await;
    has_all(&disk, dir.path(), &kept).await;
}

/// A write may have come to the disk of the hive; the next ones are refused.
async fn refuses_writes(app: &TestApp) {
    app.until("writes are refused", async |app| {
        let answer = app.post("/api/v1/tasks/submit", &task("refused")).await;
        let is_refused = answer.body["code"] == "archive_unreachable";
        if is_refused {
            assert!(!answer.header("retry-after").is_empty());
        } else {
            assert_eq!(answer.body["code"], "outcome_unknown", "{answer:#?}");
        }
        answer.is(503);
        is_refused
    })
    .await;
}

/// Compares a restore of the archive with what was answered.
async fn has_all(disk: &SmallDisk, dir: &Path, kept: &[String]) {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_deia"))
        .args(["restore", "--from"])
        .arg(format!("file://{}/archive", disk.outside().display()))
        .arg("--to")
        .arg(dir.join("restored"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let restored = crate::recovery::tasks_in(&dir.join("restored")).await;
    for id in kept {
        assert!(restored.contains(id), "{id} is lost");
    }
}

#[tokio::test]
async fn full_archive_stops_nothing_in_async_and_writes_in_sync() {
    for mode in ["async", "sync"] {
        fall_sick(mode, SmallDisk::fill, SmallDisk::make_room).await;
    }
}

#[tokio::test]
async fn archive_that_is_read_only_stops_nothing_in_async_and_writes_in_sync() {
    for mode in ["async", "sync"] {
        fall_sick(
            mode,
            |disk| disk.set_read_only(true),
            |disk| disk.set_read_only(false),
        )
        .await;
    }
}
