//! Journeys of an integrator: tasks.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, silent, task, upper};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_new_hive_does_a_first_task_at_once() {
    let app = TestApp::start_with(&[]).await;
    let accepted = app
        .post("/api/v1/tasks/submit", &task("hello"))
        .await
        .is(202);
    let id = accepted.body["id"].as_str().unwrap();
    assert_eq!(accepted.header("location"), format!("/api/v1/tasks/{id}"));
    assert_eq!(accepted.body["status"], "queued");
    let result = app.result(id).await;
    assert_eq!(
        (&result["success"], &result["output"]),
        (&json!(true), &json!("HELLO"))
    );
    assert_eq!(result["bot_id"], "upper-1");
    let read = app.get(accepted.header("location")).await.is(200).body;
    assert_eq!(
        (&read["content"], &read["status"]),
        (&json!("hello"), &json!("completed"))
    );
    let state = app
        .get(&format!("/api/v1/tasks/{id}/status"))
        .await
        .is(200)
        .body;
    assert_eq!(
        (&state["status"], &state["attempt"]),
        (&json!("completed"), &json!(1))
    );
    assert_eq!(state["content"], Value::Null);
}

#[tokio::test]
async fn a_result_that_is_not_there_is_told_apart() {
    let app = TestApp::start().await;
    let id = app.submit(&task("x")).await;
    for wait in ["", "?wait_ms=0", "?wait_ms=50"] {
        let path = format!("/api/v1/tasks/{id}/result{wait}");
        app.get(&path).await.refuses(409, "task_not_finished");
    }
}

#[tokio::test]
async fn a_batch_is_accepted_whole_or_not_at_all() {
    let app = TestApp::start().await;
    let wrong = json!({"tasks": [task("a"), {"type": "general", "content": "b", "max_attempts": 0},
        {"type": "general", "content": "c", "tags": [""]}]});
    let refused = app
        .post("/api/v1/tasks/batch", &wrong)
        .await
        .refuses(422, "invalid_input");
    assert_eq!(
        refused.pointers(),
        ["/tasks/1/max_attempts", "/tasks/2/tags/0"]
    );
    assert_eq!(app.get("/api/v1/tasks").await.body["items"], json!([]));
    let one = json!({"tasks": [{"type": "general", "content": "c", "tags": [""]}]});
    let refused = app
        .post("/api/v1/tasks/batch", &one)
        .await
        .refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/tasks/0/tags/0"]);

    app.bot("up", upper(), &[]).await;
    let tasks: Vec<_> = (0..50).map(|n| task(&format!("n{n}"))).collect();
    let accepted = app
        .post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
        .await
        .is(202)
        .body;
    let ids = accepted["ids"].as_array().unwrap();
    assert_eq!(ids.len(), 50);
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(
            app.result(id.as_str().unwrap()).await["output"],
            format!("N{n}")
        );
    }
}

