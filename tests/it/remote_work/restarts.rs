//! Work that goes on while the hive is away.

use serde_json::json;

use super::{Worker, far, id_of};
use crate::support::TestApp;

#[actix_rt::test]
async fn attempt_outlives_the_hive_however_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut app = TestApp::start_in(dir.path(), &[]).await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let (bot, key) = (worker.bot.clone(), worker.key.clone());
    let id = app.submit(&far("x")).await;
    let leased = worker.lease().await;
    for orderly in [false, true] {
        match orderly {
            true => assert!(app.stop().success()),
            false => app.kill_9(),
        }
        app = TestApp::start_in(dir.path(), &[]).await;
        let worker = Worker {
            app: &app,
            bot: bot.clone(),
            key: key.clone(),
        };
        let beat = worker
            .report(&leased, "heartbeat", json!({"progress": 0.5}))
            .await;
        assert_eq!(beat.is(200).body["cancel"], false);
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(
            (&task["status"], &task["attempt"]),
            (&json!("running"), &json!(1)),
            "{orderly}"
        );
        app.until("the bot knows the attempt", async |_| {
            app.get("/api/v1/bots/far-1").await.is(200).body["running_tasks"] == 1
        })
        .await;
    }
    let worker = Worker {
        app: &app,
        bot,
        key,
    };
    worker
        .report(&leased, "complete", json!({"output": "y"}))
        .await
        .is(200);
    assert_eq!(app.result(&id).await["output"], "y");
    app.until("the slot is free", async |_| {
        app.get("/api/v1/bots/far-1").await.is(200).body["running_tasks"] == 0
    })
    .await;
    let next = app.submit(&far("z")).await;
    assert_eq!(id_of(&worker.lease().await), next);
}

#[actix_rt::test]
async fn acknowledged_output_outlives_the_hive() {
    let dir = tempfile::tempdir().unwrap();
    let mut app = TestApp::start_in(dir.path(), &[]).await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let (bot, key) = (worker.bot.clone(), worker.key.clone());
    let id = app.submit(&far("x")).await;
    let leased = worker.lease().await;
    let piece = json!({"offset": 0, "text": "one "});
    let answer = worker.report(&leased, "output", piece).await.is(200).body;
    assert_eq!(answer["length"], 4);
    for (offset, text) in [(4, "two "), (8, "three ")] {
        app.kill_9();
        app = TestApp::start_in(dir.path(), &[]).await;
        app.until("the bot knows the attempt", async |app| {
            app.get("/api/v1/bots/far-1").await.is(200).body["running_tasks"] == 1
        })
        .await;
        let worker = Worker {
            app: &app,
            bot: bot.clone(),
            key: key.clone(),
        };
        let piece = json!({"offset": offset, "text": text});
        let answer = worker.report(&leased, "output", piece).await.is(200).body;
        assert_eq!(answer["length"], offset + text.len());
    }
    app.kill_9();
    app = TestApp::start_in(dir.path(), &[]).await;
    app.until("the bot knows the attempt", async |app| {
        app.get("/api/v1/bots/far-1").await.is(200).body["running_tasks"] == 1
    })
    .await;
    let worker = Worker {
        app: &app,
        bot,
        key,
    };
    worker
        .report(&leased, "complete", json!({"output": "four"}))
        .await
        .is(200);
    let result = app.result(&id).await;
    assert_eq!(result["output"], "one two three four", "{result}");
    let whole = app.get(&format!("/api/v1/tasks/{id}/output")).await.is(200);
    assert_eq!(whole.body, "one two three four");
}
