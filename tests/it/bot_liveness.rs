//! The three livenesses of bots: process, channel and progress.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::TestApp;

const PATH: &str = "/api/v1/bots/b";

/// Puts a bot in place with that specification, and launches it.
async fn launch(app: &TestApp, spec: &Value) {
    app.put(PATH, spec).await.is(201);
    app.post(&format!("{PATH}/launch"), &Value::Null)
        .await
        .is(202);
}

fn script(script: &str) -> Value {
    json!({"kind": "command", "command": ["sh", "-c", script]})
}

fn task(idle_timeout: Option<u64>) -> Value {
    json!({"type": "shared", "content": "x", "max_attempts": 1,
        "idle_timeout_seconds": idle_timeout})
}

async fn bot(app: &TestApp) -> Value {
    app.get(PATH).await.is(200).body
}

#[tokio::test]
async fn an_attempt_without_output_or_progress_is_ended() {
    let noisy = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.4; done";
    let errors = "for i in 1 2 3 4 5 6 7 8; do echo $i >&2; sleep 0.4; done";
    let progress = "for i in 1 2 3 4 5 6 7 8; do echo 0.$i >&3; sleep 0.4; done";
    // The time-out of the task goes over that of the bot.
    for (does, of_bot, of_task, idle_for) in [
        ("sleep 60", None, Some(1), Some(1)),
        ("sleep 60", Some(1), None, Some(1)),
        ("sleep 60", Some(60), Some(1), Some(1)),
        ("echo once; sleep 60", Some(1), None, Some(1)),
        (noisy, Some(2), None, None),
        (errors, None, Some(2), None),
        (progress, None, Some(2), None),
    ] {
        let case = format!("{does} {of_bot:?} {of_task:?}");
        let app = TestApp::start_with(&["bots.seed=[]", "bots.term_grace=200ms"]).await;
        let mut spec = json!({"executor": script(does)});
        if let Some(seconds) = of_bot {
            spec["idle_timeout_seconds"] = json!(seconds);
        }
        launch(&app, &spec).await;
        let mut task = task(of_task);
        if of_task.is_none() {
            task.as_object_mut().unwrap().remove("idle_timeout_seconds");
        }
        let id = app.submit(&task).await;
        let shown = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(shown["idle_timeout_seconds"].as_u64(), of_task, "{case}");
        let result = app.result(&id).await;
        match idle_for {
            Some(seconds) => {
                let error = format!("no output or progress for {seconds} s");
                assert_eq!(result["error"], *error, "{case}: {result}");
                assert_eq!(result["failure_class"], "timed_out", "{case}: {result}");
            }
            None => assert_eq!(result["success"], true, "{case}: {result}"),
        }
        assert!(bot(&app).await["liveness"]["progress_at"].is_string());
    }
}

#[tokio::test]
async fn an_idle_time_out_outside_its_limits_is_refused() {
    let app = TestApp::start().await;
    for seconds in [0, u64::from(u32::MAX)] {
        let refused = app
            .post("/api/v1/tasks/submit", &task(Some(seconds)))
            .await
            .is(422)
            .body;
        let pointer = &refused["errors"][0]["pointer"];
        assert_eq!(pointer, "/idle_timeout_seconds", "{refused}");
    }
    let spec = json!({"executor": script("true"), "idle_timeout_seconds": 0});
    let refused = app.put(PATH, &spec).await.is(422).body;
    let pointer = &refused["errors"][0]["pointer"];
    assert_eq!(pointer, "/idle_timeout_seconds", "{refused}");
}

#[tokio::test]
async fn liveness_tells_process_channel_and_progress_apart() {
    let app = TestApp::start().await;
    let spec = json!({"executor": script("echo x; sleep 60")});
    app.put(PATH, &spec).await.is(201);
    let offline = bot(&app).await;
    assert_eq!(offline["liveness"], json!({"channel": false}), "{offline}");
    app.post(&format!("{PATH}/launch"), &Value::Null)
        .await
        .is(202);
    app.until("tasks reach the bot", async |app| {
        bot(app).await["liveness"] == json!({"channel": true})
    })
    .await;
    app.submit(&task(None)).await;
    app.until("its program runs and has written", async |app| {
        let liveness = bot(app).await["liveness"].clone();
        liveness["process"] == true && liveness["progress_at"].is_string()
    })
    .await;
}

/// A bot that is probed, and the file that makes its probe succeed.
fn probed_by_file(file: &Path) -> Value {
    json!({"executor": script("cat"),
        "probe": {"command": ["test", "-e", file], "every_seconds": 1, "failures": 1}})
}

#[tokio::test]
async fn a_bot_that_cannot_be_reached_is_given_nothing_and_is_not_healthy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("there");
    let app = TestApp::start().await;
    launch(&app, &probed_by_file(&file)).await;
    app.until("the bot is unreachable", async |app| {
        let bot = bot(app).await;
        assert_ne!(bot["status"], "healthy", "{bot}");
        bot["status"] == "degraded" && bot["unreachable"].is_string()
    })
    .await;
    let id = app.submit(&task(None)).await;
    let seen = bot(&app).await;
    assert_eq!(seen["liveness"]["channel"], false, "{seen}");
    let reason = seen["unreachable"].as_str().unwrap();
    assert!(reason.contains("exit status: 1"), "{seen}");
    let waiting = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(waiting["status"], "queued", "{waiting}");
    let why = app
        .get(&format!("/api/v1/tasks/{id}/explain"))
        .await
        .is(200)
        .body;
    assert_eq!(why["hold"], "bots_are_unreachable", "{why}");
    std::fs::write(&file, "").unwrap();
    assert_eq!(app.result(&id).await["success"], true);
    let seen = bot(&app).await;
    assert_eq!(seen["status"], "healthy", "{seen}");
    assert!(seen["unreachable"].is_null(), "{seen}");
    std::fs::remove_file(&file).unwrap();
    app.until("the bot is unreachable again", async |app| {
        bot(app).await["status"] == "degraded"
    })
    .await;
}

#[tokio::test]
async fn probes_look_at_the_port_of_the_bot() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "bots.first_port=18731",
        "bots.last_port=18999",
    ])
    .await;
    let tcp = json!({"tcp": true, "every_seconds": 1, "failures": 1});
    launch(&app, &json!({"executor": script("cat"), "probe": tcp})).await;
    let port = bot(&app).await["port"].as_u64().unwrap();
    app.until("nothing listens", async |app| {
        let reason = bot(app).await["unreachable"].clone();
        reason
            .as_str()
            .is_some_and(|it| it.contains(&format!("port {port}")))
    })
    .await;
    let served = tokio::net::TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).await;
    let served = served.unwrap();
    // Answers every other path with 503.
    let serving = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        loop {
            let (mut stream, _) = served.accept().await.unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let fine = request[..read].starts_with(b"GET /fine HTTP/1.1\r\n");
            let status = if fine { "204 No Content" } else { "503 Busy" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let healthy = async |app: &TestApp| bot(app).await["status"] == "healthy";
    app.until("something listens", healthy).await;
    for (path, is_fine) in [("/fine", true), ("/else", false)] {
        let probe = json!({"http_path": path, "every_seconds": 1, "failures": 1});
        let spec = json!({"executor": script("cat"), "probe": probe});
        app.put(PATH, &spec).await.is(200);
        app.until("the bot is probed over HTTP", async |app| {
            let bot = bot(app).await;
            match is_fine {
                true => bot["status"] == "healthy",
                false => bot["unreachable"]
                    .as_str()
                    .is_some_and(|it| it.contains("answered with 503")),
            }
        })
        .await;
    }
    serving.abort();
}
