//! Fallback bots: they take the tasks of a bot that takes none, whatever types they take
//! otherwise, and the bot takes them again when it works.

use serde_json::{Value, json};

use crate::support::{TestApp, task, upper};

/// A bot whose program fails as long as there is a file.
fn fails_while(file: &std::path::Path) -> Value {
    let script = format!("cat; test ! -e '{}'", file.display());
    json!({"kind": "command", "command": ["sh", "-c", script]})
}

async fn put(app: &TestApp, name: &str, spec: &Value) {
    let put = app.put(&format!("/api/v1/bots/{name}"), spec).await;
    assert!([200, 201].contains(&put.status), "{put:#?}");
    let launch = format!("/api/v1/bots/{name}/launch");
    app.post(&launch, &Value::Null).await.is(202);
    app.until("the bot is healthy", async |app| {
        show(app, name).await["status"] == "healthy"
    })
    .await;
}

async fn show(app: &TestApp, name: &str) -> Value {
    app.get(&format!("/api/v1/bots/{name}")).await.is(200).body
}

fn spec(executor: &Value, types: &[&str], fallback: &[&str]) -> Value {
    json!({"executor": executor, "fallback": fallback,
        "capabilities": {"specializations": types, "max_concurrent_tasks": 2}})
}

/// Returns the events of that action, oldest first.
async fn events(app: &TestApp, action: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?action={action}&limit=100");
    let mut page = app.get(&path).await.is(200).body["items"].take();
    let mut events = page.as_array_mut().unwrap().split_off(0);
    events.reverse();
    events
}

#[actix_rt::test]
async fn fallback_bot_takes_the_tasks_of_a_bot_behind_an_open_circuit_until_it_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken");
    std::fs::write(&broken, "").unwrap();
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "bots.circuit.failures=2",
        "bots.circuit.open_for=300ms",
        "bots.circuit.max_open=300ms",
        "bots.fallback_every=100ms",
    ])
    .await;
    put(&app, "spare", &spec(&upper(), &["other"], &[])).await;
    let main = spec(&fails_while(&broken), &["general"], &["spare", "ghost"]);
    put(&app, "main", &main).await;
    let warned = app.put("/api/v1/bots/main", &main).await.is(200).body;
    let warnings = warned["warnings"].to_string();
    assert!(
        warnings.contains("the fallback bot ghost does not exist"),
        "{warnings}"
    );
    app.until("main runs as it is wanted", async |app| {
        show(app, "main").await["status"] == "healthy"
    })
    .await;
    assert_eq!(
        show(&app, "main").await["fallback"],
        json!(["spare", "ghost"])
    );

    // Failures of different tasks open the circuit.
    let mut first = Vec::new();
    for n in 0..4 {
        let mut task = task(&format!("small {n}"));
        task["max_attempts"] = json!(20);
        task["retry"] = json!({"min_ms": 10, "max_ms": 10, "jitter": 0});
        first.push(app.submit(&task).await);
    }
    for id in &first {
        let result = app.result(id).await;
        assert_eq!(
            (&result["success"], &result["bot_id"]),
            (&json!(true), &json!("spare"))
        );
    }
    let bot = show(&app, "main").await;
    assert_eq!(bot["fallback_in_use"]["reason"], "circuit_open", "{bot:#}");
    assert_eq!(show(&app, "spare").await["stands_in_for"], json!(["main"]));
    let begun = events(&app, "bot.fallback_started").await;
    assert_eq!(begun[0]["target"]["id"], "main", "{begun:#?}");
    assert_eq!(begun[0]["details"]["reason"], "circuit_open", "{begun:#?}");
    assert_eq!(
        begun[0]["details"]["bots"],
        json!(["spare", "ghost"]),
        "{begun:#?}"
    );
    let started = events(&app, "task.started").await;
    let chosen = started.iter().filter(|it| it["bot_id"] == "spare");
    let chosen: Vec<_> = chosen.collect();
    assert!(!chosen.is_empty());
    for event in chosen {
        assert_eq!(event["details"]["stands_in_for"], "main", "{event:#}");
    }

    std::fs::remove_file(&broken).unwrap();
    let mut tried = 0;
    app.until("main takes its tasks itself again", async |app| {
        tried += 1;
        let id = app.submit(&task(&format!("again {tried}"))).await;
        app.result(&id).await;
        show(app, "main").await["fallback_in_use"].is_null()
    })
    .await;
    assert_eq!(events(&app, "bot.fallback_ended").await.len(), 1);
    let spare = show(&app, "spare").await;
    assert!(spare["stands_in_for"].is_null(), "{spare:#}");
    let id = app.submit(&task("own")).await;
    assert_eq!(app.result(&id).await["bot_id"], "main");
}

#[actix_rt::test]
async fn tasks_of_a_suspended_bot_go_to_its_fallback_bot_and_task_why_names_it() {
    let app = TestApp::start_with(&["bots.seed=[]", "bots.fallback_every=100ms"]).await;
    let slow = json!({"kind": "simulated", "latency_ms": 600_000});
    put(&app, "spare", &spec(&slow, &["other"], &[])).await;
    put(&app, "main", &spec(&upper(), &["general"], &["spare"])).await;
    let path = "/api/v1/supervisors/hive/core/bots/main/suspend";
    app.post(path, &Value::Null).await.is(200);
    app.until("the fallback bot stands in", async |app| {
        show(app, "spare").await["stands_in_for"] == json!(["main"])
    })
    .await;
    assert_eq!(
        show(&app, "main").await["fallback_in_use"]["reason"],
        "suspended"
    );
    // The fallback bot runs two at a time.
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(app.submit(&task(&format!("{n}"))).await);
    }
    app.until("two tasks run", async |app| {
        show(app, "spare").await["running_tasks"] == 2
    })
    .await;
    let why = app
        .get(&format!("/api/v1/tasks/{}/explain", ids[2]))
        .await
        .is(200)
        .body;
    assert_eq!(why["hold"], "bots_are_busy", "{why:#}");
    let fits = why["bots"].as_array().unwrap();
    let spare = fits.iter().find(|fit| fit["id"] == "spare").unwrap();
    assert_eq!(spare["stands_in_for"], "main", "{why:#}");
    assert!(why["detail"].as_str().unwrap().contains("spare"), "{why:#}");
}

#[actix_rt::test]
async fn invalid_fallback_bots_are_refused_with_a_pointer() {
    let app = TestApp::start().await;
    for (fallback, pointer) in [
        (&["a"][..], "/fallback/0"),
        (&["b", "c", "b"], "/fallback/2"),
        (&["No Name"], "/fallback/0"),
    ] {
        let refused = app
            .put("/api/v1/bots/a", &spec(&upper(), &[], fallback))
            .await;
        let refused = refused.refuses(422, "invalid_input");
        assert_eq!(refused.pointers(), [pointer], "{fallback:?}");
    }
}
