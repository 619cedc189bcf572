//! Ends of attempts at workers, and their outputs.

use serde_json::json;

use super::{Worker, far, id_of};
use crate::support::TestApp;

#[actix_rt::test]
async fn class_of_a_failure_decides_what_follows() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;

    let id = app.submit(&far("never")).await;
    let leased = worker.lease().await;
    let failed = json!({"error": "no such file", "class": "permanent", "exit_code": 4});
    let answer = worker.report(&leased, "fail", failed).await.is(200).body;
    assert_eq!(answer["status"], "failed");
    let result = app.result(&id).await;
    assert_eq!(
        (&result["error"], &result["failure_class"]),
        (&json!("no such file"), &json!("permanent"))
    );
    assert_eq!(result["exit_code"], 4);
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(
        (&task["end_reason"], &task["attempt"]),
        (&json!("permanent"), &json!(1))
    );

    let once = json!({"type": "far", "content": "x", "max_attempts": 1});
    let id = app.submit(&once).await;
    let leased = worker.lease().await;
    let answer = worker
        .report(&leased, "fail", json!({"error": "broken"}))
        .await
        .is(200)
        .body;
    assert_eq!(answer["status"], "failed");
    assert_eq!(app.result(&id).await["failure_class"], "internal");

    let id = app.submit(&once).await;
    let leased = worker.lease().await;
    let limited = json!({"error": "429 from the provider", "class": "rate_limited", "retry_after_seconds": 3});
    let answer = worker.report(&leased, "fail", limited).await.is(200).body;
    assert_eq!(answer["status"], "queued", "it costs the task nothing");
    app.until("the bot pauses", async |_| {
        let bot = app.get("/api/v1/bots/far-1").await.is(200).body;
        bot["status"] == "degraded" && bot["pause"]["class"] == "rate_limited"
    })
    .await;
    assert!(worker.lease_some(&json!({"wait_ms": 100})).await.is_empty());
    let again = worker.lease().await;
    assert_eq!(id_of(&again), id);
    worker
        .report(&again, "complete", json!({"output": "y"}))
        .await
        .is(200);
    assert_eq!(app.result(&id).await["success"], true);
}

#[actix_rt::test]
async fn cancelled_task_is_ended_by_its_worker_or_without_it() {
    let app = TestApp::start().await;
    let worker = Worker::of(
        &app,
        "far-1",
        json!({"kind": "remote", "heartbeat_seconds": 1}),
    )
    .await;
    for answers in [true, false] {
        let id = app.submit(&far("x")).await;
        let leased = worker.lease().await;
        app.post(&format!("/api/v1/tasks/{id}/cancel"), &json!(null))
            .await
            .is(200);
        app.until("the worker is told", async |_| {
            let beat = worker
                .report(&leased, "heartbeat", json!({}))
                .await
                .is(200)
                .body;
            beat["cancel"] == true && beat["reason"] == "cancelled by admin"
        })
        .await;
        if answers {
            worker
                .report(&leased, "fail", json!({"error": "stopped"}))
                .await
                .is(200);
        }
        let result = app.result(&id).await;
        assert_eq!(result["success"], false, "{result}");
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(task["status"], "cancelled");
        worker
            .report(&leased, "heartbeat", json!({}))
            .await
            .refuses(409, "stale_lease");
    }
}

#[actix_rt::test]
async fn time_limit_ends_the_lease() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let task = json!({"type": "far", "content": "x", "max_attempts": 1, "timeout_seconds": 1});
    let id = app.submit(&task).await;
    let leased = worker.lease().await;
    let result = app.result(&id).await;
    assert_eq!(
        (&result["error"], &result["failure_class"]),
        (&json!("timed out after 1 s"), &json!("timed_out"))
    );
    worker
        .report(&leased, "complete", json!({"output": "late"}))
        .await
        .refuses(409, "stale_lease");
}

#[actix_rt::test]
async fn output_comes_in_pieces_that_may_be_repeated() {
    let settings = [
        "tasks.max_output_bytes=10",
        "tasks.max_output_file_bytes=30",
    ];
    let app = TestApp::start_with(&settings).await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let id = app.submit(&far("x")).await;
    let leased = worker.lease().await;
    let piece = async |offset: u64, text: &str| {
        worker
            .report(&leased, "output", json!({"offset": offset, "text": text}))
            .await
    };
    assert_eq!(piece(0, "hello ").await.is(200).body["length"], 6);
    assert_eq!(piece(0, "hello ").await.is(200).body["length"], 6);
    assert_eq!(piece(3, "lo world").await.is(200).body["length"], 11);
    piece(99, "x").await.refuses(409, "output_gap");
    piece(11, &"x".repeat(20))
        .await
        .refuses(413, "output_too_large");
    worker
        .report(&leased, "complete", json!({"output": "!"}))
        .await
        .is(200);
    let whole = app.get(&format!("/api/v1/tasks/{id}/output")).await.is(200);
    assert_eq!(whole.body, "hello world!");
    assert_eq!(app.result(&id).await["output_bytes"], 12);
}

#[actix_rt::test]
async fn stopped_bot_gives_its_tasks_back() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let id = app.submit(&far("x")).await;
    let leased = worker.lease().await;
    app.post("/api/v1/bots/far-1/stop", &json!(null))
        .await
        .is(202);
    app.until("the task is back", async |_| {
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        task["status"] == "queued"
    })
    .await;
    worker
        .report(&leased, "complete", json!({"output": "late"}))
        .await
        .refuses(409, "stale_lease");
    assert!(worker.lease_some(&json!({"wait_ms": 50})).await.is_empty());
    app.post("/api/v1/bots/far-1/launch", &json!(null))
        .await
        .is(202);
    assert_eq!(id_of(&worker.lease().await), id);
}

#[actix_rt::test]
async fn bot_that_drains_waits_for_its_workers() {
    let app = TestApp::start().await;
    let worker = Worker::of(&app, "far-1", json!({"kind": "remote"})).await;
    let id = app.submit(&far("x")).await;
    let leased = worker.lease().await;
    let path = "/api/v1/bots/far-1";
    app.post(&format!("{path}/drain"), &json!(null))
        .await
        .is(202);
    app.until("the bot drains", async |app| {
        app.get(path).await.is(200).body["status"] == "draining"
    })
    .await;
    worker
        .report(&leased, "complete", json!({"output": "y"}))
        .await
        .is(200);
    assert_eq!(app.result(&id).await["output"], "y");
    app.until("the bot is stopped", async |app| {
        app.get(path).await.is(200).body["status"] == "stopped"
    })
    .await;
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(task["attempt"], 1, "{task}");
}
