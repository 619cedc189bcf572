//! A lost admin key, replaced on the machine of the hive.

use std::{fs, os::unix::fs::PermissionsExt};

use deia_model::EventLevel;
use serde_json::json;

use crate::support::{TestApp, all_events, command, store_in};

const WHOAMI: &str = "/api/v1/auth/whoami";

/// `deia admin-key --reset` on that directory: whether it went well, and what it said.
fn reset(data_dir: &std::path::Path) -> (bool, String) {
    let ended = command(data_dir, &[])
        .args(["admin-key", "--reset"])
        .output()
        .unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_lost_admin_key_is_replaced_while_the_hive_is_stopped() {
    let mut app = TestApp::start().await;
    let other = app.key("ada", "operator").await;
    let lost = app.admin.clone();
    // Not while it runs: it would not know of the key, and its owner may be asked.
    let (done, said) = reset(app.data_dir());
    assert!(!done && said.contains("a hive runs on"), "{said}");
    assert!(
        said.contains("key create") && said.contains("stop the hive"),
        "{said}"
    );
    app.get(WHOAMI).await.is(200);
    assert!(app.stop().success());

    let file = app.data_dir().join("admin.key");
    fs::remove_file(&file).unwrap();
    let (done, said) = reset(app.data_dir());
    assert!(done && said.contains("revoked key_"), "{said}");
    let new = fs::read_to_string(&file).unwrap();
    assert!(!said.contains(new.trim()), "it is in the file alone");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!file.with_extension("new").exists());
    let events = all_events(&store_in(app.data_dir())).await;
    let told = events
        .iter()
        .find(|event| event.action.as_str() == "key.recovered")
        .unwrap();
    assert_eq!(
        (told.level, told.actor.as_str()),
        (EventLevel::Critical, "deia")
    );
    assert_eq!(told.details["revoked"].as_array().unwrap().len(), 1);

    let again = TestApp::start_in(app.data_dir(), &["bots.seed=[]"]).await;
    again.get(WHOAMI).await.is(200);
    assert_eq!(again.get(WHOAMI).await.body["role"], "admin");
    again
        .get_as(&lost, WHOAMI)
        .await
        .refuses(401, "key_revoked");
    again.get_as(&other, WHOAMI).await.is(200);
}

#[tokio::test]
async fn a_user_admin_who_was_changed_is_an_admin_again() {
    let mut app = TestApp::start().await;
    let other = app.key("ada", "admin").await;
    let request = app.request_as(&other, reqwest::Method::PATCH, "/api/v1/users/admin");
    let change = json!({"role": "viewer", "active": false});
    app.send(request.json(&change)).await.is(200);
    assert!(app.stop().success());
    let (done, said) = reset(app.data_dir());
    assert!(done && said.contains("revoked"), "{said}");
    let again = TestApp::start_in(app.data_dir(), &["bots.seed=[]"]).await;
    assert_eq!(again.get(WHOAMI).await.is(200).body["role"], "admin");
    // The key was locked out with its user, and does not come back with them.
    again
        .get_as(&app.admin, WHOAMI)
        .await
        .refuses(401, "key_revoked");
    again.get_as(&other, WHOAMI).await.is(200);
}

#[test]
fn without_a_hive_there_is_nothing_to_reset() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (done, said) = reset(&data);
    assert!(!done && said.contains("there is no hive yet"), "{said}");
    assert!(!data.exists(), "nothing is made");
}
