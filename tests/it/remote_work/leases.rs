//! Leases, and signs of life.

use serde_json::json;

use super::{Worker, far, id_of};
use crate::support::TestApp;

#[actix_rt::test]
async fn leased_task_is_completed_and_its_report_may_be_repeated() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let task = json!({"type": "far", "content": "hello", "tags": ["t"], "metadata": {"k": 1}, "timeout_seconds": 60});
    let id = app.submit(&task).await;
    let leased = worker.lease().await;
    assert_eq!(
        (id_of(&leased), &leased["content"]),
        (id.as_str(), &json!("hello"))
    );
    assert_eq!(leased["tags"], json!(["t"]));
    assert_eq!(leased["metadata"], json!({"k": 1}));
    assert_eq!(
        (&leased["attempt"], &leased["timeout_seconds"]),
        (&json!(1), &json!(60))
    );
    assert_eq!(leased["heartbeat_seconds"], 10);
    let done = json!({"output": "HELLO", "tokens_used": 12, "cost_cents": 3});
    for repeated in [false, true] {
        let answer = worker
            .report(&leased, "complete", done.clone())
            .await
            .is(200)
            .body;
        assert_eq!(
            (&answer["status"], &answer["repeated"]),
            (&json!("completed"), &json!(repeated))
        );
    }
    let result = app.result(&id).await;
    assert_eq!(
        (&result["output"], &result["bot_id"]),
        (&json!("HELLO"), &json!("far-1"))
    );
    assert_eq!(
        (&result["tokens_used"], &result["cost_cents"]),
        (&json!(12), &json!(3))
    );
    worker
        .report(&leased, "fail", json!({"error": "after all"}))
        .await
        .refuses(409, "stale_lease");
    assert_eq!(app.result(&id).await["success"], true);
}

#[actix_rt::test]
async fn waiting_worker_is_given_a_task_as_soon_as_it_is_submitted() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    assert!(worker.lease_some(&json!({"max": 2})).await.is_empty());
    let task = far("x");
    let (leased, id) = tokio::join!(worker.lease(), app.submit(&task));
    assert_eq!(id_of(&leased), id);
    let others = worker.lease_some(&json!({"max": 5, "wait_ms": 50})).await;
    assert!(others.is_empty(), "{others:?}");
    app.get("/api/v1/bots/far-1").await.is(200);
}

#[actix_rt::test]
async fn bot_without_workers_is_not_healthy_and_is_given_nothing() {
    let app = TestApp::start().await;
    let worker = Worker::of(
        &app,
        "far-1",
        json!({"kind": "remote", "heartbeat_seconds": 1}),
    )
    .await;
    let id = app.submit(&far("x")).await;
    app.until("the bot is degraded", async |_| {
        let bot = app.get("/api/v1/bots/far-1").await.is(200).body;
        bot["status"] == "degraded" && bot["unreachable"] == "no worker asks for tasks"
    })
    .await;
    let status = app
        .get(&format!("/api/v1/tasks/{id}/status"))
        .await
        .is(200)
        .body;
    assert_eq!(status["status"], "queued");
    worker.lease().await;
    app.until("the bot is healthy", async |_| {
        app.get("/api/v1/bots/far-1").await.is(200).body["status"] == "healthy"
    })
    .await;
}

#[actix_rt::test]
async fn heartbeats_keep_the_lease_and_silence_gives_the_task_to_another() {
    let app = TestApp::start().await;
    let worker = Worker::of(
        &app,
        "far-1",
        json!({"kind": "remote", "heartbeat_seconds": 1}),
    )
    .await;
    let id = app.submit(&far("x")).await;
    let first = worker.lease().await;
    for n in 1..=5 {
        let beat = worker
            .report(&first, "heartbeat", json!({"progress": 0.1 * f64::from(n)}))
            .await;
        assert_eq!(beat.is(200).body["cancel"], false);
        // Sleeps: the interval of heartbeats is what is tested.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&json!("running"), &json!(1))
    );
    app.until("the progress is noted", async |app| {
        let path = format!("/api/v1/tasks/{id}");
        app.get(&path).await.is(200).body["progress"] == 0.5
    })
    .await;

    let second = worker.lease().await;
    assert_eq!(
        (id_of(&second), &second["attempt"]),
        (id.as_str(), &json!(2))
    );
    for what in ["heartbeat", "complete"] {
        worker
            .report(&first, what, json!({}))
            .await
            .refuses(409, "stale_lease");
    }
    worker
        .report(&second, "complete", json!({"output": "y"}))
        .await
        .is(200);
    assert_eq!(app.result(&id).await["output"], "y");
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(task["failures"], 0, "{task:#}");
}

#[actix_rt::test]
async fn worker_that_lost_an_answer_asks_again_and_is_given_the_same() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    for n in 0..3 {
        app.submit(&far(&format!("{n}"))).await;
    }
    let ask = |worker: &str, request: &str| json!({"max": 2, "wait_ms": 20_000, "worker": worker, "request": request});
    let first = worker.lease_some(&ask("w", "1")).await;
    assert_eq!(worker.lease_some(&ask("w", "1")).await, first);
    let other = worker.lease_some(&ask("w", "2")).await;
    assert!(!first.contains(&other[0]), "{first:?} {other:?}");
}

#[tokio::test]
async fn workers_that_ask_again_and_again_do_not_read_the_store() {
    let app = TestApp::start_with(&["bots.seed=[]"]).await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    // The first task shows that the bot is up.
    app.submit(&far("x")).await;
    let leased = worker.lease().await;
    worker.report(&leased, "complete", json!({})).await.is(200);
    let before = store_reads(&app).await;
    for _ in 0..300 {
        let none = worker.lease_some(&json!({"max": 1, "wait_ms": 0})).await;
        assert!(none.is_empty());
    }
    let reads = store_reads(&app).await - before;
    assert!(reads < 150.0, "{reads} reads for 300 polls");
    // A bot that is stopped is looked up: it may be of another kind by now.
    let path = "/api/v1/bots/far-1";
    app.post(&format!("{path}/stop"), &json!(null))
        .await
        .is(202);
    app.until("it is stopped", async |app| {
        app.get(path).await.body["status"] == "stopped"
    })
    .await;
    let other = json!({"executor": {"kind": "simulated"}});
    app.put(path, &other).await.is(200);
    let refused = worker.ask(&json!({"max": 1, "wait_ms": 0})).await;
    refused.refuses(409, "wrong_executor");
}

async fn store_reads(app: &TestApp) -> f64 {
    let metrics = app.get("/metrics").await.is(200).body;
    let line = "\ndeia_store_reads_total{result=\"done\"} ";
    let rest = metrics.as_str().unwrap().split(line).nth(1).unwrap();
    rest.split('\n').next().unwrap().parse().unwrap()
}
