//! Restores for practice, verification, and the alerts that follow from them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Archived;

impl Archived {
    async fn run(&self, path: &str, body: &Value) -> Value {
        let path = format!("/api/disaster-recovery/{path}");
        self.app.post(&path, body).await.is(202);
        self.job().await
    }

    /// Waits until alerts of these names are open.
    async fn until_alerts(&self, names: &[&str]) {
        self.app
            .until("the alerts", async |app| {
                let open = app.get("/api/v1/alerts").await.is(200).body;
                let open = open["items"].as_array().unwrap().clone();
                names
                    .iter()
                    .all(|name| open.iter().any(|it| it["name"] == *name))
            })
            .await;
    }
}

#[tokio::test]
async fn drill_and_verification_find_a_damaged_object() {
    let archived = Archived::start(&["alerts.look_every=1s"]).await;
    let job = archived.run("drill", &json!({})).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(archived.status().await["verified_at"].is_string());
    let job = archived.run("verify", &Value::Null).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let chunk = find(&archived.archive(), "00000000").unwrap();
    let mut bytes = fs::read(&chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&chunk, bytes).unwrap();
    let job = archived.run("verify", &Value::Null).await;
    assert_eq!(job["state"], "failed", "{job}");
    let place = job["faults"][0]["place"].as_str().unwrap();
    assert!(place.ends_with("/00000000"), "{job}");
    let job = archived.run("drill", &json!({})).await;
    assert_eq!(job["state"], "failed", "{job}");
    let status = archived.status().await;
    assert_eq!(status["damaged_total"], 1, "{status}");
    assert_eq!(status["damaged"][0]["place"], place, "{status}");
    let reason = status["drill_failed"]["reason"].as_str().unwrap();
    assert!(reason.contains("00000000 is damaged"), "{reason}");
    archived
        .until_alerts(&["archive_damaged", "drill_failed"])
        .await;
    let refused = archived.restore("refused", &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("00000000 is damaged"),
        "{said}"
    );
    assert!(!archived.dir.path().join("refused/deia.db").exists());
}

#[tokio::test]
async fn points_keep_their_proof_after_a_start() {
    let mut archived = Archived::start(&[]).await;
    let points = [archived.mark().await, archived.mark().await];
    for point in &points {
        let job = archived.run("drill", &json!({"point": point})).await;
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    let verified = async |archived: &Archived, id: &str| {
        let path = format!("/api/disaster-recovery/restore-point/{id}");
        archived.app.get(&path).await.is(200).body["verified_at"].clone()
    };
    let before = verified(&archived, &points[0]).await;
    assert!(before.is_string());
    archived.app.stop();
    archived.app = Archived::start_in(archived.dir.path(), &[]).await;
    archived.until_shipping().await;
    for point in &points {
        assert!(verified(&archived, point).await.is_string(), "{point}");
    }
    assert_eq!(verified(&archived, &points[0]).await, before);
    let status = archived.status().await;
    assert!(status["restore_estimate_seconds"].as_f64() > Some(0.0));
    assert_eq!(status["drill_every_seconds"], 0);
    let metrics = archived.app.get("/metrics").await.is(200).body;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("deia_recovery_restore_seconds "));
}

#[tokio::test]
async fn drill_is_made_by_itself_and_its_absence_raises_an_alert() {
    let settings = ["recovery.drill_every=1s", "alerts.look_every=1s"];
    let archived = Archived::start(&settings).await;
    archived
        .app
        .until("a drill by itself", async |_| {
            archived.status().await["verified_at"].is_string()
        })
        .await;
    // No drill can be made without the archive.
    let aside = archived.dir.path().join("aside");
    fs::rename(archived.archive(), &aside).unwrap();
    archived.until_alerts(&["drill_failed"]).await;
    fs::rename(&aside, archived.archive()).unwrap();
    archived
        .app
        .until("a drill that succeeds", async |_| {
            archived.status().await["drill_failed"].is_null()
        })
        .await;
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.ends_with(name) {
            return Some(path);
        }
    }
    None
}