#[tokio::test]
async fn a_repeated_submission_is_done_once() {
    let app = TestApp::start().await;
    for (path, body) in [
        ("/api/v1/tasks/submit", task("once")),
        (
            "/api/v1/tasks/batch",
            json!({"tasks": [task("a"), task("b")]}),
        ),
    ] {
        let send = |body: Value| {
            let request = app.request_as(&app.admin, Method::POST, path);
            app.send(
                request
                    .header("Idempotency-Key", format!("k-{path}"))
                    .json(&body),
            )
        };
        let first = send(body.clone()).await.is(202);
        assert_eq!(first.header("idempotency-replayed"), "");
        let second = send(body).await.is(202);
        assert_eq!(second.header("idempotency-replayed"), "true");
        assert_eq!(
            (second.body, second.headers.get("location")),
            (first.body, first.headers.get("location"))
        );
        let other = match path.ends_with("batch") {
            true => json!({"tasks": [task("c")]}),
            false => task("other"),
        };
        send(other).await.refuses(422, "idempotency_mismatch");
    }
    assert_eq!(
        app.get("/api/v1/tasks").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    for key in ["", "two words", &"x".repeat(256)] {
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/tasks/submit");
        let refused = app
            .send(request.header("Idempotency-Key", key).json(&task("x")))
            .await;
        assert_eq!(
            refused.refuses(400, "invalid_header").body["parameter"],
            "Idempotency-Key"
        );
    }
}

#[tokio::test]
async fn queued_and_running_tasks_are_called_off() {
    let app = TestApp::start().await;
    let queued = app.submit(&task("x")).await;
    let cancelled = app
        .post(&format!("/api/v1/tasks/{queued}/cancel"), &Value::Null)
        .await
        .is(200);
    assert_eq!(cancelled.body["status"], "cancelled");
    assert_eq!(app.result(&queued).await["success"], false);
    let again = app
        .post(&format!("/api/v1/tasks/{queued}/cancel"), &json!({}))
        .await;
    again.refuses(409, "task_is_final");

    app.bot(
        "sleeper",
        json!({"kind": "command", "command": ["sleep", "1000"]}),
        &[],
    )
    .await;
    let running = app.submit(&task("y")).await;
    let status = format!("/api/v1/tasks/{running}/status");
    app.until("it runs", async |app| {
        app.get(&status).await.body["status"] == "running"
    })
    .await;
    app.post(&format!("/api/v1/tasks/{running}/cancel"), &Value::Null)
        .await
        .is(200);
    assert_eq!(app.result(&running).await["success"], false);
    assert_eq!(app.get(&status).await.body["status"], "cancelled");
}

#[tokio::test]
async fn tasks_are_listed_filtered_and_paged() {
    let app = TestApp::start().await;
    let mut submitted = Vec::new();
    for n in 0..7 {
        let (kind, priority) = if n % 2 == 0 {
            ("even", "P0")
        } else {
            ("odd", "P3")
        };
        let body = json!({"type": kind, "priority": priority, "content": "secret content"});
        submitted.push(app.submit(&body).await);
    }
    submitted.reverse();
    let ids = |body: &Value| -> Vec<String> {
        let items = body["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/api/v1/tasks?limit=3{cursor}"))
            .await
            .is(200)
            .body;
        assert!(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|item| item["content"].is_null())
        );
        found.extend(ids(&page));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, submitted, "all of them once, the newest first");
    for (query, expected) in [
        ("type=even", 4),
        ("type=odd&priority=P3", 3),
        ("type=odd&priority=P0", 0),
        ("status=queued", 7),
        ("status=completed", 0),
        ("submitter=admin", 7),
        ("submitter=nobody", 0),
        ("bot=none", 0),
    ] {
        let page = app
            .get(&format!("/api/v1/tasks?{query}"))
            .await
            .is(200)
            .body;
        assert_eq!(ids(&page).len(), expected, "{query}");
    }
    let depth = app.get("/api/v1/queue").await.is(200).body;
    assert_eq!(depth["totals"]["queued"], 7);
}

#[tokio::test]
async fn a_trace_reaches_the_program() {
    let app = TestApp::start().await;
    app.bot("env", json!({"kind": "command", "command": ["env"]}), &[])
        .await;
    for (trace, kept) in [(TRACE, true), ("not a trace", false)] {
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/tasks/submit");
        let accepted = app
            .send(request.header("traceparent", trace).json(&task("x")))
            .await
            .is(202);
        let result = app.result(accepted.body["id"].as_str().unwrap()).await;
        let output = result["output"].as_str().unwrap().to_lowercase();
        assert_eq!(output.contains(TRACE), kept, "{output}");
    }
}

#[tokio::test]
async fn an_external_user_sees_only_its_own_tasks() {
    let app = TestApp::start().await;
    let (ada, bob) = (
        app.key("ada", "external").await,
        app.key("bob", "external").await,
    );
    let accepted = app
        .post_as(&ada, "/api/v1/tasks/submit", &task("ada's"))
        .await
        .is(202);
    let id = accepted.body["id"].as_str().unwrap();
    for path in ["", "/status", "/result"] {
        let path = format!("/api/v1/tasks/{id}{path}");
        app.get_as(&bob, &path).await.refuses(404, "not_found");
    }
    let cancel = format!("/api/v1/tasks/{id}/cancel");
    app.post_as(&bob, &cancel, &Value::Null)
        .await
        .refuses(404, "not_found");
    for query in ["", "?submitter=ada"] {
        let list = app
            .get_as(&bob, &format!("/api/v1/tasks{query}"))
            .await
            .is(200);
        assert_eq!(list.body["items"], json!([]), "{query}");
    }
    assert_eq!(
        app.get_as(&ada, "/api/v1/tasks").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    app.post_as(&ada, &cancel, &Value::Null).await.is(200);
    let viewer = app.key("vic", "viewer").await;
    app.get_as(&viewer, &format!("/api/v1/tasks/{id}"))
        .await
        .is(200);
}

#[tokio::test]
async fn a_silent_bot_keeps_its_task_and_a_long_poll_waits() {
    let app = TestApp::start().await;
    app.bot("silent", silent(), &[]).await;
    let id = app.submit(&task("x")).await;
    let path = format!("/api/v1/tasks/{id}/result?wait_ms=200");
    let begun = std::time::Instant::now();
    app.get(&path).await.refuses(409, "task_not_finished");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(200));
}
