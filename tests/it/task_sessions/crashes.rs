//! Sessions survive a server that is killed.

use serde_json::{Value, json};

use super::{QUIET, bots_of, quick, session, start, task_in};
use crate::support::{TestApp, silent};

#[actix_rt::test]
async fn session_keeps_its_bot_when_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut app = TestApp::start_in(&data_dir, QUIET).await;
    for bot in ["a", "b", "c"] {
        app.bot(bot, quick(), &[]).await;
    }
    let started = start(&app, &app.admin, &json!({})).await.is(201).body;
    let id = started["id"].as_str().unwrap().to_owned();
    let bot = bots_of(&app, &id, 1).await.remove(0);
    for round in 1..4 {
        app.kill_9();
        app = TestApp::start_in(&data_dir, QUIET).await;
        assert_eq!(session(&app, &id).await["bot"], *bot);
        assert_eq!(bots_of(&app, &id, 4).await, vec![bot.clone(); 4]);
        let submitted = session(&app, &id).await["tasks_submitted"].clone();
        assert_eq!(submitted, 1 + 4 * round);
    }
}

/// A task that waits for its bot is known to nobody but the store when the server starts.
#[actix_rt::test]
async fn waiting_task_of_a_session_starts_on_its_bot_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut app = TestApp::start_in(&data_dir, QUIET).await;
    app.bot("a", silent(), &[]).await;
    app.bot("b", quick(), &[]).await;
    let started = start(&app, &app.admin, &json!({"bot": "a"})).await.is(201);
    let id = started.body["id"].as_str().unwrap().to_owned();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        tasks.push(app.submit(&task_in(&id)).await);
    }
    app.kill_9();
    app = TestApp::start_in(&data_dir, QUIET).await;
    // The bot is another one now, of the same name, that ends its tasks.
    let spec = json!({"executor": quick(), "capabilities": {"max_concurrent_tasks": 2}});
    app.put("/api/v1/bots/a?now=true", &spec).await.is(200);
    for task in &tasks {
        let result = app.result(task).await;
        assert_eq!(result["bot_id"], "a", "{result:#}");
    }
    assert_eq!(session(&app, &id).await["end_reason"], Value::Null);
}
