//! Fleets of bots: groups and labels, and replacement of specifications.

use serde_json::{Value, json};

use crate::support::TestApp;

async fn put(app: &TestApp, name: &str, spec: &Value) {
    let path = format!("/api/v1/bots/{name}");
    app.put(&path, spec).await.is(201);
}

async fn names(app: &TestApp, query: &str) -> Vec<String> {
    let path = format!("/api/v1/bots{query}");
    let page = app.get(&path).await.is(200).body;
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|bot| bot["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn bots_are_selected_by_group_and_labels() {
    let app = TestApp::start().await;
    let simulated = json!({"kind": "simulated"});
    for (name, group, labels) in [
        ("a", json!("agents"), json!({"team": "core", "tier": "1"})),
        ("b", json!("agents"), json!({"team": "edge"})),
        ("c", json!("others"), json!({"team": "core"})),
    ] {
        let spec = json!({"executor": simulated, "group": group, "labels": labels,
            "template": "t"});
        put(&app, name, &spec).await;
    }
    put(&app, "d", &json!({"executor": simulated})).await;
    for (query, expected) in [
        ("", &["a", "b", "c", "d"][..]),
        ("?group=agents", &["a", "b"]),
        ("?label=team%3Dcore", &["a", "c"]),
        ("?label=team=core&label=tier=1", &["a"]),
        ("?group=agents&label=team=core", &["a"]),
        ("?group=nobody", &[]),
    ] {
        assert_eq!(names(&app, query).await, expected, "{query}");
    }
    app.get("/api/v1/bots?label=team").await.is(422);
    let bot = app.get("/api/v1/bots/a").await.is(200).body;
    assert_eq!(
        (&bot["group"], &bot["labels"]["tier"], &bot["template"]),
        (&json!("agents"), &json!("1"), &json!("t"))
    );
    for (field, value, pointer) in [
        ("group", json!("No Good"), "/group"),
        ("labels", json!({"Team": "x"}), "/labels/Team"),
        ("labels", json!({"team": 1}), "/labels/team"),
    ] {
        let mut spec = json!({"executor": simulated});
        spec[field] = value;
        let refused = app.put("/api/v1/bots/e", &spec).await.is(422).body;
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
}

/// A bot whose tasks end once the file is there.
fn waits_for(file: &std::path::Path, words: &str) -> Value {
    let script = format!(
        "while ! test -e {}; do sleep 0.05; done; echo {words}",
        file.display()
    );
    json!({"executor": {"kind": "command", "command": ["sh", "-c", script]},
        "capabilities": {"max_concurrent_tasks": 1}})
}

async fn running(app: &TestApp) -> String {
    let id = app.submit(&json!({"type": "t", "content": "x"})).await;
    let path = format!("/api/v1/tasks/{id}");
    app.until("the task runs", async |app| {
        let bot = app.get("/api/v1/bots/b").await.body;
        app.get(&path).await.body["status"] == "running" && bot["pids"] != json!([])
    })
    .await;
    id
}

#[tokio::test]
async fn a_replaced_bot_finishes_its_running_tasks_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("go");
    let app = TestApp::start().await;
    put(&app, "b", &waits_for(&file, "old")).await;
    app.post("/api/v1/bots/b/launch", &Value::Null)
        .await
        .is(202);
    let first = running(&app).await;
    let replaced = app.put("/api/v1/bots/b", &waits_for(&file, "new")).await;
    assert_eq!(replaced.is(200).body["version"], 2);
    let second = app.submit(&json!({"type": "t", "content": "x"})).await;
    app.until("the bot drains", async |app| {
        app.get("/api/v1/bots/b").await.body["status"] == "draining"
    })
    .await;
    let path = format!("/api/v1/tasks/{second}");
    assert_eq!(app.get(&path).await.body["status"], "queued");
    std::fs::write(&file, "").unwrap();
    let (first, second) = (app.result(&first).await, app.result(&second).await);
    assert_eq!(
        (&first["output"], &first["attempt"]),
        (&json!("old\n"), &json!(1)),
        "{first}"
    );
    assert_eq!(second["output"], "new\n", "{second}");
}

#[tokio::test]
async fn running_tasks_are_given_back_at_once_on_request_or_at_the_limit() {
    for (query, limit) in [("?now=true", "10m"), ("", "300ms"), ("", "0s")] {
        let dir = tempfile::tempdir().unwrap();
        let (never, at_once) = (dir.path().join("never"), dir.path());
        let limit = format!("bots.replace_drain={limit}");
        let settings = ["bots.seed=[]", "bots.term_grace=100ms", &limit];
        let app = TestApp::start_with(&settings).await;
        put(&app, "b", &waits_for(&never, "old")).await;
        app.post("/api/v1/bots/b/launch", &Value::Null)
            .await
            .is(202);
        let id = running(&app).await;
        let path = format!("/api/v1/bots/b{query}");
        app.put(&path, &waits_for(at_once, "new")).await.is(200);
        let result = app.result(&id).await;
        assert_eq!(result["output"], "new\n", "{limit}{query}: {result}");
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.body;
        assert_eq!(task["failures"], 0, "given back: {task}");
    }
}

#[tokio::test]
async fn a_bot_gets_no_port_that_something_else_listens_at() {
    let listen = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port));
    let foreign = listen(0).unwrap();
    let first = foreign.local_addr().unwrap().port();
    let settings = [
        "bots.seed=[]".to_owned(),
        format!("bots.first_port={first}"),
        format!("bots.last_port={}", first.saturating_add(50)),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let app = TestApp::start_with(&settings).await;
    let spec =
        json!({"executor": {"kind": "command", "command": ["sh", "-c", "echo $DEIA_BOT_PORT"]}});
    put(&app, "b", &spec).await;
    let port = async |app: &TestApp| app.get("/api/v1/bots/b").await.body["port"].as_u64();
    let given = port(&app).await.unwrap();
    assert!(given > u64::from(first), "{given}");
    let other = listen(u16::try_from(given).unwrap()).unwrap();
    let launched = app.post("/api/v1/bots/b/launch", &Value::Null).await;
    let launched = launched.is(202).body;
    let warnings = launched["warnings"].to_string();
    assert!(
        warnings.contains(&format!("listens at port {given}")),
        "{launched}"
    );
    let moved = port(&app).await.unwrap();
    assert!(moved > given, "{moved}");
    let id = app.submit(&json!({"type": "t", "content": "x"})).await;
    assert_eq!(app.result(&id).await["output"], format!("{moved}\n"));
    drop((foreign, other));
}
