//! Journeys of an operator whose outputs are more than the disk should hold.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    outputs::shell,
    support::{TestApp, task},
};

const LIMIT: u64 = 300 << 10;
/// Three of them fit below the limit, with little room left.
const SIZE: u64 = 100_000;

const SETTINGS: [&str; 4] = [
    "bots.seed=[]",
    "tasks.max_output_bytes=1KiB",
    "tasks.max_outputs_bytes=300KiB",
    "tasks.default_max_attempts=1",
];

/// A program that prints as many bytes as it is told, and ends as it is told.
fn printer() -> Value {
    shell("read n code; yes 0123456 | head -c $n; exit $code")
}

async fn prints(app: &TestApp, bytes: u64, code: i32) -> String {
    let id = app.submit(&task(&format!("{bytes} {code}"))).await;
    let result = app.result(&id).await;
    assert_eq!(result["success"], code == 0, "{result}");
    id
}

/// Returns how much is left of the output of a task.
async fn length(app: &TestApp, id: &str) -> Option<u64> {
    let path = format!("/api/v1/tasks/{id}/output");
    let request = app.request_as(&app.admin, Method::GET, &path);
    let answer = request.send().await.unwrap();
    match answer.status().as_u16() {
        200 => Some(answer.bytes().await.unwrap().len() as u64),
        404 => {
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], "output_missing");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("was removed at 20"), "{detail}");
            assert!(detail.contains("tasks.max_outputs_bytes"), "{detail}");
            None
        }
        status => panic!("{status}"),
    }
}

async fn stored(app: &TestApp) -> Value {
    let status = app.get("/api/v1/system/status").await.is(200);
    status.body["outputs"].clone()
}

/// Returns the size of all files below a directory.
fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| match entry.unwrap() {
            entry if entry.path().is_dir() => size_of(&entry.path()),
            // It may be removed just now.
            entry => entry.metadata().map_or(0, |file| file.len()),
        })
        .sum()
}

#[tokio::test]
async fn the_oldest_outputs_go_first_and_those_of_failures_before_results() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = TestApp::start_in(&data, &SETTINGS).await;
    app.bot("printer", printer(), &[]).await;
    let mut ids = Vec::new();
    for code in [0, 3, 0] {
        ids.push(prints(&app, SIZE, code).await);
    }
    let lengths = async |app: &TestApp, ids: &[String]| {
        let mut lengths = Vec::new();
        for id in ids {
            lengths.push(length(app, id).await.map_or(0, |bytes| bytes / SIZE));
        }
        lengths
    };
    assert_eq!(lengths(&app, &ids).await, [1, 1, 1]);
    let expected = json!({"bytes": 3 * SIZE, "limit_bytes": LIMIT, "removed": 0});
    assert_eq!(stored(&app).await, expected);

    ids.push(prints(&app, SIZE, 0).await);
    assert_eq!(lengths(&app, &ids).await, [1, 0, 1, 1], "the failure");
    ids.push(prints(&app, SIZE, 0).await);
    assert_eq!(lengths(&app, &ids).await, [0, 0, 1, 1, 1], "the oldest");
    let expected = json!({"bytes": 3 * SIZE, "limit_bytes": LIMIT, "removed": 2});
    assert_eq!(stored(&app).await, expected);
    let metrics = app.get("/metrics").await.is(200).body;
    let metrics = metrics.as_str().unwrap();
    for expected in [
        "deia_task_outputs_bytes 300000\n",
        "deia_task_outputs_limit_bytes 307200\n",
        "deia_task_outputs_removed_total 2\n",
    ] {
        assert!(metrics.contains(expected), "{expected}");
    }
    app.until_logged("together they exceed tasks.max_outputs_bytes")
        .await;
    // The stream says the same, and the result is still there.
    let path = format!("/api/v1/tasks/{}/output", ids[1]);
    let request = app.request_as(&app.admin, Method::GET, &path);
    let request = request.header("Accept", "text/event-stream");
    app.send(request).await.refuses(404, "output_missing");
    assert_eq!(app.result(&ids[0]).await["output_bytes"], SIZE);

    // A crash changes nothing of it.
    app.kill_9();
    let mut app = TestApp::start_in(&data, &SETTINGS).await;
    app.until("the files are counted", async |app| {
        stored(app).await["bytes"] == 3 * SIZE
    })
    .await;
    assert_eq!(lengths(&app, &ids).await, [0, 0, 1, 1, 1]);
    ids.push(prints(&app, SIZE, 0).await);
    assert_eq!(lengths(&app, &ids).await, [0, 0, 0, 1, 1, 1]);
    assert_eq!(stored(&app).await["bytes"], 3 * SIZE);

    // A lower limit holds after the start, and what is erased is room again.
    app.stop();
    let lower = ["tasks.max_outputs_bytes=150KiB"];
    let app = TestApp::start_in(&data, &[&SETTINGS[..], &lower].concat()).await;
    app.until("the limit holds", async |app| {
        stored(app).await["bytes"] == SIZE
    })
    .await;
    assert_eq!(lengths(&app, &ids).await, [0, 0, 0, 0, 0, 1]);
    let content = format!("/api/v1/tasks/{}/content", ids[5]);
    app.delete(&content).await.is(204);
    assert_eq!(stored(&app).await["bytes"], 0);
}

