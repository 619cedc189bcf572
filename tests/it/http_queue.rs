//! Journeys of an operator and an integrator: how tasks wait, end and come back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, silent, task, upper};

fn with(content: &str, more: Value) -> Value {
    let mut task = task(content);
    let more = more.as_object().unwrap().clone();
    task.as_object_mut().unwrap().extend(more);
    task
}

async fn read(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body
}

async fn hold(app: &TestApp, id: &str) -> Value {
    let path = format!("/api/v1/tasks/{id}/explain");
    app.get(&path).await.is(200).body["hold"].clone()
}

async fn until_status(app: &TestApp, id: &str, status: &str) {
    app.until(status, async |app| read(app, id).await["status"] == status)
        .await;
}

/// A bot whose program fails.
fn failing() -> Value {
    json!({"kind": "command", "command": ["sh", "-c", "echo no >&2; exit 3"]})
}

#[tokio::test]
async fn a_workflow_runs_in_order() {
    let app = TestApp::start().await;
    let batch = json!({"tasks": [
        task("first"),
        with("second", json!({"depends_on": ["@0"]})),
        with("third", json!({"depends_on": ["@0", "@1"]})),
    ]});
    let accepted = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    let ids: Vec<_> = accepted["ids"].as_array().unwrap().iter().collect();
    let third = ids[2].as_str().unwrap();
    let task = read(&app, third).await;
    assert_eq!(
        (&task["status"], &task["waiting_for"], &task["depends_on"]),
        (&json!("pending"), &json!(2), &json!([ids[0], ids[1]]))
    );
    let why = app
        .get(&format!("/api/v1/tasks/{third}/explain"))
        .await
        .is(200)
        .body;
    assert_eq!(why["hold"], "waits_for_tasks");
    assert_eq!(why["waits_for"][0]["status"], "queued");
    app.bot("up", upper(), &[]).await;
    assert_eq!(app.result(third).await["output"], "THIRD");
    let ended: Vec<_> = [
        read(&app, ids[0].as_str().unwrap()).await,
        read(&app, ids[1].as_str().unwrap()).await,
        read(&app, third).await,
    ]
    .iter()
    .map(|task| {
        let of = |name: &str| task[name].as_str().unwrap().to_owned();
        (of("started_at"), of("completed_at"))
    })
    .collect();
    assert!(ended[0].1 <= ended[1].0 && ended[1].1 <= ended[2].0);
}

#[tokio::test]
async fn a_failure_reaches_what_depends_on_it_as_was_chosen() {
    let app = TestApp::start().await;
    app.bot("no", failing(), &["doomed"]).await;
    let parent = app
        .submit(&json!({"type": "doomed", "content": "x", "max_attempts": 1}))
        .await;
    let mut children = Vec::new();
    for policy in ["fail", "cancel", "start"] {
        let more = json!({"depends_on": [parent], "on_dependency_failure": policy});
        children.push(app.submit(&with("child", more)).await);
    }
    assert_eq!(app.result(&parent).await["exit_code"], 3);
    until_status(&app, &children[0], "failed").await;
    until_status(&app, &children[1], "cancelled").await;
    until_status(&app, &children[2], "queued").await;
    let error = app.result(&children[0]).await["error"].clone();
    assert!(error.as_str().unwrap().contains(&parent), "{error}");
    assert_eq!(read(&app, &children[0]).await["end_reason"], "dependency");
    // Another user cannot depend on it, nor learn that it exists.
    let eve = app.key("eve", "external").await;
    let more = json!({"depends_on": [parent]});
    let refused = app
        .post_as(&eve, "/api/v1/tasks/submit", &with("x", more))
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/depends_on/0"]);
    let unknown = json!({"depends_on": ["task_01h455vb4pex5vsknk084sn02q", "@0", "nonsense"]});
    let refused = app
        .post("/api/v1/tasks/submit", &with("x", unknown))
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/depends_on/2"]);
}

