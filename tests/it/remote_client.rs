//! `Worker` of the Rust client, against a hive: ends, outputs, cancellations, and a hive that is
//! killed while tasks run.

mod relay;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deia_client::{Assignment, Client, Completion, Failure, Secret, Worker};
use deia_model::FailureClass;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, oneshot};

use self::relay::Relay;
use crate::{
    remote_work::{self, far},
    support::{TestApp, until, upper},
};

/// Launches a remote bot whose workers send a heartbeat each second, and returns a worker of it
/// that speaks to that URL.
async fn worker(app: &TestApp, url: &str) -> Worker {
    let remote = json!({"kind": "remote", "heartbeat_seconds": 1});
    let made = remote_work::Worker::of(app, "far-1", remote).await;
    worker_of(url, made.key(), "far-1")
}

fn worker_of(url: &str, key: &str, bot: &str) -> Worker {
    let client = Client::builder(url).key(Secret::new(key));
    let client = client.timeout(Duration::from_secs(5)).build().unwrap();
    Worker::new(client, bot.parse().unwrap())
}

#[actix_rt::test]
async fn ends_and_outputs_are_reported_and_a_stop_waits_for_them() {
    let app = TestApp::start().await;
    let worker = worker(&app, &app.url).await.max(3);
    let long = "ä".repeat(1_500_000);
    let begun = Notify::new();
    let gate = Semaphore::new(0);
    let work = async |work: Assignment| match work.task.content.as_str() {
        "long" => Ok(Completion::of(long.clone())),
        "pieces" => {
            work.append("one ").await?;
            work.progress(0.5);
            work.append("two ").await?;
            Ok(Completion::of("three"))
        }
        "never" => Err(Failure {
            exit_code: Some(4),
            ..Failure::of(FailureClass::Permanent, "no such file")
        }),
        "wordless" => Err(Failure::of(FailureClass::Permanent, "")),
        "gated" => {
            begun.notify_one();
            gate.acquire().await.unwrap().forget();
            Ok(Completion::of("through"))
        }
        content => Ok(Completion {
            tokens_used: Some(12),
            cost_cents: Some(3),
            ..Completion::of(content.to_uppercase())
        }),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let script = async {
        let id = app.submit(&far("hello")).await;
        let result = app.result(&id).await;
        assert_eq!(result["output"], "HELLO");
        assert_eq!(
            (&result["tokens_used"], &result["cost_cents"]),
            (&json!(12), &json!(3))
        );
        let id = app.submit(&far("long")).await;
        assert!(app.result(&id).await["output"] == long.as_str());
        let id = app.submit(&far("pieces")).await;
        assert_eq!(app.result(&id).await["output"], "one two three");
        for (content, reason) in [
            ("never", "no such file"),
            ("wordless", "the worker gave no reason"),
        ] {
            let id = app.submit(&far(content)).await;
            let result = app.result(&id).await;
            assert_eq!(
                (&result["error"], &result["failure_class"]),
                (&json!(reason), &json!("permanent"))
            );
        }
        let id = app.submit(&far("gated")).await;
        begun.notified().await;
        stop.send(()).unwrap();
        gate.add_permits(1);
        id
    };
    let stopped = async { drop(stopped.await) };
    let (ended, id) = tokio::join!(worker.run_until(stopped, work), script);
    ended.unwrap();
    // The worker has ended, and with it everything was reported.
    assert_eq!(app.result(&id).await["output"], "through");
}

#[actix_rt::test]
async fn futures_of_tasks_are_dropped_once_cancelled_or_lost() {
    /// Tells that it was dropped.
    struct Told<'a>(&'a AtomicBool);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let app = TestApp::start().await;
    let worker = worker(&app, &app.url).await;
    let (begun, dropped) = (Notify::new(), AtomicBool::new(false));
    let work = async |work: Assignment| {
        if work.task.content != "forever" {
            return Ok(Completion::of("next"));
        }
        let _told = Told(&dropped);
        begun.notify_one();
        std::future::pending().await
    };
    let script = async {
        let forever = app.submit(&far("forever")).await;
        begun.notified().await;
        let cancel = format!("/api/v1/tasks/{forever}/cancel");
        app.post(&cancel, &json!(null)).await.is(200);
        let result = app.result(&forever).await;
        assert_eq!(result["success"], false, "{result}");
        let path = format!("/api/v1/tasks/{forever}");
        assert_eq!(app.get(&path).await.is(200).body["status"], "cancelled");
        until("the future is dropped", async || {
            dropped.swap(false, Ordering::Relaxed)
        })
        .await;

        let limited =
            json!({"type": "far", "content": "forever", "max_attempts": 1, "timeout_seconds": 1});
        let id = app.submit(&limited).await;
        assert_eq!(app.result(&id).await["failure_class"], "timed_out");
        until("the future is dropped", async || {
            dropped.swap(false, Ordering::Relaxed)
        })
        .await;
        let id = app.submit(&far("x")).await;
        assert_eq!(app.result(&id).await["output"], "next");
    };
    tokio::select! {
        ended = worker.run(work) => panic!("{ended:?}"),
        () = script => {}
    }
}

