//! Inputs that would be changed, misread or too much: refused with their place.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli_support::CliHive,
    support::{Answer, TestApp, task, upper},
};

async fn raw(app: &TestApp, method: Method, path: &str, body: String) -> Answer {
    let request = app
        .request_as(&app.admin, method, path)
        .header("content-type", "application/json")
        .body(body);
    app.send(request).await
}

fn pointer(answer: &Answer) -> &str {
    answer.body["errors"][0]["pointer"].as_str().unwrap()
}

#[tokio::test]
async fn json_that_means_different_things_to_readers_is_refused() {
    let app = TestApp::start().await;
    let submit = |metadata: &str| {
        (
            Method::POST,
            "/api/v1/tasks/submit",
            format!(r#"{{"type":"x","content":"x","metadata":{metadata}}}"#),
        )
    };
    let bot = |env: &str| {
        let bot = json!({"executor": {"kind": "command", "command": ["true"], "env": {}},
            "capabilities": {"bot_type": "general", "specializations": [], "max_concurrent_tasks": 1}});
        let body = bot
            .to_string()
            .replace(r#""env":{}"#, &format!(r#""env":{env}"#));
        (Method::PUT, "/api/v1/bots/b", body)
    };
    let purge = |metadata: &str| {
        let body = format!(r#"{{"metadata":{metadata}}}"#);
        (Method::POST, "/api/v1/queue/purge", body)
    };
    let deep = |levels: usize| {
        format!(
            r#"{{"k":{}{}}}"#,
            "[".repeat(levels - 1),
            "]".repeat(levels - 1)
        )
    };
    for ((method, path, body), at) in [
        (submit(r#"{"amount":1,"amount":-1}"#), "/metadata/amount"),
        (submit(r#"{"a":[{"b":1,"b":1}]}"#), "/metadata/a/0/b"),
        (
            submit(r#"{"d":123456789012345678901234567890}"#),
            "/metadata/d",
        ),
        (submit(r#"{"d":[-9223372036854775809]}"#), "/metadata/d/0"),
        (submit(r#"{"d":1e-400}"#), "/metadata/d"),
        (submit(&deep(33)), "/metadata/k"),
        (submit(&deep(500)), "/metadata/k"),
        (bot(r#"{"TOKEN":"a","TOKEN":"b"}"#), "/executor/env/TOKEN"),
        (purge(r#"{"a":"1","a":"2"}"#), "/metadata/a"),
    ] {
        let answer = raw(&app, method, path, body.clone()).await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        assert!(pointer(&answer).starts_with(at), "{body}: {answer:?}");
        assert!(pointer(&answer).len() < 100, "{body}: {answer:?}");
    }
    let kept = r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":"12345678901234567890123"}"#;
    for metadata in [kept, &deep(32)] {
        let (method, path, body) = submit(metadata);
        let accepted = raw(&app, method, path, body).await.is(202).body;
        let id = accepted["id"].as_str().unwrap();
        let read = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        let expected: Value = serde_json::from_str(metadata).unwrap();
        assert_eq!(read["metadata"], expected);
    }
}

#[tokio::test]
async fn byte_order_marks_in_a_body_are_named() {
    let app = TestApp::start().await;
    let body = format!("\u{feff}{}", task("x"));
    let answer = raw(&app, Method::POST, "/api/v1/tasks/submit", body).await;
    let answer = answer.refuses(400, "malformed_json");
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("byte order mark")
    );
}

#[tokio::test]
async fn times_of_tasks_are_rfc_3339() {
    let app = TestApp::start().await;
    for (time, status) in [
        ("2099-12-29T02:30:00.1234567891Z", 202),
        ("2099-12-29t02:30:00-00:00", 202),
        ("2026-12-29T02:30:00-08:00[Europe/Berlin]", 422),
        ("20260329T023000Z", 422),
        ("2026-03-29 02:30:00Z", 422),
        ("2026-03-29T02:30:00+0100", 422),
        ("+002026-03-29T02:30:00Z", 422),
    ] {
        let body = json!({"type": "tz", "content": "x", "run_at": time});
        let answer = app.post("/api/v1/tasks/submit", &body).await;
        assert_eq!(answer.status, status, "{time}: {answer:?}");
        let query = format!(
            "/api/v1/tasks?created_after={}",
            time.replace('+', "%2B").replace(' ', "%20")
        );
        let listed = app.get(&query).await.status;
        assert_eq!(listed, if status == 202 { 200 } else { 422 }, "{time}");
    }
    let unescaped = app
        .get("/api/v1/tasks?created_after=2026-11-20T08:30:00+01:00")
        .await;
    assert_eq!(unescaped.status, 422);
    assert!(
        unescaped.body["detail"].as_str().unwrap().contains("%2B"),
        "{unescaped:?}"
    );
}

#[tokio::test]
async fn lists_and_bulk_changes_mean_the_same_tasks_for_every_key() {
    let app = TestApp::start().await;
    for key in ["plain", "", ":", "a:b", r"a\", r"\:", "=", "ä b&c"] {
        let mut new = task("x");
        new["metadata"] = json!({key: "v:w"});
        let id = app.post("/api/v1/tasks/submit", &new).await.is(202).body["id"].clone();
        let escaped = key.replace('\\', r"\\").replace(':', r"\:");
        let url =
            reqwest::Url::parse_with_params("http://x/", [("metadata", format!("{escaped}:v:w"))]);
        let path = format!("/api/v1/tasks?{}", url.unwrap().query().unwrap());
        let listed = app.get(&path).await.is(200).body;
        let ids: Vec<_> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| &task["id"])
            .collect();
        assert_eq!(ids, [&id], "{key}");
        let purged = app
            .post("/api/v1/queue/purge", &json!({"metadata": {key: "v:w"}}))
            .await;
        assert_eq!(purged.is(200).body["changed"], 1, "{key}");
    }
}

#[tokio::test]
async fn commands_that_no_kernel_starts_are_refused() {
    let app = TestApp::start().await;
    let bot = |words: usize| {
        let mut command = vec!["true".to_owned()];
        command.extend(vec!["x".repeat(32_000); words]);
        json!({"executor": {"kind": "command", "command": command},
            "capabilities": {"bot_type": "general", "specializations": [], "max_concurrent_tasks": 1}})
    };
    let answer = app.put("/api/v1/bots/big", &bot(33)).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert_eq!(pointer(&answer), "/executor/command");
    app.put("/api/v1/bots/large", &bot(30)).await.is(201);
    app.post("/api/v1/bots/large/launch", &Value::Null)
        .await
        .is(202);
    let id = app
        .post("/api/v1/tasks/submit", &task("x"))
        .await
        .is(202)
        .body["id"]
        .clone();
    assert_eq!(app.result(id.as_str().unwrap()).await["success"], true);
}

#[tokio::test]
async fn external_submitters_together_leave_types_to_the_others() {
    let settings = [
        "bots.seed=[]",
        "tasks.max_types=4",
        "tasks.max_types_external=2",
        "tasks.retry_after=7s",
        "tasks.per_submitter.external.max_waiting=2",
    ];
    let app = TestApp::start_with(&settings).await;
    let of_type = |name: &str| json!({"type": name, "content": "x"});
    let path = "/api/v1/tasks/submit";
    let eve = app.key("eve", "external").await;
    let bob = app.key("bob", "external").await;
    app.post_as(&eve, path, &of_type("a")).await.is(202);
    app.post_as(&bob, path, &of_type("b")).await.is(202);
    let refused = app.post_as(&bob, path, &of_type("c")).await;
    let refused = refused.refuses(422, "invalid_input");
    let told = refused.body["errors"][0]["detail"].as_str().unwrap();
    assert!(told.contains("tasks.max_types_external"), "{told}");
    for name in ["c", "d"] {
        app.post(path, &of_type(name)).await.is(202);
    }
    app.post(path, &of_type("e"))
        .await
        .refuses(422, "invalid_input");
    app.post_as(&bob, path, &of_type("b")).await.is(202);
    let full = app.post_as(&bob, path, &of_type("b")).await;
    let full = full.refuses(429, "queue_share_used_up");
    assert_eq!(full.header("retry-after"), "7");
}

#[tokio::test]
async fn full_shares_answer_429_and_a_full_queue_503_with_retry_after() {
    let settings = [
        "bots.seed=[]",
        "tasks.max_waiting=5",
        "tasks.per_submitter.external.max_waiting=2",
        "tasks.per_submitter.external.max_waiting_bytes=100B",
        "tasks.per_submitter.external.max_types=2",
        "tasks.max_types=4",
    ];
    let app = TestApp::start_with(&settings).await;
    let eve = app.key("eve", "external").await;
    let of_type = |name: &str| json!({"type": name, "content": "x"});
    let submit =
        async |key: &str, body: &Value| app.post_as(key, "/api/v1/tasks/submit", body).await;
    let large = json!({"type": "a", "content": "x".repeat(101)});
    submit(&eve, &large)
        .await
        .refuses(429, "queue_share_used_up");
    let first = submit(&eve, &of_type("a")).await.is(202).body["id"].clone();
    submit(&eve, &of_type("b")).await.is(202);
    let refused = submit(&eve, &of_type("a")).await;
    let refused = refused.refuses(429, "queue_share_used_up");
    assert!(refused.headers.contains_key("retry-after"));
    // Others are not hindered.
    submit(&app.admin, &of_type("c")).await.is(202);
    let cancel = format!("/api/v1/tasks/{}/cancel", first.as_str().unwrap());
    app.post_as(&eve, &cancel, &Value::Null).await.is(200);
    // A further type is too many, even if others use it.
    let known = submit(&eve, &of_type("c")).await;
    let unknown = submit(&eve, &of_type("z")).await;
    assert_eq!((known.status, unknown.status), (422, 422));
    assert_eq!(known.body["errors"], unknown.body["errors"]);
    submit(&eve, &of_type("b")).await.is(202);
    submit(&app.admin, &of_type("c")).await.is(202);
    submit(&app.admin, &of_type("c")).await.is(202);
    let full = submit(&app.admin, &of_type("c")).await;
    let full = full.refuses(503, "queue_full");
    assert!(full.headers.contains_key("retry-after"));
    let retry = format!("/api/v1/tasks/{}/retry", first.as_str().unwrap());
    app.post_as(&eve, &retry, &Value::Null)
        .await
        .refuses(429, "queue_share_used_up");
    app.bot("up", upper(), &[]).await;
    app.until("room", async |app| {
        app.post("/api/v1/tasks/submit", &of_type("c")).await.status == 202
    })
    .await;
}

#[test]
fn files_may_begin_with_a_byte_order_mark() {
    let hive = CliHive::start(&[]);
    let lines = format!("\u{feff}{}\n{}\n", task("x"), task("y"));
    hive.admin_reading(&lines, &["task", "submit", "--file", "-"])
        .ok();
    let spec = json!({"executor": {"kind": "command", "command": ["true"]},
        "capabilities": {"bot_type": "general", "specializations": [], "max_concurrent_tasks": 1}});
    let spec = format!("\u{feff}{spec}");
    hive.admin_reading(&spec, &["bot", "add", "marked", "--file", "-"])
        .ok();
    let file = hive.path("marked.yaml");
    std::fs::write(&file, "\u{feff}server:\n  workers: 1\n").unwrap();
    hive.admin(&["config", "check", file.to_str().unwrap()])
        .ok();
}

#[test]
fn empty_variables_are_taken_for_absent() {
    let hive = CliHive::start(&[]);
    for name in [
        "DEIA_URL",
        "DEIA_PROFILE",
        "DEIA_KEY_FILE",
        "DEIA_CA_FILE",
        "DEIA_DATA_DIR",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deia-admin"));
        // As by default: the key in ./data, and a hive where it usually is, if any.
        command
            .args(["whoami"])
            .current_dir(hive.path("data").parent().unwrap())
            .env("XDG_CONFIG_HOME", hive.path("none"))
            .env(name, "");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Neither wrong usage nor a profile that is not there.
        let code = output.status.code();
        assert!(
            !matches!(code, Some(1 | 2 | 4) | None),
            "{name}: {code:?} {said}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deia"));
        command
            .args(["check", "--bind", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .env(name, value);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    for name in [
        "DEIA__SERVER__BIND",
        "DEIA__SERVER__WORKERS",
        "DEIA__NO_SUCH",
    ] {
        let (good, said) = check(name, "");
        assert!(good, "{name}: {said}");
    }
    for (name, value, expected) in [
        (
            "DEIA__SERVER__BNID",
            "x",
            "environment DEIA__SERVER__BNID: no such setting; did you mean server.bind?",
        ),
        (
            "DEIA__SERVER__WORKERS",
            "many",
            "(set by environment DEIA__SERVER__WORKERS)",
        ),
        (
            "DEIA__SERVER__WORKERS",
            "300",
            "(set by environment DEIA__SERVER__WORKERS)",
        ),
    ] {
        let (good, said) = check(name, value);
        assert!(!good && said.contains(expected), "{name}: {said}");
    }
}