#[tokio::test]
async fn retries_back_off_as_the_task_has_it_and_leave_their_evidence() {
    let app = TestApp::start().await;
    app.bot("no", failing(), &[]).await;
    let more = json!({"max_attempts": 3, "retry": {"min_ms": 1, "max_ms": 5, "jitter": 0}});
    let id = app.submit(&with("x", more)).await;
    assert_eq!(app.result(&id).await["success"], false);
    let failed = read(&app, &id).await;
    assert_eq!(
        (&failed["end_reason"], &failed["failures"]),
        (&json!("attempts"), &json!(3))
    );
    let evidence = failed["failed_attempts"].as_array().unwrap();
    let attempts: Vec<_> = evidence.iter().map(|e| e["attempt"].clone()).collect();
    assert_eq!(attempts, [json!(1), json!(2), json!(3)]);
    assert_eq!(
        (&evidence[0]["bot"], &evidence[0]["exit_code"]),
        (&json!("no"), &json!(3))
    );
    let patient = json!({"retry": {"min_ms": 3_600_000, "jitter": 0}});
    let id = app.submit(&with("x", patient)).await;
    until_status(&app, &id, "pending").await;
    assert_eq!(hold(&app, &id).await, "waits_for_retry");
    let events = app
        .get(&format!("/api/v1/tasks/{id}/events"))
        .await
        .is(200)
        .body;
    let actions: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["task.submitted", "task.started", "task.retrying"]);
    let wrong = json!({"retry": {"min_ms": 9, "max_ms": 3, "jitter": 2}});
    let refused = app
        .post("/api/v1/tasks/submit", &with("x", wrong))
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/retry/max_ms", "/retry/jitter"]);
}

#[tokio::test]
async fn failed_tasks_are_listed_and_put_back() {
    let app = TestApp::start().await;
    app.bot("no", failing(), &[]).await;
    let mut ids = Vec::new();
    for tag in ["red", "red", "blue"] {
        let more = json!({"max_attempts": 1, "tags": [tag], "metadata": {"n": 1}});
        ids.push(app.submit(&with("x", more)).await);
    }
    for id in &ids {
        app.result(id).await;
    }
    let dead = app.get("/api/v1/queue/dead?tag=red").await.is(200).body;
    assert_eq!(dead["items"].as_array().unwrap().len(), 2);
    let none = "/api/v1/queue/dead?tag=red&tag=blue";
    assert_eq!(app.get(none).await.is(200).body["items"], json!([]));
    let both = "/api/v1/queue/dead?metadata=n:1&reason=attempts";
    let found = app.get(both).await.is(200).body["items"].clone();
    assert_eq!(found.as_array().unwrap().len(), 3);

    let path = "/api/v1/queue/dead/requeue";
    app.post("/api/v1/bots/no/stop", &Value::Null).await.is(202);
    app.post(path, &json!({}))
        .await
        .refuses(422, "invalid_input");
    let one = app.post(path, &json!({"ids": [ids[2]]})).await.is(200).body;
    assert_eq!((&one["changed"], &one["skipped"]), (&json!(1), &json!(0)));
    let rest = app.post(path, &json!({"tags": ["red"]})).await.is(200).body;
    assert_eq!(
        (&rest["changed"], &rest["complete"]),
        (&json!(2), &json!(true))
    );
    for id in &ids {
        let task = read(&app, id).await;
        assert_eq!(
            (&task["status"], &task["failures"]),
            (&json!("queued"), &json!(0))
        );
    }
    let retry = format!("/api/v1/tasks/{}/retry", ids[0]);
    app.post(&retry, &Value::Null)
        .await
        .refuses(409, "task_is_unfinished");
    let spec = json!({"executor": upper(), "capabilities": {"specializations": []}});
    app.put("/api/v1/bots/no", &spec).await.is(200);
    app.post("/api/v1/bots/no/launch", &Value::Null)
        .await
        .is(202);
    assert_eq!(app.result(&ids[0]).await["output"], "X");
    assert_eq!(
        app.post(&retry, &Value::Null).await.is(200).body["attempt"],
        2
    );
    assert_eq!(app.result(&ids[0]).await["attempt"], 3);
}

