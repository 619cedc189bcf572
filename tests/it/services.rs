//! Services that crash beyond their budget take nothing with them.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use serde_json::Value;

use crate::support::{PATIENCE, TestApp, command, task, upper};

/// Returns the paths of the services, as the tree lists them.
async fn services(app: &TestApp) -> Vec<String> {
    let node = app.get("/api/v1/supervisors/hive/services").await.is(200);
    let children = node.body["children"].as_array().unwrap().clone();
    let path = |child: &Value| child["path"].as_str().unwrap().to_owned();
    children.iter().map(path).collect()
}

/// Starts a server that can be told to fail one of its children.
async fn start(dir: &Path) -> TestApp {
    let data_dir = dir.join("data");
    let mut command = command(&data_dir, &["bots.seed=[]"]);
    command.env("DEIA_FAIL_CHILD", "yes");
    TestApp::try_start(command, &data_dir).await.unwrap()
}

/// Has the server end the run of that child again and again.
fn fail(app: &TestApp, child: &str) {
    let draft = app.data_dir().join("fail-child.new");
    std::fs::write(&draft, child).unwrap();
    std::fs::rename(draft, app.data_dir().join("fail-child")).unwrap();
}

/// Asks for the status on a connection that is kept. Fails if the server has closed it.
fn ask_on(connection: &mut TcpStream, app: &TestApp) {
    let host = app.url.strip_prefix("http://").unwrap();
    let key = &app.admin;
    let request = format!(
        "GET /api/v1/system/status HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    while !answer.ends_with(b"}") {
        let n = connection.read(&mut piece).unwrap();
        assert!(n > 0, "the connection was closed");
        answer.extend_from_slice(&piece[..n]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[actix_rt::test]
async fn service_that_crashes_past_its_budget_ends_no_program_and_drops_no_connection() {
    let app = TestApp::start().await;
    let services = services(&app).await;
    drop(app);
    assert!(!services.is_empty());
    for service in services {
        let dir = tempfile::tempdir().unwrap();
        let app = start(dir.path()).await;
        let address = app.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        ask_on(&mut connection, &app);
        app.bot("upper-1", upper(), &["general"]).await;
        let sleeper = serde_json::json!({"kind": "command", "command": ["sleep", "600"]});
        app.bot("sleeper", sleeper, &["writing"]).await;
        let id = app
            .submit(&serde_json::json!({"type": "writing", "content": "x"}))
            .await;
        app.until("its program runs", async |app| {
            let bot = app.get("/api/v1/bots/sleeper").await.is(200).body;
            bot["pids"].as_array().is_some_and(|pids| !pids.is_empty())
        })
        .await;
        let pids = app.get("/api/v1/bots/sleeper").await.is(200).body["pids"].clone();
        fail(&app, &service);
        app.until("the service is quarantined", async |app| {
            let path = format!("/api/v1/supervisors/{service}");
            app.get(&path).await.is(200).body["state"] == "quarantined"
        })
        .await;
        ask_on(&mut connection, &app);
        let bot = app.get("/api/v1/bots/sleeper").await.is(200).body;
        assert_eq!(bot["pids"], pids, "{service}: the program runs on");
        let path = format!("/api/v1/tasks/{id}");
        assert_eq!(app.get(&path).await.is(200).body["status"], "running");
        let quick = app.submit(&task("hello")).await;
        assert_eq!(app.result(&quick).await["output"], "HELLO", "{service}");
        for part in ["hive/core", "hive/front", "hive/ledger"] {
            let node = app
                .get(&format!("/api/v1/supervisors/{part}"))
                .await
                .is(200);
            assert_eq!(node.body["incarnation"], 1, "{service}: {part} ran on");
        }
    }
}
