//! Restores in place, and their reports.

use std::{collections::BTreeSet, fs};

use reqwest::Method;
use serde_json::{Value, json};

use super::Archived;
use crate::support::{task, upper};

const NEWEST: &str = "/api/disaster-recovery/restore/newest";

impl Archived {
    /// Waits until the hive runs with a restored store, and returns its status.
    async fn until_restored(&self) -> Value {
        let app = &self.app;
        app.until("the restored hive", async |_| {
            let request = app.request_as(&app.admin, Method::GET, super::STATUS);
            match request.send().await {
                Ok(answer) => {
                    let status = answer.json::<Value>().await.unwrap_or_default();
                    status["restored"].is_object() && status["replaced"].is_array()
                }
                Err(_) => false,
            }
        })
        .await;
        self.status().await
    }
}

#[tokio::test]
async fn restore_in_place_restarts_with_the_state_of_the_point() {
    let archived = Archived::start(&["server.drain_timeout=0s"]).await;
    let app = &archived.app;
    let kept = app.submit(&task("kept")).await;
    let point = archived.mark().await;
    let lost = app.submit(&task("lost")).await;
    let path = format!("/api/disaster-recovery/restore/{point}");
    app.post(&path, &json!({"to": "elsewhere"})).await.is(422);
    let earlier = json!({"to": "in_place", "at": "2001-01-01T00:00:00Z"});
    app.post(&path, &earlier).await.is(422);
    app.post(&path, &json!({"to": "in_place"})).await.is(202);
    let status = archived.until_restored().await;
    assert_eq!(status["restored"]["paused"], true);
    let replaced = status["replaced"][0]["path"].as_str().unwrap();
    assert!(fs::metadata(replaced).unwrap().is_dir());
    assert!(status["replaced"][0]["bytes"].as_u64() > Some(0));
    app.get(&format!("/api/v1/tasks/{kept}")).await.is(200);
    app.get(&format!("/api/v1/tasks/{lost}")).await.is(404);
    app.post("/api/disaster-recovery/resume", &Value::Null)
        .await
        .is(200);
    // The archive goes on with the restored store.
    archived.until_shipping().await;
    let again = app.submit(&task("again")).await;
    archived.until_archived().await;
    let newest = archived.restored_tasks("newest", &[]).await;
    assert_eq!(newest, BTreeSet::from([kept, again]));
}

/// Changes access, and lets work be done, after a moment. Returns the task that is done.
async fn go_on(archived: &Archived, key: &str) -> String {
    let app = &archived.app;
    let waited = app.submit(&task("waited")).await;
    archived.mark().await;
    let id = key.rsplit_once('_').map_or(key, |(id, _)| id);
    let keys = app.get("/api/v1/auth/keys").await.is(200).body;
    let of_eve = keys["items"].as_array().unwrap();
    let of_eve = of_eve.iter().find(|it| it["user"] == "eve").unwrap();
    let id = of_eve["id"].as_str().map_or(id, |id| id);
    app.post(&format!("/api/v1/auth/keys/{id}/revoke"), &Value::Null)
        .await
        .is(200);
    let change = app.request_as(&app.admin, Method::PATCH, "/api/v1/users/mallory");
    app.send(change.json(&json!({"active": false})))
        .await
        .is(200);
    app.key("late", "viewer").await;
    app.bot("upper", upper(), &["general"]).await;
    app.result(&waited).await;
    let new = app.submit(&task("new")).await;
    app.result(&new).await;
    waited
}

/// Checks the report of a restore to a moment before [`go_on`] did anything else.
fn check_report(report: &Value, compared_with: &str, waited: &str) {
    assert_eq!(report["compared_with"], compared_with, "{report}");
    let lost = &report["lost"];
    for (name, count) in [("tasks_submitted", 1), ("tasks_ended", 2), ("keys", 1)] {
        assert_eq!(lost[name], count, "{name}: {report}");
    }
    assert_eq!(lost["is_complete"], true, "{report}");
    assert!(lost["events"].as_u64() > Some(8), "{report}");
    assert_eq!(report["repeats"]["tasks"], json!([waited]), "{report}");
    let again = report["valid_again"].as_array().unwrap();
    let has = |kind: &str, user: &str, change: &str| {
        let fits = |it: &&Value| it["kind"] == kind && it["user"] == user && it["change"] == change;
        again.iter().any(|it| fits(&it))
    };
    assert!(has("key", "eve", "was revoked"), "{report}");
    assert!(has("user", "mallory", "was deactivated"), "{report}");
    assert_eq!(report["valid_again_total"], again.len(), "{report}");
}

#[tokio::test]
async fn report_names_lost_work_repeated_effects_and_access_that_is_valid_again() {
    let archived = Archived::start(&["server.drain_timeout=0s"]).await;
    let app = &archived.app;
    let key = app.key("eve", "operator").await;
    app.key("mallory", "viewer").await;
    let waited = go_on(&archived, &key).await;
    app.get_as(&key, "/api/v1/bots").await.is(401);
    archived.until_archived().await;
    // Offline, the archive has what came after.
    let done = archived.restore("offline", &["--task", &waited]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    for words in [
        "1 submitted tasks, 2 ended ones; 1 new keys",
        "1 tasks that had begun run again",
        "of eve: was revoked",
        "user mallory: was deactivated",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let offline = archived.dir.path().join("offline");
    assert!(!offline.join("newest").exists());
    let mark = fs::read(offline.join("restored.json")).unwrap();
    let mark: Value = serde_json::from_slice(&mark).unwrap();
    check_report(&mark["report"], "archive", &waited);
    // In place, the running store has it; nothing is paused.
    let body = json!({"to": "in_place", "task": waited, "go": true});
    app.post(NEWEST, &body).await.is(202);
    let status = archived.until_restored().await;
    check_report(&status["restored"]["report"], "store", &waited);
    assert_eq!(status["restored"]["paused"], false);
    let queue = app.get("/api/v1/queue").await.is(200).body;
    assert_eq!(queue["paused"], json!([]));
    app.get_as(&key, "/api/v1/bots").await.is(200);
    let events = app
        .get("/api/v1/events?action=restore.completed")
        .await
        .is(200)
        .body;
    let event = &events["items"][0];
    assert_eq!(event["level"], "critical");
    let about = &event["details"]["report"];
    assert_eq!(
        about["valid_again_total"],
        status["restored"]["report"]["valid_again_total"]
    );
    // The number of a lost event is one of the former history now.
    let lost = status["restored"]["report"]["lost"]["up_to"].as_str();
    let lost = lost.unwrap().strip_prefix("1.").unwrap();
    archived.until_shipping().await;
    let plain = json!({"to": "/nowhere/at/all", "event": lost});
    let refused = app.post(NEWEST, &plain).await.is(422);
    let text = refused.body.to_string();
    assert!(
        text.contains("of another history") || text.contains("does not have event 2."),
        "{text}"
    );
}