#[tokio::test]
async fn what_is_paused_is_not_started_also_after_a_restart() {
    let mut app = TestApp::start().await;
    app.bot("up", upper(), &[]).await;
    let body = json!({"type": "general", "reason": "repairs"});
    let queue = app.post("/api/v1/queue/pause", &body).await.is(200).body;
    assert_eq!(queue["paused"][0]["reason"], "repairs");
    let (held, free) = (
        app.submit(&task("held")).await,
        app.submit(&json!({"type": "writing", "content": "free"}))
            .await,
    );
    assert_eq!(app.result(&free).await["output"], "FREE");
    assert_eq!(hold(&app, &held).await, "type_paused");
    app.kill_9();
    let dir = app.data_dir().to_owned();
    let again = TestApp::start_in(&dir, &["bots.seed=[]"]).await;
    let free = again
        .submit(&json!({"type": "writing", "content": "again"}))
        .await;
    assert_eq!(again.result(&free).await["output"], "AGAIN");
    assert_eq!(read(&again, &held).await["status"], "queued");
    again.post("/api/v1/queue/pause", &json!({})).await.is(200);
    assert_eq!(hold(&again, &held).await, "queue_paused");
    for body in [json!({"type": "general"}), json!({})] {
        again.post("/api/v1/queue/resume", &body).await.is(200);
    }
    assert_eq!(again.result(&held).await["output"], "HELD");
    let wrong = json!({"type": "No Type"});
    let refused = again
        .post("/api/v1/queue/pause", &wrong)
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/type"]);
    drop(app);
}

#[tokio::test]
async fn a_drain_tells_what_still_runs() {
    let app = TestApp::start().await;
    app.bot("quiet", silent(), &["general"]).await;
    app.bot("up", upper(), &["writing"]).await;
    let stuck = app.submit(&task("stuck")).await;
    until_status(&app, &stuck, "running").await;
    let drain = "/api/v1/queue/drain";
    let writing = json!({"type": "writing", "wait_ms": 5_000});
    let other = app.post(drain, &writing).await.is(200).body;
    assert_eq!(other["drained"], true);
    let all = app.post(drain, &json!({"wait_ms": 1})).await.is(200).body;
    assert_eq!(
        (&all["drained"], &all["running"]),
        (&json!(false), &json!(1))
    );
    app.post(&format!("/api/v1/tasks/{stuck}/cancel"), &Value::Null)
        .await
        .is(200);
    let all = app.post(drain, &json!({"wait_ms": 50_000})).await;
    assert_eq!(all.is(200).body["drained"], true);
    let too_long = json!({"wait_ms": 10_000_000});
    let refused = app.post(drain, &too_long).await;
    assert_eq!(
        refused.refuses(422, "invalid_input").pointers(),
        ["/wait_ms"]
    );
}

#[tokio::test]
async fn a_purge_cancels_what_waits_and_is_meant() {
    let app = TestApp::start().await;
    let eve = app.key("eve", "external").await;
    app.bot("quiet", silent(), &["running"]).await;
    let running = app.submit(&json!({"type": "running", "content": ""})).await;
    until_status(&app, &running, "running").await;
    let waiting = app.submit(&with("x", json!({"tags": ["old"]}))).await;
    let later = json!({"tags": ["old"], "run_at": "2999-01-01T00:00:00Z"});
    let pending = app.submit(&with("x", later)).await;
    let kept = app.submit(&task("x")).await;
    let path = "/api/v1/queue/purge";
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"status": "running"}), "/status"),
        (json!({"ids": [kept]}), "/ids"),
    ] {
        let refused = app.post(path, &body).await.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    let of_eve = app.post_as(&eve, path, &json!({"all": true})).await;
    assert_eq!(of_eve.is(200).body["changed"], 0, "only what is hers");
    let body = json!({"tags": ["old"]});
    let purged = app.post(path, &body).await.is(200).body;
    assert_eq!(purged["changed"], 2);
    for (id, status) in [
        (&waiting, "cancelled"),
        (&pending, "cancelled"),
        (&kept, "queued"),
        (&running, "running"),
    ] {
        assert_eq!(read(&app, id).await["status"], status);
    }
    let all = app.post(path, &json!({"all": true})).await.is(200).body;
    assert_eq!(all["changed"], 1);
    assert_eq!(read(&app, &running).await["status"], "running");
}

