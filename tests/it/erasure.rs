//! The content of a task is erased, and all that came of it.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli_support::CliHive,
    support::{Answer, TestApp},
};

const SAID: &str = "what nobody is to know any more";

async fn erase(app: &TestApp, key: &str, id: &str) -> Answer {
    let path = format!("/api/v1/tasks/{id}/content");
    app.send(app.request_as(key, Method::DELETE, &path)).await
}

fn said(task_type: &str) -> Value {
    json!({"type": task_type, "content": SAID, "metadata": {"a": SAID}, "tags": ["kept"], "max_attempts": 1})
}

#[tokio::test]
async fn erasure_removes_content_and_output_and_keeps_the_record() {
    let settings = [
        "bots.seed=[]",
        "tasks.max_output_bytes=1KiB",
        "logging.access=true",
        "bots.log_max_bytes=4KiB",
        // An archive keeps what was erased for recovery.retention.
        "recovery.mode=off",
    ];
    let mut app = TestApp::start_with(&settings).await;
    let much = [
        "sh",
        "-c",
        "t=$(cat); for i in $(seq 200); do echo \"$t\"; done",
    ];
    app.bot(
        "much",
        json!({"kind": "command", "command": much}),
        &["much"],
    )
    .await;
    let fails = ["sh", "-c", "cat; exit 3"];
    app.bot(
        "fails",
        json!({"kind": "command", "command": fails}),
        &["fails"],
    )
    .await;
    let (ada, bob) = (
        app.key("ada", "external").await,
        app.key("bob", "external").await,
    );
    for task_type in ["much", "fails"] {
        let submitted = app
            .post_as(&ada, "/api/v1/tasks/submit", &said(task_type))
            .await
            .is(202);
        let id = submitted.body["id"].as_str().unwrap();
        app.result(id).await;
        let outputs = app.data_dir().join("outputs").join(id);
        assert!(outputs.exists(), "{task_type}");

        erase(&app, &bob, id).await.refuses(404, "not_found");
        for _ in 0..2 {
            erase(&app, &ada, id).await.is(204);
        }
        assert!(!outputs.exists());
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        let result = app
            .get(&format!("/api/v1/tasks/{id}/result"))
            .await
            .is(200)
            .body;
        let events = app
            .get(&format!("/api/v1/tasks/{id}/events"))
            .await
            .is(200)
            .body;
        let list = app.get("/api/v1/tasks").await.is(200).body;
        for body in [&task, &result, &events, &list] {
            assert!(!body.to_string().contains(SAID), "{body:#}");
        }
        assert_eq!(
            (&task["content"], &task["metadata"]),
            (&Value::Null, &json!({}))
        );
        assert_eq!(task["tags"], json!(["kept"]));
        assert_eq!(result["output"], Value::Null);
        assert!(task["erased_at"].is_string() && result["erased_at"] == task["erased_at"]);
        let erasures = events["items"].as_array().unwrap().iter();
        let erasures = erasures.filter(|event| event["action"] == "task.erased");
        let actors: Vec<_> = erasures.map(|event| event["actor"].clone()).collect();
        assert_eq!(actors, ["ada"], "once");
        let output = app.get(&format!("/api/v1/tasks/{id}/output")).await;
        output.refuses(404, "output_missing");
        let retry = app
            .post(&format!("/api/v1/tasks/{id}/retry"), &Value::Null)
            .await;
        retry.refuses(409, "task_is_erased");
    }
    assert!(app.stop().success());
    let mut left = vec![app.data_dir().to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(SAID.len()).any(|at| at == SAID.as_bytes());
        assert!(!found, "{}", path.display());
    }
    assert!(!app.log().contains(SAID));
}

#[tokio::test]
async fn erasure_needs_an_ended_task_and_permission() {
    let app = TestApp::start().await;
    let submitted = app
        .post("/api/v1/tasks/submit", &said("general"))
        .await
        .is(202);
    let id = submitted.body["id"].as_str().unwrap();
    erase(&app, &app.admin, id)
        .await
        .refuses(409, "task_is_unfinished");
    app.post(&format!("/api/v1/tasks/{id}/cancel"), &Value::Null)
        .await
        .is(200);
    for role in ["viewer", "bot"] {
        let key = app.key(&format!("a-{role}"), role).await;
        erase(&app, &key, id)
            .await
            .refuses(403, "permission_denied");
    }
    let operator = app.key("a-operator", "operator").await;
    erase(&app, &operator, id).await.is(204);
    let unknown = "task_01h455vb4pex5vsknk084sn02q";
    erase(&app, &operator, unknown)
        .await
        .refuses(404, "not_found");
}

#[test]
fn the_command_line_asks_before_it_erases() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["a secret"]);
    hive.admin(&["task", "result", &id, "--wait"]).ok();
    hive.admin(&["task", "erase", &id])
        .exits(2)
        .only_tells("--yes");
    hive.admin(&["task", "erase", &id, "--yes"])
        .ok()
        .only_tells("is erased");
    let shown = hive.admin(&["task", "show", &id]).ok();
    assert!(
        shown.out.contains("erased") && !shown.out.contains("a secret"),
        "{shown:?}"
    );
    hive.admin(&["task", "retry", &id])
        .exits(6)
        .only_tells("erased");
}
