//! Sessions: tasks of a user that go to one bot, through the front door.

mod bot_deaths;
mod crashes;
mod refusals;

use serde_json::{Value, json};

use crate::support::{Answer, TestApp, silent};

const QUIET: &[&str] = &[
    "bots.seed=[]",
    "limits.enabled=false",
    "messaging.look_every=100ms",
];

async fn with_bots(settings: &[&str], bots: &[&str]) -> TestApp {
    let app = TestApp::start_with(&[QUIET, settings].concat()).await;
    for bot in bots {
        app.bot(bot, quick(), &[]).await;
    }
    app
}

/// A bot that ends its tasks at once.
fn quick() -> Value {
    json!({"kind": "simulated", "latency_ms": 1, "success_rate": 1.0})
}

async fn start(app: &TestApp, key: &str, session: &Value) -> Answer {
    app.post_as(key, "/api/v1/sessions", session).await
}

/// Starts a session as the admin, and returns its id.
async fn started(app: &TestApp, session: Value) -> String {
    let started = start(app, &app.admin, &session).await.is(201);
    started.body["id"].as_str().unwrap().to_owned()
}

async fn session(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/sessions/{id}"))
        .await
        .is(200)
        .body
}

fn task_in(session: &str) -> Value {
    json!({"type": "general", "content": "x", "session_id": session})
}

async fn task(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body
}

/// Submits so many tasks in a session, and returns the bots that they ran on.
async fn bots_of(app: &TestApp, session: &str, tasks: usize) -> Vec<String> {
    let mut bots = Vec::new();
    for _ in 0..tasks {
        let id = app.submit(&task_in(session)).await;
        let result = app.result(&id).await;
        bots.push(result["bot_id"].as_str().unwrap().to_owned());
    }
    bots
}

async fn stop(app: &TestApp, bot: &str) {
    let path = format!("/api/v1/bots/{bot}/stop");
    app.post(&path, &Value::Null).await.is(202);
}

/// Waits until the session has that bot, or none.
async fn until_bot_is(app: &TestApp, id: &str, bot: Option<&str>) {
    app.until("the session has that bot", async |app| {
        session(app, id).await["bot"].as_str() == bot
    })
    .await;
}

#[actix_rt::test]
async fn tasks_of_a_session_stay_with_one_bot() {
    let app = with_bots(&[], &["a", "b", "c"]).await;
    let chosen = started(&app, json!({})).await;
    assert_eq!(session(&app, &chosen).await["bot"], Value::Null);
    let first = bots_of(&app, &chosen, 1).await.remove(0);
    assert_eq!(session(&app, &chosen).await["bot"], *first);
    assert_eq!(bots_of(&app, &chosen, 6).await, vec![first; 6]);
    let given = started(&app, json!({"bot": "c"})).await;
    assert_eq!(bots_of(&app, &given, 6).await, ["c"; 6]);
    let shown = session(&app, &given).await;
    assert_eq!(shown["tasks_submitted"], 6);
    assert_eq!(shown["user"], "admin");
    assert_eq!(shown["ip_address"], "127.0.0.1");
    assert_eq!(shown["is_active"], true);
    let listed = app.get(&format!("/api/v1/tasks?session_id={given}")).await;
    assert_eq!(listed.is(200).body["items"].as_array().unwrap().len(), 6);
    let events = app
        .get("/api/v1/events?action=task.completed&limit=1")
        .await;
    assert_eq!(events.is(200).body["items"][0]["session_id"], *given);
    let ended = app
        .post(&format!("/api/v1/sessions/{given}/end"), &Value::Null)
        .await
        .is(200);
    assert_eq!(ended.body["end_reason"], "ended");
    assert_eq!(ended.body["is_active"], false);
}

/// All at once, before the session has a bot: only the first start decides which it is.
#[actix_rt::test]
async fn batch_of_a_new_session_goes_to_one_bot() {
    let app = with_bots(&[], &["a", "b", "c"]).await;
    let id = started(&app, json!({})).await;
    let tasks = vec![task_in(&id); 30];
    let batch = app
        .post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
        .await;
    let batch = batch.is(202).body;
    let mut bots = std::collections::BTreeSet::new();
    for id in batch["ids"].as_array().unwrap() {
        let result = app.result(id.as_str().unwrap()).await;
        bots.insert(result["bot_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(bots.len(), 1, "{bots:?}");
}

#[actix_rt::test]
async fn task_that_waits_for_its_bot_blocks_no_other() {
    let app = with_bots(&[], &[]).await;
    app.bot("busy", silent(), &[]).await;
    let id = started(&app, json!({"bot": "busy"})).await;
    // More tasks of the session than its bot has places.
    for _ in 0..6 {
        app.submit(&task_in(&id)).await;
    }
    app.bot("free", quick(), &[]).await;
    let other = app.submit(&crate::support::task("x")).await;
    assert_eq!(app.result(&other).await["bot_id"], "free");
    let waiting = app
        .get(&format!("/api/v1/tasks?session_id={id}&status=queued"))
        .await
        .is(200)
        .body;
    assert_eq!(waiting["items"].as_array().unwrap().len(), 2);
}

#[actix_rt::test]
async fn idle_session_ends_unless_a_task_is_unfinished() {
    let app = with_bots(&[], &[]).await;
    app.bot("busy", silent(), &[]).await;
    let idle = started(&app, json!({"idle_ttl_seconds": 1})).await;
    let busy = started(&app, json!({"idle_ttl_seconds": 1, "bot": "busy"})).await;
    app.submit(&task_in(&busy)).await;
    app.until("the idle session ends", async |app| {
        session(app, &idle).await["end_reason"] == "idle"
    })
    .await;
    assert_eq!(session(&app, &busy).await["is_active"], true);
    let ended = app.get("/api/v1/events?action=session.ended").await.is(200);
    assert_eq!(ended.body["items"][0]["target"]["id"], *idle);
}

#[actix_rt::test]
async fn waiting_tasks_are_cancelled_with_their_session_if_asked() {
    let app = with_bots(&[], &[]).await;
    app.bot("busy", silent(), &[]).await;
    let id = started(&app, json!({"bot": "busy"})).await;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(app.submit(&task_in(&id)).await);
    }
    let end = format!("/api/v1/sessions/{id}/end");
    app.post(&end, &Value::Null).await.is(200);
    assert_eq!(task(&app, &tasks[4]).await["status"], "queued");
    let asked = json!({"cancel_waiting": true});
    app.post(&end, &asked).await.is(200);
    assert_eq!(task(&app, &tasks[4]).await["status"], "cancelled");
    assert_eq!(task(&app, &tasks[0]).await["status"], "running");
}
