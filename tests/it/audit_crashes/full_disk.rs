//! A full disk: the trail falls behind, privileged changes are refused, and it catches up by
//! itself when there is room.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    audit_trail::{Watch, is_sound_and_complete, were_kept},
    small_disk::{SmallDisk, small_disk},
    support::{Answer, TestApp},
};

const WORKER: &str = "/api/v1/bots/worker";

const SETTINGS: [&str; 6] = [
    // The disk has no room for an archive.
    "recovery.mode=off",
    "bots.seed=[]",
    "store.reserve_bytes=1MiB",
    "degradation.enabled=false",
    "limits.enabled=false",
    "audit.seal_every=100ms",
];

fn spare(latency_ms: u32) -> Value {
    json!({"executor": {"kind": "simulated", "latency_ms": latency_ms}})
}

/// Returns true if the answer is that there is no room for the trail, false if there is none
/// for the change itself, and `None` if it was done.
#[track_caller]
fn refusal(answer: Answer) -> Option<bool> {
    match answer.status {
        200..300 => None,
        503 => {
            let refused = answer.refuses(503, "audit_unavailable");
            let detail = refused.body["detail"].to_string();
            assert!(detail.contains("cannot be written"), "{detail}");
            Some(true)
        }
        _ => {
            answer.refuses(507, "storage_full");
            Some(false)
        }
    }
}

/// Fills the disk and causes events until the trail cannot take them.
async fn until_closed(app: &TestApp, disk: &SmallDisk) {
    let mut n = 0;
    app.until("the trail is full", async |app| {
        disk.fill();
        n += 1;
        let small = json!({"type": "waits", "content": "x"});
        refusal(app.post("/api/v1/tasks/submit", &small).await);
        refusal(app.put("/api/v1/bots/spare", &spare(n)).await) == Some(true)
    })
    .await;
}

async fn until_open(app: &TestApp) {
    app.until("changes are admitted", async |app| {
        refusal(app.put("/api/v1/bots/spare", &spare(99_999)).await).is_none()
    })
    .await;
}

async fn ids(app: &TestApp, path: &str) -> Vec<Value> {
    let items = app.get(path).await.is(200).body["items"].take();
    let items = items.as_array().unwrap().iter();
    items.map(|item| item["id"].clone()).collect()
}

/// Copies a directory: SQLite opens no store by the path through which this process sees it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (target, kind) = (to.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[actix_rt::test]
async fn trail_on_a_full_disk_falls_behind_and_catches_up() {
    let Some(disk) = small_disk("16m") else {
        return;
    };
    let mut app = disk.start(&SETTINGS).await.unwrap();
    let watch = Watch::start(&disk.outside());
    app.put("/api/v1/bots/spare", &spare(0)).await.is(201);
    let silent = json!({"kind": "simulated", "behavior": "offline"});
    app.bot("worker", silent, &["work"]).await;
    let mut waits = Vec::new();
    for _ in 0..2 {
        waits.push(app.submit(&json!({"type": "waits", "content": ""})).await);
    }

    until_closed(&app, &disk).await;
    let (keys, bots) = (
        ids(&app, "/api/v1/auth/keys").await,
        ids(&app, "/api/v1/bots").await,
    );
    let key = json!({"user": "ada", "role": "admin", "new_user": true});
    assert!(refusal(app.post("/api/v1/auth/keys", &key).await).is_some());
    assert!(refusal(app.put("/api/v1/bots/other", &spare(1)).await).is_some());
    assert_eq!(ids(&app, "/api/v1/auth/keys").await, keys);
    assert_eq!(ids(&app, "/api/v1/bots").await, bots);
    let pause = json!({"reason": "the disk is full"});
    app.post("/api/v1/queue/pause", &pause).await.is(200);
    let cancel = format!("/api/v1/tasks/{}/cancel", waits[0]);
    app.post(&cancel, &Value::Null).await.is(200);
    app.post(&format!("{WORKER}/stop"), &Value::Null)
        .await
        .is(202);
    app.until("the bot is stopped", async |app| {
        app.get(WORKER).await.body["status"] == "stopped"
    })
    .await;

    // A start on the full disk cannot go on either, and harms nothing.
    disk.fill();
    app.kill_9();
    let mut app = disk.start(&SETTINGS).await.unwrap();
    until_closed(&app, &disk).await;
    app.get("/api/v1/queue").await.is(200);

    disk.make_room();
    until_open(&app).await;
    app.post("/api/v1/auth/keys", &key).await.is(201);
    app.post("/api/v1/queue/resume", &json!({})).await.is(200);
    assert!(app.stop().success(), "{}", app.log());
    assert!(!app.log().contains("panicked"), "{}", app.log());
    let seen = watch.end();
    let dir = tempfile::tempdir().unwrap();
    copy(&disk.outside(), dir.path());
    let entries = is_sound_and_complete(dir.path()).await;
    were_kept(dir.path(), &seen);
    for (action, id) in [
        ("task.cancelled", &*waits[0]),
        ("queue.paused", "queue"),
        ("bot.stopped", "worker"),
    ] {
        let of = |it: &&deia_trail::entry::Entry| it.action == action && it.target.id == id;
        assert_eq!(entries.iter().filter(of).count(), 1, "{action} of {id}");
    }
}
