//! A fault of a bot is not a fault of its tasks.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::{
    cli_support::CliHive,
    full_disk::reserved,
    small_disk::small_disk,
    support::{TestApp, command},
};

/// Faults are over within the time of a test.
const QUICK: [&str; 4] = [
    "bots.seed=[]",
    "bots.fault.min=100ms",
    "bots.fault.max=400ms",
    "tasks.bot_fault_delay=50ms",
];

async fn put(app: &TestApp, name: &str, executor: Value, places: u32) -> Value {
    let spec = json!({"executor": executor,
        "capabilities": {"specializations": ["shared"], "max_concurrent_tasks": places}});
    let path = format!("/api/v1/bots/{name}");
    app.put(&path, &spec).await.is(201);
    let launched = app.post(&format!("{path}/launch"), &Value::Null).await;
    launched.is(202).body
}

async fn submit_many(app: &TestApp, count: usize) -> Vec<String> {
    let no_wait = json!({"min_ms": 0, "max_ms": 0, "jitter": 0});
    let task = json!({"type": "shared", "content": "x", "retry": no_wait});
    let batch = json!({"tasks": vec![task; count]});
    let accepted = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    let ids = accepted["ids"].as_array().unwrap().iter();
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

async fn status_of(app: &TestApp, bot: &str) -> Value {
    app.get(&format!("/api/v1/bots/{bot}")).await.is(200).body
}

#[tokio::test]
async fn a_bot_whose_program_is_missing_eats_no_tasks() {
    for broken in [
        json!({"kind": "command", "command": ["/nonexistent/agent"]}),
        json!({"kind": "command", "command": ["deia-no-such-agent"]}),
        json!({"kind": "command", "command": ["cat"], "working_dir": "/nonexistent"}),
    ] {
        let app = TestApp::start_with(&QUICK).await;
        let good = json!({"kind": "command", "command": ["sh", "-c", "sleep 0.1; cat"]});
        put(&app, "good", good, 2).await;
        let hole = put(&app, "hole", broken.clone(), 2).await;
        let warning = hole["warnings"][0].as_str().unwrap_or_default();
        assert!(!warning.is_empty(), "{hole}");
        for id in submit_many(&app, 20).await {
            let result = app.result(&id).await;
            assert_eq!(result["success"], true, "{broken}: {result}");
            assert_eq!(result["bot_id"], "good");
            let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
            assert_eq!(task["failures"], 0, "{task}");
        }
        let health = app.get("/api/v1/system/health").await.body;
        let named = health["problems"].to_string().contains("bot hole");
        assert_eq!(named, status_of(&app, "hole").await["fault"].is_object());
        // Nothing is left to give it, so one task more at a time shows it failing.
        let stuck = json!({"type": "shared", "content": "x"});
        app.post("/api/v1/bots/good/stop", &Value::Null)
            .await
            .is(202);
        app.until("the good bot is stopped", async |app| {
            let tree = app.get("/api/v1/supervisors/hive/core/bots/good").await;
            tree.status == 404
        })
        .await;
        let id = app.submit(&stuck).await;
        app.until("the bot is failing", async |app| {
            status_of(app, "hole").await["status"] == "failing"
        })
        .await;
        let mut why = Value::Null;
        app.until("the task waits for the bot", async |app| {
            why = app
                .get(&format!("/api/v1/tasks/{id}/explain"))
                .await
                .is(200)
                .body;
            why["hold"] == "bots_are_at_fault"
        })
        .await;
        let detail = why["detail"].as_str().unwrap();
        for part in ["bot hole", "tries again at", "deia bot show hole"] {
            assert!(detail.contains(part), "{why}");
        }
        let bot = status_of(&app, "hole").await;
        assert_eq!(bot["tasks_failed"], 0, "{bot}");
        assert!(bot["fault"]["in_a_row"].as_u64() >= Some(3), "{bot}");
        let reason = bot["fault"]["reason"].as_str().unwrap();
        let health = app.get("/api/v1/system/health").await.body;
        assert!(health["problems"].to_string().contains("hole"), "{health}");
        assert!(!reason.is_empty());
        let metrics = app.get("/metrics").await.is(200).body;
        let metrics = metrics.as_str().unwrap();
        assert!(metrics.contains("deia_bot_up{bot=\"hole\"} 0"), "{metrics}");
        let path = format!("/api/v1/tasks/{id}");
        app.until("the bot tried it", async |app| {
            let task = app.get(&path).await.body;
            task["failed_attempts"][0]["outcome"] == "bot_fault"
        })
        .await;
        assert_eq!(app.get(&path).await.body["failures"], 0);
    }
}

#[tokio::test]
async fn a_bot_recovers_by_itself_when_its_program_is_put_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("agent");
    let app = TestApp::start_with(&QUICK).await;
    let executor = json!({"kind": "command", "command": [program.to_str().unwrap()]});
    put(&app, "late", executor, 4).await;
    let ids = submit_many(&app, 30).await;
    app.until("the bot is failing", async |app| {
        status_of(app, "late").await["status"] == "failing"
    })
    .await;
    std::fs::write(&program, "#!/bin/sh\ncat\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    for id in ids {
        assert_eq!(app.result(&id).await["success"], true);
    }
    let bot = status_of(&app, "late").await;
    assert_eq!(bot["fault"]["in_a_row"], 0, "{bot}");
    assert_eq!(
        bot["status"], "degraded",
        "it had a fault in the last minute"
    );
    let health = app.get("/api/v1/system/health").await.body;
    assert_eq!(health["healthy"], true, "{health}");
}

