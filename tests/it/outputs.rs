//! Journeys of whoever reads what programs print: while they do, and afterwards.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{TestApp, silent, task};

const MIB: u64 = 1 << 20;

pub(crate) fn shell(script: &str) -> Value {
    json!({"kind": "command", "command": ["sh", "-c", script]})
}

async fn output(app: &TestApp, id: &str, query: &str) -> Response {
    let path = format!("/api/v1/tasks/{id}/output{query}");
    let request = app.request_as(&app.admin, Method::GET, &path);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{:?}", response.text().await);
    response
}

async fn whole(app: &TestApp, id: &str, query: &str) -> Vec<u8> {
    output(app, id, query).await.bytes().await.unwrap().to_vec()
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap()).to_owned()
}

#[tokio::test]
async fn an_output_is_read_while_it_is_printed_and_gone_on_with() {
    let app = TestApp::start().await;
    let script = "echo one; until [ -e go ]; do sleep 0.02; done; echo two; cat";
    app.bot("patient", shell(script), &[]).await;
    let id = app.submit(&task("three")).await;
    app.until("it runs", async |app| {
        let path = format!("/api/v1/tasks/{id}/status");
        app.get(&path).await.body["status"] == "running"
    })
    .await;
    let mut live = output(&app, &id, "").await;
    assert_eq!(header(&live, "deia-attempt"), "1");
    assert_eq!(header(&live, "deia-output-length"), "", "not known yet");
    assert_eq!(live.chunk().await.unwrap().unwrap(), "one\n");
    drop(live);
    assert_eq!(whole(&app, &id, "?follow=false").await, b"one\n");
    assert_eq!(whole(&app, &id, "?follow=false&offset=2").await, b"e\n");
    assert_eq!(whole(&app, &id, "?follow=false&offset=4").await, b"");
    let live = output(&app, &id, "?offset=2&attempt=1").await;
    let refused = format!("/api/v1/tasks/{id}/output");
    app.get(&format!("{refused}?offset=5"))
        .await
        .refuses(416, "beyond_output");
    app.get(&format!("{refused}?attempt=2"))
        .await
        .refuses(409, "no_output");
    std::fs::write(app.data_dir().join("work/patient/go"), "").unwrap();
    assert_eq!(live.bytes().await.unwrap(), "e\ntwo\nthree");

    let result = app.result(&id).await;
    assert_eq!(result["output"], "one\ntwo\nthree");
    assert_eq!(
        (&result["output_truncated"], &result["output_bytes"]),
        (&json!(false), &Value::Null)
    );
    let stored = output(&app, &id, "").await;
    assert_eq!(header(&stored, "deia-output-length"), "13");
    assert_eq!(stored.bytes().await.unwrap(), "one\ntwo\nthree");
    assert_eq!(whole(&app, &id, "?offset=8&attempt=1").await, b"three");
    assert_eq!(whole(&app, &id, "?offset=13").await, b"");
    assert_eq!(whole(&app, &id, "?offset=8&follow=false").await, b"three");
    app.get(&format!("{refused}?offset=14"))
        .await
        .refuses(416, "beyond_output");
    app.get(&format!("{refused}?follow=maybe"))
        .await
        .refuses(422, "invalid_parameter");
    app.get(&format!("{refused}?offset=-1"))
        .await
        .refuses(422, "invalid_parameter");
}

