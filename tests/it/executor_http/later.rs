//! Services that answer 202, and complete their tasks later by the lease.

use serde_json::{Value, json};

use super::{hive, http};
use crate::{
    service_support::{QUICK, Service, Step, answer, log_of, once, put, until_status},
    support::{TestApp, task},
};

fn accepts() -> Service {
    Service::start(|_| answer(202, "", ""))
}

/// Returns the body of a report for the attempt that the service was sent last.
fn report(service: &Service, more: Value) -> Value {
    let sent = service.requests().last().unwrap().json();
    let mut body = json!({"attempt": sent["attempt"], "lease_token": sent["lease_token"]});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

async fn submitted(app: &TestApp, service: &Service, task: &Value) -> String {
    let before = service.requests().len();
    let id = app.submit(task).await;
    app.until("the service has the task", async |_| {
        service.requests().len() > before
    })
    .await;
    id
}

async fn task_of(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body
}

#[tokio::test]
async fn task_is_completed_later_once_and_by_its_lease_only() {
    let service = accepts();
    let app = hive(&service).await;
    let id = submitted(&app, &service, &task("x")).await;
    let complete = format!("/api/v1/tasks/{id}/complete");
    let body = report(
        &service,
        json!({"output": "later", "tokens_used": 7, "cost_cents": 1}),
    );
    let mut stale = body.clone();
    stale["lease_token"] = json!("lease_00000000000000000000000000");
    app.post(&complete, &stale)
        .await
        .refuses(409, "stale_lease");
    let heartbeat = format!("/api/v1/tasks/{id}/heartbeat");
    let alive = report(&service, json!({"progress": 0.5}));
    app.post(&heartbeat, &alive).await.is(200);
    app.until("the progress is recorded", async |app| {
        task_of(app, &id).await["progress"] == 0.5
    })
    .await;
    app.post(&complete, &body).await.is(200);
    let result = app.result(&id).await;
    assert_eq!(result["output"], "later", "{result}");
    assert_eq!(result["tokens_used"], 7, "{result}");
    // The answer may have been lost.
    app.post(&complete, &body).await.is(200);
    app.until("the bot is free", async |app| {
        app.get("/api/v1/bots/svc").await.body["running_tasks"] == 0
    })
    .await;
    assert_eq!(app.get("/api/v1/bots/svc").await.body["tasks_completed"], 1);
}

#[tokio::test]
async fn failure_is_reported_with_its_class() {
    let service = accepts();
    let app = hive(&service).await;
    let id = submitted(&app, &service, &task("x")).await;
    let body = report(&service, json!({"class": "permanent", "error": "no way"}));
    let fail = format!("/api/v1/tasks/{id}/fail");
    app.post(&fail, &body).await.is(200);
    let result = app.result(&id).await;
    assert_eq!(result["failure_class"], "permanent", "{result}");
    assert_eq!(result["error"], "no way", "{result}");
    assert_eq!(task_of(&app, &id).await["attempt"], 1);
}

#[tokio::test]
async fn report_may_overtake_the_answer() {
    let service = Service::start(|_| {
        let mut steps = vec![Step::Gate];
        steps.extend(answer(202, "", ""));
        steps
    });
    let app = hive(&service).await;
    let id = submitted(&app, &service, &task("x")).await;
    let body = report(&service, json!({"output": "early"}));
    let complete = format!("/api/v1/tasks/{id}/complete");
    app.post(&complete, &body).await.is(200);
    assert_eq!(app.result(&id).await["output"], "early");
    app.until("the hive leaves the service", async |_| service.left() == 1)
        .await;
}

#[tokio::test]
async fn report_after_the_end_of_the_attempt_changes_nothing() {
    let service = accepts();
    let app = hive(&service).await;
    let short = json!({"type": "general", "content": "x", "max_attempts": 1, "timeout_seconds": 1});
    let id = submitted(&app, &service, &short).await;
    let result = app.result(&id).await;
    assert_eq!(result["failure_class"], "timed_out", "{result}");
    let body = report(&service, json!({"output": "late"}));
    let complete = format!("/api/v1/tasks/{id}/complete");
    app.post(&complete, &body).await.refuses(409, "stale_lease");

    let id = submitted(&app, &service, &once("x")).await;
    let cancel = format!("/api/v1/tasks/{id}/cancel");
    app.post(&cancel, &Value::Null).await.is(200);
    app.until("the task is cancelled", async |app| {
        task_of(app, &id).await["status"] == "cancelled"
    })
    .await;
    let body = report(&service, json!({"output": "late"}));
    let complete = format!("/api/v1/tasks/{id}/complete");
    app.post(&complete, &body).await.refuses(409, "stale_lease");
    assert_eq!(task_of(&app, &id).await["status"], "cancelled");

    let id = submitted(&app, &service, &task("x")).await;
    let body = report(&service, json!({"output": "late"}));
    app.post("/api/v1/bots/svc/stop", &Value::Null)
        .await
        .is(202);
    app.until("the task is back in the queue", async |app| {
        task_of(app, &id).await["status"] == "queued"
    })
    .await;
    let complete = format!("/api/v1/tasks/{id}/complete");
    app.post(&complete, &body).await.refuses(409, "stale_lease");
    assert_eq!(task_of(&app, &id).await["failures"], 0);
}

/// Waits until the hive has recorded that the service completes its so many tasks later.
async fn until_held(app: &TestApp, tasks: usize) {
    app.until("the task is accepted", async |app| {
        log_of(app, "svc").await.matches("accepted: ").count() == tasks
    })
    .await;
}

#[tokio::test]
async fn accepted_task_goes_on_while_the_hive_is_away() {
    let service = accepts();
    let dir = tempfile::tempdir().unwrap();
    let mut app = TestApp::start_in(dir.path(), &QUICK).await;
    put(&app, "svc", &http(&service), &json!({})).await;
    until_status(&app, "svc", "healthy").await;
    let slow = json!({"type": "general", "content": "x", "timeout_seconds": 600});
    let id = submitted(&app, &service, &slow).await;
    for orderly in [false, true] {
        until_held(&app, 1).await;
        match orderly {
            true => assert!(app.stop().success()),
            false => app.kill_9(),
        }
        app = TestApp::start_in(dir.path(), &QUICK).await;
        app.until("the bot knows the attempt", async |app| {
            app.get("/api/v1/bots/svc").await.is(200).body["running_tasks"] == 1
        })
        .await;
        let task = task_of(&app, &id).await;
        assert_eq!(
            (&task["status"], &task["attempt"]),
            (&json!("running"), &json!(1)),
            "{orderly}: {task}"
        );
    }
    let body = report(&service, json!({"output": "later"}));
    let complete = format!("/api/v1/tasks/{id}/complete");
    app.post(&complete, &body).await.is(200);
    assert_eq!(app.result(&id).await["output"], "later");
    assert_eq!(service.requests().len(), 1, "the service was asked once");
    app.until("the slot is free", async |app| {
        app.get("/api/v1/bots/svc").await.is(200).body["running_tasks"] == 0
    })
    .await;

    // A bot that drains waits for it, one that is stopped gives it back.
    let id = submitted(&app, &service, &slow).await;
    until_held(&app, 2).await;
    app.post("/api/v1/bots/svc/drain", &Value::Null)
        .await
        .is(202);
    until_status(&app, "svc", "draining").await;
    let body = report(&service, json!({"output": "drained"}));
    let complete = format!("/api/v1/tasks/{id}/complete");
    app.post(&complete, &body).await.is(200);
    assert_eq!(app.result(&id).await["output"], "drained");
    until_status(&app, "svc", "stopped").await;
}