#[tokio::test]
async fn an_idle_bot_recovers_when_its_program_is_put_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("agent");
    let app = TestApp::start_with(&QUICK).await;
    let executor = json!({"kind": "command", "command": [program.to_str().unwrap()]});
    put(&app, "late", executor, 1).await;
    let id = submit_many(&app, 1).await.remove(0);
    app.until("the bot has a fault", async |app| {
        status_of(app, "late").await["fault"].is_object()
    })
    .await;
    let cancel = format!("/api/v1/tasks/{id}/cancel");
    app.post(&cancel, &Value::Null).await.is(200);
    std::fs::write(&program, "#!/bin/sh\ncat\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Nothing is submitted any more.
    app.until("the bot is well again", async |app| {
        status_of(app, "late").await["fault"]["in_a_row"] == 0
    })
    .await;
    let health = app.get("/api/v1/system/health").await.body;
    assert_eq!(health["healthy"], true, "{health}");
}

#[tokio::test]
async fn a_host_without_descriptors_costs_tasks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut limited = std::process::Command::new("sh");
    let server = command(&data, &QUICK);
    limited
        .args(["-c", "ulimit -n 120; exec \"$@\"", "sh"])
        .arg(server.get_program())
        .args(server.get_args())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let app = TestApp::try_start(limited, &data).await.unwrap();
    let executor = json!({"kind": "command", "command": ["sh", "-c", "sleep 0.3; cat"]});
    put(&app, "many", executor, 200).await;
    let ids = submit_many(&app, 150).await;
    app.until("the bot meets the limit", async |app| {
        status_of(app, "many").await["fault"].is_object()
    })
    .await;
    for id in ids {
        let result = app.result(&id).await;
        assert_eq!(result["success"], true, "{result}");
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(task["failures"], 0, "{task}");
    }
}

#[actix_rt::test]
async fn an_output_that_finds_no_room_costs_the_task_nothing() {
    let Some(disk) = small_disk("40m") else {
        return;
    };
    let settings = [
        QUICK.as_slice(),
        &[
            "store.reserve_bytes=4MiB",
            "degradation.enabled=false",
            "tasks.max_output_bytes=64KiB",
        ],
    ]
    .concat();
    let app = disk.start(&settings).await.unwrap();
    let gates = tempfile::tempdir().unwrap();
    let gate = gates.path().join("gate");
    let script = format!(
        "until test -e '{}'; do sleep 0.02; done; head -c 2000000 /dev/zero",
        gate.display()
    );
    let executor = json!({"kind": "command", "command": ["sh", "-c", script]});
    put(&app, "prints", executor, 1).await;
    let ids = submit_many(&app, 1).await;
    let path = format!("/api/v1/tasks/{}", ids[0]);
    app.until("it runs", async |app| {
        app.get(&path).await.body["status"] == "running"
    })
    .await;
    disk.fill();
    std::fs::write(&gate, "").unwrap();
    app.until("the attempt is given back", async |app| {
        app.get(&path).await.body["failed_attempts"][0]["outcome"] == "bot_fault"
    })
    .await;
    let task = app.get(&path).await.body;
    assert_eq!(task["failures"], 0, "{task}");
    let bot = status_of(&app, "prints").await;
    let reason = bot["fault"]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be kept"), "{bot}");
    disk.make_room();
    let result = app.result(&ids[0]).await;
    assert_eq!(result["success"], true, "{result}");
}

