//! A store that others have changed: rows of another version, a clock that
//! was ahead, a data directory that is open to other users.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde_json::{Value, json};

use crate::support::{TestApp, command, task};

/// Changes the store behind the back of the hive that runs on it.
fn sql(data_dir: &Path, sql: &str) {
    let db = rusqlite::Connection::open(data_dir.join("deia.db")).unwrap();
    db.busy_timeout(crate::support::PATIENCE).unwrap();
    db.execute_batch(sql).unwrap();
}

fn simulated() -> Value {
    json!({"kind": "simulated", "latency_ms": 1})
}

#[actix_rt::test]
async fn rows_of_another_version_stop_nothing_else() {
    let app = TestApp::start_with(&["bots.seed=[]", "scheduler.poll_interval=100ms"]).await;
    app.bot("good", simulated(), &["general"]).await;
    app.bot("other", simulated(), &["other"]).await;
    app.post("/api/v1/queue/pause", &json!({})).await.is(200);
    let tagged = json!({"type": "general", "content": "", "tags": ["t"]});
    let broken = app.submit(&tagged).await;
    let good = app.submit(&task("good")).await;
    sql(
        app.data_dir(),
        r#"UPDATE tasks SET extra = '{' WHERE extra IS NOT NULL;
           UPDATE events SET action = 'task.dreamt' WHERE action = 'task.submitted';
           UPDATE bots SET spec = '{"executor":{"kind":"of_the_future"}}' WHERE name = 'other'"#,
    );
    let events = app
        .get(&format!("/api/v1/tasks/{good}/events"))
        .await
        .is(200);
    assert_eq!(events.body["items"][0]["action"], "task.dreamt");
    let bots = app.get("/api/v1/bots").await.is(200).body;
    assert_eq!(bots["items"].as_array().unwrap().len(), 1, "{bots:#}");

    // The broken task is first in its lane, and claimed together with the other.
    app.post("/api/v1/queue/resume", &json!({})).await.is(200);
    assert_eq!(app.result(&good).await["success"], true);
    let listed = app.get("/api/v1/tasks").await.is(200).body;
    let listed = listed["items"].as_array().unwrap();
    assert!(listed.len() == 1 && listed[0]["id"] == *good, "{listed:#?}");
    app.get(&format!("/api/v1/tasks/{broken}")).await.is(500);
    let metrics = app.get("/metrics").await.is(200).body;
    let metrics = metrics.as_str().unwrap();
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("deia_store_unreadable_rows_total "));
    assert!(count.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    app.until_logged("cannot be read by this version").await;
}

#[actix_rt::test]
async fn a_disk_that_fails_a_checkpoint_ends_the_hive_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut failing = command(&data_dir, &["bots.seed=[]", "store.checkpoint_pages=100"]);
    // A start that takes long has checkpoints of its own.
    failing.env("DEIA_FAILPOINT", "checkpoint_sync:8");
    let mut app = TestApp::try_start(failing, &data_dir).await.unwrap();
    let mut acknowledged = Vec::new();
    loop {
        let body = json!({"type": "general", "content": "x".repeat(2_000)});
        let request = app.request_as(&app.admin, reqwest::Method::POST, "/api/v1/tasks/submit");
        match request.json(&body).send().await {
            Ok(answer) if answer.status() == 202 => {
                let answer: Value = answer.json().await.unwrap();
                acknowledged.push(answer["id"].as_str().unwrap().to_owned());
            }
            _ => break,
        }
        assert!(acknowledged.len() < 10_000, "no checkpoint ever fails");
    }
    let status = app.wait();
    let log = app.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("the process must end"), "{log}");
    let report = fs::read_to_string(data_dir.join("crash-report.txt")).unwrap();
    assert!(report.contains("could not be synced"), "{report}");

    let app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    for id in &acknowledged {
        app.get(&format!("/api/v1/tasks/{id}")).await.is(200);
    }
    assert!(!acknowledged.is_empty());
}

#[actix_rt::test]
async fn submission_whose_writer_dies_is_answered_503_outcome_unknown_and_repeated_safely() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut failing = command(&data_dir, &["bots.seed=[]"]);
    failing.env("DEIA_FAILPOINT", "writer_after_submit");
    let app = TestApp::try_start(failing, &data_dir).await.unwrap();
    let submit = async || {
        let request = app.request_as(&app.admin, reqwest::Method::POST, "/api/v1/tasks/submit");
        let keyed = request.header("Idempotency-Key", "once");
        keyed.json(&task("x")).send().await
    };
    let answer = submit().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "outcome_unknown", "{problem:#}");

    let replayed = deia_ledger::testing::until("the hive has another writer", async || {
        submit().await.ok().filter(|answer| answer.status() == 202)
    })
    .await;
    assert_eq!(replayed.headers()["idempotency-replayed"], "true");
    let listed = app.get("/api/v1/tasks").await.is(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed:#}");
}

#[actix_rt::test]
async fn tasks_of_a_clock_that_was_ahead_do_not_stop_retention() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let settings = ["bots.seed=[]", "tasks.retention.completed=1s"];
    let mut app = TestApp::start_in(&data_dir, &settings).await;
    app.bot("quick", simulated(), &["general"]).await;
    let ahead = app.submit(&task("ahead")).await;
    app.result(&ahead).await;
    assert!(app.stop().success());
    let year = 365 * 86_400_000_u64;
    sql(
        &data_dir,
        &format!(
            "UPDATE tasks SET created_at = created_at + {year}, completed_at = completed_at + {year};
             UPDATE events SET at = at + {year}"
        ),
    );
    let app = TestApp::start_in(&data_dir, &settings).await;
    app.until_logged("the clock is behind").await;
    let right = app.submit(&task("right")).await;
    app.result(&right).await;
    app.until("it is forgotten", async |app| {
        app.get(&format!("/api/v1/tasks/{right}")).await.status == 404
    })
    .await;
    app.get(&format!("/api/v1/tasks/{ahead}")).await.is(200);
}

#[actix_rt::test]
async fn a_data_directory_that_is_open_to_others_is_closed_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    fs::create_dir(&data_dir).unwrap();
    fs::set_permissions(&data_dir, Permissions::from_mode(0o755)).unwrap();
    let check = || {
        let out = command(&data_dir, &["bots.seed=[]"]).arg("check").output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    assert!(check().contains("is open to other users"), "{}", check());
    let app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    app.until_logged("was open to other users").await;
    app.bot("quick", simulated(), &["general"]).await;
    let id = app.submit(&task("x")).await;
    app.result(&id).await;
    assert_eq!(mode(&data_dir), 0o700);
    for name in ["", "logs/bots"] {
        for entry in fs::read_dir(data_dir.join(name)).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        }
    }
    assert!(data_dir.join("deia.db-wal").exists());
    drop(app);
    assert!(!check().contains("other users"), "{}", check());
    // Files that deia makes itself are private from the beginning.
    let app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    assert!(!app.log().contains("other users"), "{}", app.log());
}
