//! Bots that are stopped, removed or failing take their sessions along, or lose them.

use serde_json::{Value, json};

use super::{bots_of, quick, session, started, stop, task, task_in, until_bot_is, with_bots};
use crate::support::silent;

#[actix_rt::test]
async fn session_gets_another_bot_when_its_own_is_stopped() {
    let app = with_bots(&[], &["a", "b"]).await;
    let id = started(&app, json!({"bot": "a"})).await;
    assert_eq!(bots_of(&app, &id, 2).await, ["a"; 2]);
    stop(&app, "a").await;
    until_bot_is(&app, &id, None).await;
    assert_eq!(bots_of(&app, &id, 2).await, ["b"; 2]);
    let events = app.get("/api/v1/events?action=session").await.is(200).body;
    let actions: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    let expected = ["session.bound", "session.released", "session.started"];
    assert_eq!(actions, expected);
}

#[actix_rt::test]
async fn waiting_tasks_move_to_another_bot_when_theirs_is_removed() {
    let app = with_bots(&[], &[]).await;
    app.bot("a", silent(), &[]).await;
    let id = started(&app, json!({"bot": "a"})).await;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(app.submit(&task_in(&id)).await);
    }
    app.bot("b", quick(), &[]).await;
    stop(&app, "a").await;
    app.until("the bot is removed", async |app| {
        app.delete("/api/v1/bots/a").await.status == 204
    })
    .await;
    for id in &tasks {
        let result = app.result(id).await;
        assert_eq!(
            (&result["bot_id"], &result["success"]),
            (&json!("b"), &json!(true))
        );
    }
    until_bot_is(&app, &id, Some("b")).await;
}

#[actix_rt::test]
async fn session_that_may_not_move_fails_with_its_bot() {
    let app = with_bots(&[], &["b"]).await;
    app.bot("a", silent(), &[]).await;
    let id = started(&app, json!({"bot": "a", "on_bot_death": "fail"})).await;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(app.submit(&task_in(&id)).await);
    }
    stop(&app, "a").await;
    for id in &tasks {
        let result = app.result(id).await;
        assert_eq!(result["success"], false, "{result:#}");
        let failed = task(&app, id).await;
        assert_eq!(failed["end_reason"], "session", "{failed:#}");
        let error = failed["last_error"].as_str().unwrap();
        assert!(error.contains("the bot of its session, a, died"), "{error}");
    }
    let ended = session(&app, &id).await;
    assert_eq!(ended["end_reason"], "bot_died");
    let late = app.post("/api/v1/tasks/submit", &task_in(&id)).await;
    assert_eq!(
        late.refuses(422, "invalid_input").pointers(),
        ["/session_id"]
    );
}

#[actix_rt::test]
async fn failing_bot_loses_its_session_after_the_grace() {
    let settings = [
        "messaging.sessions.failing_grace=0s",
        "bots.fault.failing_after=1",
    ];
    let app = with_bots(&settings, &[]).await;
    let nowhere = json!({"kind": "command", "command": ["/there/is/none"]});
    app.bot("broken", nowhere, &[]).await;
    let id = started(&app, json!({"bot": "broken"})).await;
    let task = app.submit(&task_in(&id)).await;
    app.bot("b", quick(), &[]).await;
    assert_eq!(app.result(&task).await["bot_id"], "b");
    assert_eq!(session(&app, &id).await["bot"], "b");
}

#[actix_rt::test]
async fn draining_bot_keeps_its_session_until_it_has_stopped() {
    let app = with_bots(&[], &["a", "b"]).await;
    let slow = json!({"kind": "simulated", "behavior": "offline"});
    app.bot("slow", slow, &[]).await;
    let id = started(&app, json!({"bot": "slow"})).await;
    let running = app.submit(&task_in(&id)).await;
    app.post("/api/v1/bots/slow/drain", &Value::Null)
        .await
        .is(202);
    let waiting = app.submit(&task_in(&id)).await;
    assert_eq!(task(&app, &waiting).await["status"], "queued");
    assert_eq!(session(&app, &id).await["bot"], "slow");
    app.post(&format!("/api/v1/tasks/{running}/cancel"), &Value::Null)
        .await
        .is(200);
    let moved = app.result(&waiting).await["bot_id"].clone();
    assert_ne!(moved, "slow");
}