#[actix_rt::test]
async fn an_output_does_not_use_up_the_reserve() {
    let Some(disk) = small_disk("40m") else {
        return;
    };
    let settings = [
        QUICK.as_slice(),
        &[
            "store.reserve_bytes=8MiB",
            "degradation.enabled=false",
            "tasks.max_output_bytes=64KiB",
        ],
    ]
    .concat();
    let app = disk.start(&settings).await.unwrap();
    let gates = tempfile::tempdir().unwrap();
    let gate = gates.path().join("gate");
    // A file of the output is there already when the disk fills.
    let script = format!(
        "head -c 200000 /dev/zero; until test -e '{}'; do sleep 0.02; done; head -c 4000000 /dev/zero",
        gate.display()
    );
    let executor = json!({"kind": "command", "command": ["sh", "-c", script]});
    put(&app, "prints", executor, 1).await;
    let ids = submit_many(&app, 1).await;
    let path = format!("/api/v1/tasks/{}", ids[0]);
    app.until("it prints", async |_| {
        let file = disk.outside().join("outputs").join(&ids[0]).join("1");
        file.metadata().is_ok_and(|file| file.len() >= 200_000)
    })
    .await;
    disk.fill();
    let mut pauses = 0;
    app.until("the reserve is given up", async |app| {
        pauses += 1;
        let pause = json!({"type": format!("type-{pauses}"), "reason": "x".repeat(200)});
        app.post("/api/v1/queue/pause", &pause).await.is(200);
        reserved(&disk) == 0
    })
    .await;
    std::fs::write(&gate, "").unwrap();
    app.until("the attempt is given back", async |app| {
        app.get(&path).await.body["failed_attempts"][0]["outcome"] == "bot_fault"
    })
    .await;
    let reason = &app.get(&path).await.body["failed_attempts"][0]["error"];
    assert!(reason.as_str().unwrap().contains("reserve"), "{reason}");
    let pause = json!({"reason": "the disk is full"});
    app.post("/api/v1/queue/pause", &pause).await.is(200);
    disk.make_room();
    app.until("it is resumed", async |app| {
        app.post("/api/v1/queue/resume", &json!({})).await.status == 200
    })
    .await;
    assert_eq!(app.result(&ids[0]).await["success"], true);
}

#[test]
fn the_command_line_warns_of_a_program_that_cannot_be_started() {
    let hive = CliHive::start(&[]);
    let args = ["bot", "add", "hole", "--launch", "--", "/nonexistent/agent"];
    let added = hive.admin(&args).ok();
    assert!(
        added.err.contains("warning: ") && added.err.contains("/nonexistent/agent"),
        "{added:?}"
    );
    let again = hive.admin(&["bot", "stop", "hole", "--wait", "60s"]).ok();
    assert!(!again.err.contains("warning"), "{again:?}");
    let launched = hive.admin(&["bot", "launch", "hole"]).ok();
    assert!(launched.err.contains("warning: "), "{launched:?}");
    let fine = hive.admin(&["bot", "add", "fine", "--launch", "--", "cat"]);
    assert!(!fine.ok().err.contains("warning"));
}

#[tokio::test]
async fn attempts_that_never_ran_count_as_returned_without_a_run_time() {
    let app = TestApp::start_with(&QUICK).await;
    let missing = json!({"kind": "command", "command": ["/nonexistent/agent"]});
    put(&app, "hole", missing, 1).await;
    app.submit(&json!({"type": "shared", "content": "x"})).await;
    app.until("the statistics count a returned attempt", async |app| {
        let queue = app.get("/api/v1/queue").await.is(200).body;
        let of_bot = &queue["history"]["by_bot"][0];
        let returned = of_bot["returned"].as_u64().is_some_and(|n| n > 0);
        if returned {
            assert_eq!(of_bot["name"], "hole");
            assert_eq!(of_bot["retried"], 0, "{of_bot}");
            assert_eq!(of_bot["runs"]["count"], 0, "{of_bot}");
        }
        returned
    })
    .await;
}