#[tokio::test]
async fn an_equal_unfinished_task_is_answered_with() {
    let app = TestApp::start().await;
    let nightly = with("x", json!({"dedup_key": "nightly"}));
    let first = app.post("/api/v1/tasks/submit", &nightly).await.is(202);
    assert_eq!(first.body["deduplicated"], Value::Null);
    let again = app.post("/api/v1/tasks/submit", &nightly).await.is(202);
    assert_eq!(
        (&again.body["id"], &again.body["deduplicated"]),
        (&first.body["id"], &json!(true))
    );
    assert_eq!(again.header("location"), first.header("location"));
    app.bot("up", upper(), &[]).await;
    app.result(first.body["id"].as_str().unwrap()).await;
    let fresh = app.post("/api/v1/tasks/submit", &nightly).await.is(202);
    assert_ne!(fresh.body["id"], first.body["id"]);
    let request = app
        .request_as(&app.admin, Method::POST, "/api/v1/tasks/submit")
        .header("Idempotency-Key", "k-1")
        .json(&task("y"));
    let kept = app.send(request).await.is(202).body;
    let kept = read(&app, kept["id"].as_str().unwrap()).await;
    assert_eq!(kept["idempotency_key"], "k-1");
}

#[tokio::test]
async fn what_waits_too_long_expires() {
    let settings = ["bots.seed=[]", "tasks.by_type={brief: {expires_after: 1s}}"];
    let app = TestApp::start_with(&settings).await;
    let brief = app.submit(&json!({"type": "brief", "content": ""})).await;
    let patient = app.submit(&task("x")).await;
    assert_eq!(hold(&app, &brief).await, "no_bot_takes_it");
    let result = app.result(&brief).await;
    assert_eq!(result["success"], false);
    assert_eq!(read(&app, &brief).await["end_reason"], "expired");
    assert_eq!(read(&app, &patient).await["status"], "queued");
    let wrong = json!({"run_at": "2999-01-01T00:00:00Z", "expires_at": "2998-01-01T00:00:00Z"});
    let refused = app
        .post("/api/v1/tasks/submit", &with("x", wrong))
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/expires_at"]);
}

#[tokio::test]
async fn ended_tasks_are_forgotten_and_types_with_them() {
    let settings = [
        "bots.seed=[]",
        "tasks.max_types=1",
        "tasks.retention.completed=1s",
    ];
    let app = TestApp::start_with(&settings).await;
    app.bot("up", upper(), &[]).await;
    let id = app.submit(&task("x")).await;
    app.result(&id).await;
    let other = json!({"type": "writing", "content": "y"});
    let refused = app
        .post("/api/v1/tasks/submit", &other)
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/type"]);
    app.until("the task is forgotten", async |app| {
        let path = format!("/api/v1/tasks/{id}");
        app.get(&path).await.status == 404
    })
    .await;
    app.until("there is room for another type", async |app| {
        app.post("/api/v1/tasks/submit", &other).await.status == 202
    })
    .await;
}

#[tokio::test]
async fn the_queue_tells_rates_and_waits() {
    let app = TestApp::start().await;
    app.bot("up", upper(), &[]).await;
    let id = app.submit(&task("x")).await;
    app.result(&id).await;
    let waiting = app
        .submit(&with(
            "later",
            json!({"run_at": "2999-01-01T00:00:00Z", "priority": "P0"}),
        ))
        .await;
    assert_eq!(hold(&app, &waiting).await, "scheduled_for_later");
    let queue = app.get("/api/v1/queue").await.is(200).body;
    assert!(queue["rates"]["completed_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(queue["waits"]["started"], 1);
    let lane = &queue["lanes"][0];
    assert_eq!(
        (&lane["type"], &lane["priority"], &lane["pending"]),
        (&json!("general"), &json!("P0"), &json!(1))
    );
}
