//! Levels that an operator sets.

use std::time::Duration;

use serde_json::{Value, json};

use super::{CALM, events, feature, mode, settings, until_level};
use crate::{
    cli_support::CliHive,
    support::TestApp,
    webhook_support::{LOOPBACK, Manner, Receiver, register},
};

async fn set(app: &TestApp, body: Value) -> Value {
    app.post("/api/degradation/mode", &body).await.is(200).body
}

fn drill(level: u8, seconds: u64) -> Value {
    json!({"level": level, "reason": "drill", "duration_seconds": seconds})
}

#[actix_rt::test]
async fn drill_sheds_features_that_say_why_and_come_back_without_a_loss() {
    let receiver = Receiver::start(Manner::Accepts(Duration::ZERO));
    let app = TestApp::start_with(&settings(&LOOPBACK)).await;
    let quick = json!({"kind": "simulated", "latency_ms": 1});
    app.bot("quick", quick, &["quick"]).await;
    register(&app, &receiver.url(), json!({})).await;
    let before = mode(&app).await;
    assert_eq!(
        (&before["mode"], &before["level"]),
        (&json!("full"), &json!(0))
    );
    assert_eq!(feature(&app, "live_stream").await["state"], "on");
    for absent in ["adaptive_scheduling", "auto_scaling", "predictive_scaling"] {
        assert_eq!(feature(&app, absent).await["state"], "absent", "{absent}");
    }

    let status = set(&app, drill(2, 600)).await;
    assert_eq!(status["mode"], "maintenance");
    assert_eq!(status["why"], "set by admin: drill");
    assert_eq!(status["source"], "operator");
    app.until("the features are suspended", async |app| {
        events(app, "feature.suspended").await.len() == 3
    })
    .await;
    for name in ["webhook_delivery", "analytics", "live_stream"] {
        let feature = feature(&app, name).await;
        assert_eq!(feature["state"], "off", "{feature:#}");
        assert_eq!(feature["why"], "it is shed at level 2: set by admin: drill");
        let returns = feature["returns"].as_str().unwrap();
        assert!(returns.contains("deia degrade auto"), "{returns}");
        assert!(feature["since"].is_string() && feature["parts"][0].is_string());
    }
    assert_eq!(feature(&app, "task_orchestration").await["state"], "on");
    let streamed = app
        .request_as(&app.admin, reqwest::Method::GET, "/api/v1/events")
        .header("accept", "text/event-stream");
    app.send(streamed).await.refuses(503, "feature_suspended");
    for path in ["/api/v1/system/status", "/api/v1/system/health"] {
        let body = app.get(path).await.is(200).body;
        assert_eq!(
            (&body["mode"], &body["level"]),
            (&json!("maintenance"), &json!(2))
        );
    }
    app.get("/readyz").await.is(200);

    // Tasks go on, and their events wait.
    let id = app.submit(&json!({"type": "quick", "content": ""})).await;
    assert_eq!(app.result(&id).await["success"], true);
    assert_eq!(receiver.count(), 0, "webhooks are shed");

    let status = set(&app, json!({"auto": true, "reason": "the drill is over"})).await;
    assert_eq!(
        (&status["level"], &status["operator"]),
        (&json!(0), &Value::Null)
    );
    receiver.gets(1).await;
    app.until("the features are resumed", async |app| {
        events(app, "feature.resumed").await.len() == 3
    })
    .await;
    assert_eq!(feature(&app, "webhook_delivery").await["state"], "on");
    let changes = events(&app, "mode.changed").await;
    assert_eq!(changes.len(), 2, "{changes:#?}");
    assert_eq!(changes[1]["why"], "drill");
    assert_eq!(changes[0]["why"], "the drill is over");
}

#[actix_rt::test]
async fn level_of_an_operator_outlives_a_crash_and_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut app = TestApp::start_in(&data_dir, CALM).await;
    let set_to = set(&app, drill(1, 600)).await;
    app.kill_9();
    let mut app = TestApp::start_in(&data_dir, CALM).await;
    let status = mode(&app).await;
    assert_eq!(status["level"], 1, "{status:#}");
    assert_eq!(status["operator"], set_to["operator"], "with its deadline");
    app.until("the tree follows", async |app| {
        feature(app, "analytics").await["state"] == "off"
    })
    .await;
    set(&app, drill(4, 2)).await;
    app.kill_9();
    // Sleeps: the time of the level has to pass while no hive runs.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let app = TestApp::start_in(&data_dir, CALM).await;
    assert_eq!(mode(&app).await["level"], 0);
    app.until("the end is recorded", async |app| {
        let changes = events(app, "mode.changed").await;
        changes[0]["why"]
            .as_str()
            .is_some_and(|why| why.contains("its time was over"))
    })
    .await;
    set(&app, drill(2, 1)).await;
    until_level(&app, "its time is over", |level| level == 0).await;
    assert_eq!(mode(&app).await["operator"], Value::Null);
}

#[actix_rt::test]
async fn wrong_levels_are_refused_with_the_field_and_others_may_only_read() {
    let app = TestApp::start().await;
    for (body, pointer) in [
        (json!({"level": 5, "reason": "x"}), "/level"),
        (json!({"level": "2", "reason": "x"}), "/level"),
        (json!({"level": 2}), "/reason"),
        (json!({"level": 2, "reason": ""}), "/reason"),
        (drill(2, 0), "/duration_seconds"),
        (drill(2, 10_000_000_000), "/duration_seconds"),
        (json!({"level": 2, "reason": "x", "auto": true}), "/auto"),
        (json!({"duration_seconds": 5}), "/level"),
        (json!({"mode": "full"}), "/mode"),
    ] {
        let refused = app.post("/api/degradation/mode", &body).await;
        assert_eq!(refused.status, 422, "{body}: {refused:#?}");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    assert_eq!(mode(&app).await["operator"], Value::Null);
    let viewer = app.key("vera", "viewer").await;
    let refused = app
        .post_as(&viewer, "/api/degradation/mode", &drill(2, 60))
        .await;
    assert_eq!(refused.status, 403, "{refused:#?}");
    for path in ["status", "features"] {
        let path = format!("/api/degradation/{path}");
        app.get_as(&viewer, &path).await.is(200);
    }
    let operator = app.key("otto", "operator").await;
    let done = app
        .post_as(&operator, "/api/degradation/mode", &drill(1, 60))
        .await;
    assert_eq!(done.is(200).body["operator"]["by"], "otto");
}

#[test]
fn command_line_sets_shows_and_ends_a_level() {
    let hive = CliHive::start(&[]);
    let shown = hive.admin(&["degrade", "status"]).ok();
    assert!(
        shown.out.contains("full") && shown.out.contains("disk_free"),
        "{}",
        shown.out
    );
    let set = ["degrade", "set", "2", "--reason", "drill", "--for", "10m"];
    let set = hive.admin(&set).ok();
    assert!(set.out.contains("level 2 set by admin"), "{}", set.out);
    let features = hive.admin(&["degrade", "features"]).ok();
    assert!(
        features.out.contains("webhook_delivery"),
        "{}",
        features.out
    );
    let json = hive.json(&["degrade", "status"]);
    assert_eq!(json["operator"]["reason"], "drill");
    // A level that refuses work is asked for; without a terminal only --yes will do.
    hive.admin(&["degrade", "set", "4", "--reason", "x"])
        .exits(2);
    hive.admin(&["degrade", "set", "5", "--reason", "x"])
        .exits(2);
    let ended = hive.admin(&["degrade", "auto"]).ok();
    assert!(ended.out.contains("full"), "{}", ended.out);
}
