//! Events that no route causes: ends of the process, changes of its settings, requests that
//! are refused, a damaged store.

use nix::sys::signal::{Signal, kill};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::walk::Walk;
use crate::support::PATIENCE;

/// Causes each of them in turn. The walk has asked for a restart.
pub(super) async fn cause(walk: &mut Walk) {
    walk.app
        .until("the server has restarted", async |app| {
            let status = app.get("/api/v1/system/status").await;
            status.status == 200 && status.body["state"] == "ready" && has(app, "restart").await
        })
        .await;
    refused_request(walk).await;
    changed_settings(walk).await;
    unclean_end(walk).await;
    damaged_row(walk).await;
}

/// Returns whether there are events of that action or kind.
async fn has(app: &crate::support::TestApp, action: &str) -> bool {
    let path = format!("/api/v1/events?limit=1&action={action}");
    app.get(&path).await.is(200).body["items"][0].is_object()
}

async fn until_there_is(walk: &Walk, action: &str) {
    let what = format!("there is an event {action}");
    walk.app
        .until(&what, async |app| has(app, action).await)
        .await;
}

async fn refused_request(walk: &mut Walk) {
    let (_, _, key) = walk.user_with_key().await;
    let refused = walk
        .app
        .post_as(&key, "/api/v1/queue/pause", &json!({}))
        .await;
    refused.refuses(403, "permission_denied");
    until_there_is(walk, "api.denied").await;
}

async fn changed_settings(walk: &Walk) {
    std::fs::write(walk.settings_file(), "secrets: {max: 51}\n").unwrap();
    kill(walk.app.pid(), Signal::SIGHUP).unwrap();
    until_there_is(walk, "config.changed").await;
}

async fn unclean_end(walk: &mut Walk) {
    walk.app.kill_9();
    walk.start_again().await;
    until_there_is(walk, "shutdown.unclean").await;
}

/// A task whose row cannot be read is set aside, and that is told.
async fn damaged_row(walk: &Walk) {
    let task = json!({"type": "damaged", "content": "", "tags": ["t"]});
    walk.app.submit(&task).await;
    let db = Connection::open(walk.data_dir().join("deia.db")).unwrap();
    db.busy_timeout(PATIENCE).unwrap();
    let damage = "UPDATE tasks SET extra = '{' WHERE type = 'damaged'";
    assert_eq!(db.execute(damage, []).unwrap(), 1);
    let simulated = json!({"kind": "simulated", "latency_ms": 1});
    walk.app.bot("finder", simulated, &["damaged"]).await;
    until_there_is(walk, "system.error").await;
    let errors = walk
        .app
        .get("/api/v1/events?action=system.error")
        .await
        .is(200)
        .body;
    assert_eq!(
        errors["items"][0]["result"],
        Value::from("failure"),
        "{errors:#}"
    );
}