#[tokio::test]
async fn an_output_that_is_not_there_or_not_ones_own() {
    let app = TestApp::start().await;
    let (ada, bob) = (
        app.key("ada", "external").await,
        app.key("bob", "external").await,
    );
    let accepted = app
        .post_as(&ada, "/api/v1/tasks/submit", &task("x"))
        .await
        .is(202);
    let path = format!(
        "/api/v1/tasks/{}/output",
        accepted.body["id"].as_str().unwrap()
    );
    app.get_as(&ada, &path).await.refuses(409, "no_output");
    app.get_as(&bob, &path).await.refuses(404, "not_found");
    app.bot("silent", silent(), &[]).await;
    app.until("it runs", async |app| {
        app.get(&path.replace("/output", "/status")).await.body["status"] == "running"
    })
    .await;
    let refused = app.get_as(&ada, &path).await.refuses(409, "no_output");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("only at its end"), "{detail}");
    app.get("/api/v1/tasks/task_01h455vb4pex5vsknk084sn02q/output")
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn a_larger_output_is_in_a_file_that_stays_and_is_bounded() {
    let settings = [
        "bots.seed=[]",
        "tasks.max_output_bytes=1KiB",
        "tasks.max_output_file_bytes=1MiB",
        "tasks.default_max_attempts=1",
    ];
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = TestApp::start_in(&data, &settings).await;
    app.bot("printer", shell("n=$(cat); yes 0123456 | head -c $n"), &[])
        .await;
    let id = app.submit(&task("100000")).await;
    let result = app.result(&id).await;
    assert_eq!(
        (
            &result["success"],
            &result["output_truncated"],
            &result["output_bytes"]
        ),
        (&json!(true), &json!(true), &json!(100_000))
    );
    assert_eq!(
        result["output_url"],
        format!("/api/v1/tasks/{id}/output").as_str()
    );
    let expected = "0123456\n".repeat(12_500);
    assert_eq!(result["output"], expected[..1_024]);

    let too_much = app.submit(&task("2000000000")).await;
    let refused = app.result(&too_much).await;
    let error = refused["error"].as_str().unwrap();
    assert!(
        refused["success"] == false && error.contains("tasks.max_output_file_bytes"),
        "{refused}"
    );
    let files = data.join("outputs");
    assert_eq!(refused["output_bytes"], MIB, "what fits is kept");
    let kept = whole(&app, &too_much, "").await;
    assert_eq!(kept.len() as u64, MIB);

    // Neither a crash nor the sweep of the next start takes it away; what belongs
    // to no task goes.
    let stray = files.join("task_01h455vb4pex5vsknk084sn02q");
    std::fs::create_dir(&stray).unwrap();
    std::fs::write(stray.join("1"), "x").unwrap();
    app.kill_9();
    let app = TestApp::start_in(&data, &settings).await;
    assert_eq!(whole(&app, &id, "").await, expected.as_bytes());
    assert_eq!(
        whole(&app, &id, "?offset=99990").await,
        &expected.as_bytes()[99_990..]
    );
    app.until("strays are removed", async |_| !stray.exists())
        .await;
    assert!(files.join(&id).join("1").exists());
}

#[tokio::test]
async fn bytes_that_are_no_text_are_had_as_they_are() {
    let app = TestApp::start().await;
    app.bot("bytes", shell(r"printf 'a\377\000b'"), &[]).await;
    let id = app.submit(&task("x")).await;
    let result = app.result(&id).await;
    assert_eq!(result["output"], "a\u{fffd}\0b");
    assert_eq!(
        (&result["output_bytes"], &result["output_truncated"]),
        (&json!(4), &json!(false))
    );
    assert_eq!(whole(&app, &id, "").await, b"a\xff\0b");
}

#[tokio::test]
async fn hundreds_of_megabytes_pass_through_in_little_memory() {
    const BYTES: u64 = 400 * MIB;
    let app = TestApp::start().await;
    let script = format!("head -c {BYTES} /dev/zero");
    app.bot("flood", shell(&script), &[]).await;
    let id = app.submit(&task("x")).await;
    let mut live = None;
    app.until("it prints", async |app| {
        let path = format!("/api/v1/tasks/{id}/output");
        let request = app.request_as(&app.admin, Method::GET, &path);
        let response = request.send().await.unwrap();
        let there = response.status() == 200;
        live = there.then_some(response);
        there
    })
    .await;
    let (mut live, mut read) = (live.unwrap(), 0);
    while let Some(piece) = live.chunk().await.unwrap() {
        assert!(piece.iter().all(|byte| *byte == 0));
        read += piece.len() as u64;
    }
    assert_eq!(read, BYTES);
    let result = app.result(&id).await;
    assert_eq!(
        (&result["success"], &result["output_bytes"]),
        (&json!(true), &json!(BYTES))
    );
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.pid())).unwrap();
    let most = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let most: u64 = most.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(most < 160 << 10, "{most} KiB at most");
}
