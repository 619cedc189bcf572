//! Bots that are replaced while others are: none is forgotten.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{TestApp, task};

const BOTS: usize = 12;
const ROUNDS: usize = 6;

fn path(bot: usize) -> String {
    format!("/api/v1/bots/bot-{bot}")
}

fn spec(round: usize) -> Value {
    json!({
        "executor": {"kind": "simulated", "behavior": "offline"},
        "capabilities": {"bot_type": format!("round-{round}"), "max_concurrent_tasks": 50},
    })
}

#[tokio::test]
async fn bots_replaced_under_load_are_neither_forgotten_nor_robbed() {
    let app = TestApp::start_with(&["bots.seed=[]"]).await;
    for bot in 0..BOTS {
        app.put(&path(bot), &spec(0)).await.is(201);
        let launch = format!("{}/launch", path(bot));
        app.post(&launch, &Value::Null).await.is(202);
    }
    let batch = json!({"tasks": vec![task("x"); BOTS * 50]});
    let ids = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    for round in 1..=ROUNDS {
        join_all((0..BOTS).map(|bot| {
            let app = &app;
            let path = format!("{}?now=true", path(bot));
            async move { app.put(&path, &spec(round)).await.is(200) }
        }))
        .await;
    }
    app.until("all tasks are with their bots again", async |app| {
        app.get("/api/v1/queue").await.body["totals"]["running"] == BOTS * 50
    })
    .await;
    let lines = app.log();
    assert!(!lines.contains("did not start"), "{lines}");
    for id in ids["ids"].as_array().unwrap() {
        let id = id.as_str().unwrap();
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        // At most once a replacement, and once more for the move to another bot.
        let attempts = task["attempt"].as_u64().unwrap();
        assert!(attempts <= 2 * (ROUNDS as u64 + 1), "{task}");
    }
    // Each is still managed: it can be stopped, and what it had goes back.
    for bot in 0..BOTS {
        let stop = format!("{}/stop", path(bot));
        app.post(&stop, &Value::Null).await.is(202);
    }
    app.until("all are stopped and nothing runs", async |app| {
        app.get("/api/v1/queue").await.body["totals"]["running"] == 0
    })
    .await;
}
