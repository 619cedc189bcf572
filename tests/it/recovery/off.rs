//! A hive without an archive.

use serde_json::json;

use super::STATUS;
use crate::support::TestApp;

#[tokio::test]
async fn without_an_archive_requests_for_it_are_refused() {
    let app = TestApp::start_with(&["bots.seed=[]", "recovery.mode=off"]).await;
    let status = app.get(STATUS).await.is(200).body;
    assert_eq!(
        (&status["mode"], &status["state"]),
        (&json!("off"), &json!("off"))
    );
    // There is no archive that could lag: neither an exposure nor an alert.
    assert_eq!(status.get("exposure_seconds"), None, "{status}");
    for path in ["backup", "restore-point", "verify", "drill"] {
        app.post(&format!("/api/disaster-recovery/{path}"), &json!({}))
            .await
            .refuses(409, "recovery_refused");
    }
}
