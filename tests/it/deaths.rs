//! The death of a bot is charged to the task that caused it, and to no other.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{TestApp, task};

const QUICK: [&str; 4] = [
    "bots.seed=[]",
    "bots.restart.min=1ms",
    "bots.restart.max=5ms",
    "bots.restart.restarts=1000",
];

async fn task_of(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body
}

async fn runs(app: &TestApp, id: &str, attempt: u64) {
    app.until("the task runs", async |app| {
        let task = task_of(app, id).await;
        task["status"] == "running" && task["attempt"] == attempt
    })
    .await;
}

#[tokio::test]
async fn restarts_by_hand_are_no_deaths() {
    let app = TestApp::start_with(&QUICK).await;
    let executor = json!({"kind": "simulated", "behavior": "offline"});
    app.bot("b", executor, &[]).await;
    let ids = [
        app.submit(&task("one")).await,
        app.submit(&task("two")).await,
    ];
    for restart in 1..=4 {
        for id in &ids {
            runs(&app, id, restart).await;
        }
        let path = "/api/v1/supervisors/hive/core/bots/b/restart";
        app.post(path, &Value::Null).await.is(200);
    }
    for id in &ids {
        runs(&app, id, 5).await;
        let task = task_of(&app, id).await;
        let counts = ["bot_deaths", "suspicions", "failures"].map(|name| task[name].as_u64());
        assert_eq!(counts, [Some(0); 3], "{task}");
    }
    let bot = app.get("/api/v1/bots/b").await.body;
    assert_eq!(bot["tasks_failed"], 0, "{bot}");
}

#[tokio::test]
async fn neighbours_of_a_crash_are_not_charged() {
    let app = TestApp::start_with(&QUICK).await;
    let executor = json!({"kind": "simulated", "latency_ms": 50, "crash_rate": 0.1, "seed": 7});
    let spec = json!({"executor": executor, "capabilities": {"max_concurrent_tasks": 8}});
    app.put("/api/v1/bots/shaky", &spec).await.is(201);
    app.post("/api/v1/bots/shaky/launch", &Value::Null)
        .await
        .is(202);
    let batch = json!({"tasks": vec![task("x"); 100]});
    let ids = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    let mut deaths = 0;
    for id in ids["ids"].as_array().unwrap() {
        let id = id.as_str().unwrap();
        app.result(id).await;
        let task = task_of(&app, id).await;
        assert_eq!(task["suspicions"], 0, "the guilty one is known: {task}");
        deaths += task["bot_deaths"].as_u64().unwrap();
    }
    app.until("each death was charged once", async |app| {
        let crashes = app.get("/api/v1/bots/shaky").await.body["restarts"].as_u64();
        crashes == Some(deaths)
    })
    .await;
    assert!(deaths > 0, "the seed draws crashes");
}

#[tokio::test]
async fn a_late_cancellation_does_not_reach_the_next_attempt() {
    let app = TestApp::start_with(&QUICK).await;
    let executor = json!({"kind": "simulated", "latency_ms": 1_000});
    app.bot("b", executor, &[]).await;
    let id = app.submit(&task("x")).await;
    runs(&app, &id, 1).await;
    let cancel = format!("/api/v1/tasks/{id}/cancel");
    join_all((0..16).map(|_| app.post(&cancel, &Value::Null))).await;
    app.until("it is cancelled", async |app| {
        task_of(app, &id).await["status"] == "cancelled"
    })
    .await;
    app.post(&format!("/api/v1/tasks/{id}/retry"), &Value::Null)
        .await
        .is(200);
    let result = app.result(&id).await;
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["attempt"], 2, "{result}");
}

#[tokio::test]
async fn a_task_that_runs_whenever_the_hive_dies_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = [
        QUICK.as_slice(),
        &[
            "tasks.poison_after_hive_deaths=2",
            "server.drain_timeout=100ms",
        ],
    ]
    .concat();
    let mut app = TestApp::start_in(&data, &settings).await;
    let executor = json!({"kind": "simulated", "behavior": "offline"});
    app.bot("b", executor, &[]).await;
    let id = app.submit(&task("x")).await;
    runs(&app, &id, 1).await;
    // An orderly stop counts nothing.
    assert!(app.stop().success());
    let mut app = TestApp::start_in(&data, &settings).await;
    runs(&app, &id, 2).await;
    assert_eq!(task_of(&app, &id).await["hive_deaths"], 0);
    app.kill_9();
    let mut app = TestApp::start_in(&data, &settings).await;
    runs(&app, &id, 3).await;
    assert_eq!(task_of(&app, &id).await["hive_deaths"], 1);
    app.kill_9();
    let app = TestApp::start_in(&data, &settings).await;
    let task = task_of(&app, &id).await;
    assert_eq!(
        (&task["status"], &task["end_reason"]),
        (&json!("failed"), &json!("poison"))
    );
}
