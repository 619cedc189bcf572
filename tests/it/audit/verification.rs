//! Verifications by the hive itself, and the replacement of its key.

use std::fs;

use deia_hive::testing::until;
use deia_trail::{checkpoint::SignedCheckpoint, note::VerifierKey};
use serde_json::{Value, json};

use super::{QUERY, all, append, settled};
use crate::support::TestApp;

const VERIFY: &str = "/api/audit/verify";
const ROTATE: &str = "/api/audit/key/rotate";

/// Has the whole trail verified, and returns the verification that has ended.
async fn verified(app: &TestApp, key: &str) -> Value {
    let before = app.get(VERIFY).await.is(200).body["last"]["started_at"].take();
    app.post_as(key, VERIFY, &Value::Null).await.is(202);
    until("the trail is verified", async || {
        let mut found = app.get(VERIFY).await.is(200).body;
        let ended = found["last"].is_object() && found["last"]["started_at"] != before;
        ended.then(|| found["last"].take())
    })
    .await
}

#[actix_rt::test]
async fn trail_is_verified_whole_and_in_part_and_damage_is_named() {
    let app = TestApp::start().await;
    let olga = app.key("olga", "operator").await;
    let tasks = vec![json!({"type": "idle", "content": ""}); 600];
    app.post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
        .await
        .is(202);
    let size = settled(&app).await;
    let sound = verified(&app, &olga).await;
    let report = &sound["report"];
    assert_eq!(
        (&report["sound"], &report["complete"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&report["faults"], &sound["started_by"]),
        (&json!([]), &json!("olga"))
    );
    assert!(report["entries"].as_u64().unwrap() >= size, "{report:#}");
    assert!(report["details_checked"] == true && report["tiles"].as_u64().unwrap() > 3);

    let range = format!("{VERIFY}?from=256&to=512");
    let found = app.get(&range).await.is(200).body;
    assert_eq!(
        (&found["range"]["sound"], &found["range"]["from"]),
        (&json!(true), &json!(256))
    );
    assert_eq!(found["last"]["report"], *report);

    let bundle = app.data_dir().join("audit/tile/entries/001");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let damaged = verified(&app, &app.admin).await;
    let report = &damaged["report"];
    assert_eq!(report["sound"], false, "{report:#}");
    assert_eq!(
        report["faults"][0]["file"], "tile/entries/001",
        "{report:#}"
    );
    let of_range = app.get(&range).await.is(200).body["range"].take();
    assert_eq!(
        (&of_range["sound"], &of_range["faults"]),
        (&json!(false), &report["faults"])
    );
    let beside = app
        .get(&format!("{VERIFY}?from=0&to=256"))
        .await
        .is(200)
        .body;
    assert_eq!(beside["range"]["sound"], true, "{beside:#}");

    settled(&app).await;
    let recorded = all(&app, &format!("{QUERY}?action=audit.verified&order=oldest")).await;
    let told: Vec<_> = recorded
        .iter()
        .map(|it| (it["actor"].as_str().unwrap(), it["level"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("olga", "info"), ("admin", "critical")]);
}

#[actix_rt::test]
async fn verifications_and_rotations_are_for_those_who_may() {
    let app = TestApp::start().await;
    settled(&app).await;
    let viewer = app.key("vera", "viewer").await;
    let operator = app.key("olga", "operator").await;
    app.get_as(&viewer, VERIFY).await.is(200);
    app.post_as(&viewer, VERIFY, &Value::Null)
        .await
        .refuses(403, "permission_denied");
    app.post_as(&operator, ROTATE, &Value::Null)
        .await
        .refuses(403, "permission_denied");
    let external = app.key("eve", "external").await;
    app.get_as(&external, VERIFY)
        .await
        .refuses(403, "permission_denied");
    for (query, parameter) in [
        ("from=0", "to"),
        ("to=5", "from"),
        ("from=x&to=5", "from"),
        ("from=0&to=65537", "to"),
        ("from=5&to=5", "to"),
        ("from=9&to=5", "to"),
        ("from=0&to=1&size=2", "size"),
    ] {
        let refused = app.get(&format!("{VERIFY}?{query}")).await;
        let refused = refused.refuses(422, "invalid_parameter");
        assert_eq!(refused.body["parameter"], parameter, "{query}");
    }
    for path in [VERIFY, ROTATE] {
        app.post(path, &json!({"now": true}))
            .await
            .refuses(422, "invalid_input");
    }
}

#[actix_rt::test]
async fn new_key_signs_beside_the_old_one_and_the_trail_stays_one() {
    let app = TestApp::start().await;
    settled(&app).await;
    let before = app.get("/api/audit/checkpoint").await.is(200).body;
    let [old] = &before["keys"].as_array().unwrap()[..] else {
        panic!("{before:#}");
    };
    let old: VerifierKey = old.as_str().unwrap().parse().unwrap();
    let made = app.post(ROTATE, &Value::Null).await.is(200).body;
    let new: VerifierKey = made["key"].as_str().unwrap().parse().unwrap();
    assert_eq!(new.name(), old.name());
    append(&app, "ext.deploy", "release 7", json!({})).await;
    settled(&app).await;
    let after = app.get("/api/audit/checkpoint").await.is(200).body;
    let keys: Vec<VerifierKey> = after["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(keys, [old, new.clone()]);
    assert_eq!(after["origin"], before["origin"]);
    let newest = SignedCheckpoint::parse(after["checkpoint"].as_str().unwrap()).unwrap();
    assert_eq!(newest.verify(&[new]).unwrap().len(), 1);
    let from = &before["size"];
    app.get(&format!("/api/audit/consistency?from={from}"))
        .await
        .is(200);
    assert_eq!(verified(&app, &app.admin).await["report"]["sound"], true);
    let recorded = all(&app, &format!("{QUERY}?action=audit.key_rotated")).await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["actor"], "admin");
}