#[tokio::test]
async fn a_running_program_keeps_its_output_and_one_without_room_fails() {
    let settings = [&SETTINGS[..], &["server.max_wait=60s"]].concat();
    let app = TestApp::start_with(&settings).await;
    let script = "read n file; yes 0123456 | head -c $n; until [ -e $file ]; do sleep 0.02; done";
    app.bot("patient", shell(script), &[]).await;
    let large = app.submit(&task("200000 go")).await;
    let printed = |id: &str| format!("/api/v1/tasks/{id}/output?follow=false");
    app.until("it has printed", async |app| {
        let request = app.request_as(&app.admin, Method::GET, &printed(&large));
        request.send().await.unwrap().bytes().await.unwrap().len() == 200_000
    })
    .await;
    // Nothing that has ended could make room.
    let other = app.submit(&task("200000 go")).await;
    let failed = app.result(&other).await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("(tasks.max_outputs_bytes)"), "{error}");
    let kept = length(&app, &other).await.unwrap();
    assert!(kept > 0 && kept <= LIMIT - 200_000, "{kept}");
    assert_eq!(failed["output_bytes"], kept);
    std::fs::write(app.data_dir().join("work/patient/go"), "").unwrap();
    assert_eq!(app.result(&large).await["output_bytes"], 200_000);
    assert_eq!(length(&app, &large).await, Some(200_000));
    // The output of the failed one goes first.
    let third = app.submit(&task("100000 go")).await;
    app.result(&third).await;
    assert_eq!(length(&app, &other).await, None);
    assert_eq!(length(&app, &large).await, Some(200_000));
}

#[tokio::test]
async fn the_limit_holds_under_load() {
    let app = TestApp::start_with(&SETTINGS).await;
    app.bot("printer", printer(), &[]).await;
    let mut ids = Vec::new();
    for n in 0..80 {
        ids.push(app.submit(&task(&format!("20000 {}", n % 2))).await);
    }
    let outputs = app.data_dir().join("outputs");
    for id in &ids {
        app.result(id).await;
        // A listing is no moment: a file that goes and one that comes meanwhile may both count.
        let size = (0..5).map(|_| size_of(&outputs)).min().unwrap();
        assert!(size <= LIMIT, "{size}");
    }
    let (size, stored) = (size_of(&outputs), stored(&app).await);
    assert_eq!(stored["bytes"], size);
    let left = size / 20_000;
    assert_eq!(stored["removed"], 80 - left);
    let mut readable = 0;
    for (n, id) in ids.iter().enumerate() {
        let result = app.result(id).await;
        assert_eq!(result["success"], n % 2 == 0, "{result}");
        readable += u64::from(length(&app, id).await.is_some());
    }
    assert_eq!(readable, left);
}