#[actix_rt::test]
async fn work_outlives_a_hive_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut app = TestApp::start_in(dir.path(), &["bots.seed=[]"]).await;
    let relay = Relay::to(&app.url).await;
    let worker = worker(&app, &relay.url()).await.max(2);
    let (begun, gates) = (Semaphore::new(0), [Semaphore::new(0), Semaphore::new(0)]);
    let attempts = Mutex::new(Vec::new());
    let work = async |work: Assignment| {
        let n: usize = work.task.content.parse()?;
        attempts.lock().unwrap().push((n, work.task.attempt));
        work.append("begun, ").await?;
        begun.add_permits(1);
        gates[n].acquire().await?.forget();
        Ok(Completion::of("done"))
    };
    let script = async {
        let ids = [app.submit(&far("0")).await, app.submit(&far("1")).await];
        begun.acquire_many(2).await.unwrap().forget();
        app.kill_9();
        // Nobody is there to take the report.
        gates[0].add_permits(1);
        app = TestApp::start_in(dir.path(), &["bots.seed=[]"]).await;
        relay.turn_to(&app.url);
        let result = app.result(&ids[0]).await;
        assert_eq!(result["output"], "begun, done", "{result}");
        gates[1].add_permits(1);
        let result = app.result(&ids[1]).await;
        assert_eq!(result["output"], "begun, done", "{result}");
        let mut attempts = attempts.lock().unwrap().clone();
        attempts.sort_unstable();
        assert_eq!(attempts, [(0, 1), (1, 1)]);
        // It leases on as before.
        gates[0].add_permits(1);
        let id = app.submit(&far("0")).await;
        assert_eq!(app.result(&id).await["output"], "begun, done");
    };
    tokio::select! {
        ended = worker.run(work) => panic!("{ended:?}"),
        () = script => {}
    }
}

#[actix_rt::test]
async fn worker_waits_no_longer_than_the_hive_allows() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.max_wait=1s"]).await;
    let worker = worker(&app, &app.url).await;
    let work = async |_: Assignment| Ok(Completion::default());
    let script = async {
        let id = app.submit(&far("x")).await;
        let path = format!("/api/v1/tasks/{id}/status");
        app.until("the task is completed", async |app| {
            app.get(&path).await.is(200).body["status"] == "completed"
        })
        .await;
    };
    tokio::select! {
        ended = worker.run(work) => panic!("{ended:?}"),
        () = script => {}
    }
}

#[actix_rt::test]
async fn refusals_end_a_worker() {
    let app = TestApp::start().await;
    app.bot("up", upper(), &["general"]).await;
    let work = async |_: Assignment| Ok(Completion::default());
    for (key, bot, code) in [
        (app.admin.as_str(), "none", "not_found"),
        (app.admin.as_str(), "up", "wrong_executor"),
        (
            &app.key("olga", "operator").await,
            "up",
            "permission_denied",
        ),
    ] {
        let error = worker_of(&app.url, key, bot).run(work).await.unwrap_err();
        assert!(error.has_code(code), "{error:?}");
    }
}
