//! A full disk shows in probes and health, and what makes room is done on it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    full_disk::reserved,
    small_disk::{SmallDisk, small_disk},
    support::{TestApp, task},
};

const RESERVE: u64 = 1 << 20;

async fn ready(app: &TestApp) -> u16 {
    app.send(app.request(Method::GET, "/readyz")).await.status
}

async fn ready_gauge(app: &TestApp) -> String {
    let read = app.request(Method::GET, "/metrics").bearer_auth(&app.admin);
    let text = read.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("deia_ready "));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

async fn problems(app: &TestApp) -> String {
    let health = app.get("/api/v1/system/health").await.is(200).body;
    health["problems"].to_string()
}

/// Fills the disk and has the reserve given up for the cancellation of that task.
async fn use_reserve(app: &TestApp, disk: &SmallDisk, waits: &str) {
    disk.fill();
    // The room that the log already has is filled first.
    for _ in 0..20_000 {
        let more = json!({"type": "waits", "content": "x".repeat(4_000)});
        if app.post("/api/v1/tasks/submit", &more).await.status == 507 {
            break;
        }
    }
    let mut ids = vec![waits.to_owned()];
    for _ in 0..20_000 {
        let Some(id) = ids.pop() else { break };
        let cancel = format!("/api/v1/tasks/{id}/cancel");
        app.post(&cancel, &Value::Null).await.is(200);
        if reserved(disk) == 0 {
            return;
        }
        let listed = app.get("/api/v1/tasks?status=queued&limit=1").await.body;
        ids.extend(listed["items"][0]["id"].as_str().map(str::to_owned));
    }
    assert_eq!(reserved(disk), 0, "the reserve is not needed");
}

#[actix_rt::test]
async fn hive_with_the_reserve_in_use_is_not_ready_until_it_is_whole_again() {
    let Some(disk) = small_disk("8m") else {
        return;
    };
    let settings = [
        "bots.seed=[]",
        "store.reserve_bytes=1MiB",
        "degradation.enabled=false",
    ];
    let mut app = disk.start(&settings).await.unwrap();
    assert_eq!(
        (ready(&app).await, &*ready_gauge(&app).await),
        (200, "deia_ready 1")
    );
    assert!(!problems(&app).await.contains("disk"));
    let waits = app.submit(&task("x")).await;
    use_reserve(&app, &disk, &waits).await;
    let submit = app.post("/api/v1/tasks/submit", &task("x")).await;
    submit.refuses(507, "storage_full");
    app.until("it is not ready", async |app| ready(app).await == 503)
        .await;
    assert_eq!(ready_gauge(&app).await, "deia_ready 0");
    let said = problems(&app).await;
    assert!(said.contains("store.reserve_bytes"), "{said}");
    app.send(app.request(Method::GET, "/livez")).await.is(200);

    disk.make_room();
    app.until("it is ready", async |app| ready(app).await == 200)
        .await;
    assert_eq!(reserved(&disk), RESERVE);
    assert_eq!(ready_gauge(&app).await, "deia_ready 1");
    assert!(!problems(&app).await.contains("disk"));
    app.submit(&task("x")).await;
    assert!(app.stop().success());
}

#[actix_rt::test]
async fn disk_full_of_outputs_clears_by_erasing_and_by_retention() {
    let Some(disk) = small_disk("16m") else {
        return;
    };
    let settings = [
        "bots.seed=[]",
        "store.reserve_bytes=1MiB",
        "degradation.enabled=false",
        "tasks.max_output_bytes=64KiB",
    ];
    let mut app = disk.start(&settings).await.unwrap();
    let writes =
        json!({"kind": "command", "command": ["sh", "-c", "head -c 600000 /dev/urandom | base64"]});
    app.bot("writes", writes, &["writes"]).await;
    let spare =
        json!({"executor": {"kind": "simulated"}, "capabilities": {"specializations": ["spare"]}});
    app.put("/api/v1/bots/spare", &spare).await.is(201);
    let waits = app.submit(&json!({"type": "waits", "content": ""})).await;
    let mut written = Vec::new();
    for _ in 0..8 {
        let id = app.submit(&json!({"type": "writes", "content": ""})).await;
        assert_eq!(app.result(&id).await["success"], true);
        written.push(id);
    }
    use_reserve(&app, &disk, &waits).await;

    // By hand.
    app.delete("/api/v1/bots/spare").await.is(204);
    let erase = format!("/api/v1/tasks/{}/content", written[0]);
    app.delete(&erase).await.is(204);
    disk.fill();
    app.until("the disk is full again", async |app| {
        app.post("/api/v1/tasks/submit", &task("x")).await.status == 507
    })
    .await;

    // By itself: nothing else makes room.
    assert!(app.stop().success(), "{}", app.log());
    let soon = [&settings[..], &["tasks.retention.completed=1s"]].concat();
    let mut app = disk.start(&soon).await.unwrap();
    app.until("there is room", async |app| ready(app).await == 200)
        .await;
    assert_eq!(reserved(&disk), RESERVE);
    app.submit(&task("x")).await;
    assert!(app.stop().success());
}
