//! Restarts in place under load.

use std::time::Duration;

use futures_util::future::join;
use serde_json::Value;

use super::load::{Load, put_bot, server};
use crate::{
    audit_trail::{Watch, is_sound_and_complete, were_kept},
    support::TestApp,
};

const RESTARTS: usize = 3;

#[actix_rt::test]
async fn every_event_is_entered_once_over_restarts_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let load = Load::default();
    let watch = Watch::start(&data_dir);
    let server = server(&data_dir);
    let mut app = TestApp::try_start(server, &data_dir).await.unwrap();
    put_bot(&app).await;
    for _ in 0..RESTARTS {
        load.begin();
        let restarting = async {
            // Sleeps: the load is to be under way.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let restart = app.post("/api/v1/system/restart", &Value::Null);
            let before = restart.await.is(202).body;
            app.until("it has restarted", async |app| {
                let now = app.get("/api/v1/system/status").await;
                let is_other = now.body["started_at"] != before["started_at"];
                now.status == 200 && is_other && now.body["state"] == "ready"
            })
            .await;
            load.end();
        };
        join(load.on(&app), restarting).await;
    }
    assert!(app.stop().success(), "{}", app.log());
    let seen = watch.end();
    let entries = is_sound_and_complete(&data_dir).await;
    load.is_entered(&entries);
    let restarts = entries.iter().filter(|it| it.action == "restart.requested");
    assert_eq!(restarts.count(), RESTARTS);
    let seen = were_kept(&data_dir, &seen);
    assert!(seen > 10, "{seen} checkpoints were seen");
}
