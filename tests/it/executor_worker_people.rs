//! Lines of people for workers, and the workers of `examples/bots`.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    cli_support::admin_command,
    executor_worker::Workers,
    support::{TestApp, upper},
    tidy::root,
    webhook_support::example,
};

/// A worker that repeats what people say.
const ECHO: &str = r#"
def task(t):
    tasks[t["id"]] = t
    say(type="output", id=t["id"], attempt=t["attempt"], text="begun\n")
tasks = {}
def other(m):
    if m["type"] != "input": return
    t = tasks.get(m.get("id"))
    if t is None: say(type="log", level="info", message="heard " + m["text"])
    elif m["text"] == "end": ok(t)
    else: say(type="output", id=t["id"], attempt=t["attempt"], text="heard %s\n" % m["text"])
"#;

#[tokio::test]
async fn people_speak_to_a_program_and_that_is_recorded() {
    let hive = Workers::start(&[]).await;
    hive.launch(ECHO, 1).await;
    hive.until_status("healthy").await;
    let input = "/api/v1/bots/w/input";
    let line = json!({"text": "hunter2"});
    hive.app.post(input, &line).await.is(202);
    hive.until_logged("worker info: heard hunter2").await;
    let id = hive.submit("x").await;
    hive.until_task(&id, "running").await;
    for text in ["one", "end"] {
        let line = json!({"text": text, "task_id": id});
        hive.app.post(input, &line).await.is(202);
    }
    let result = hive.app.result(&id).await;
    assert_eq!(result["output"], "begun\nheard one\n", "{result}");
    // The task has ended, and there is none of that id.
    for (line, status, code) in [
        (
            json!({"text": "x", "task_id": id}),
            409,
            "bot_takes_no_input",
        ),
        (
            json!({"text": "x", "task_id": "task_01h455vb4pex5vsknk084sn02q"}),
            404,
            "not_found",
        ),
        (json!({"text": "x", "to": "y"}), 422, "invalid_input"),
        (json!({}), 422, "invalid_input"),
        (json!({"text": "a\u{0}b"}), 422, "invalid_input"),
    ] {
        hive.app.post(input, &line).await.refuses(status, code);
    }
    let viewer = hive.app.key("vera", "viewer").await;
    let denied = hive
        .app
        .post_as(&viewer, input, &json!({"text": "x"}))
        .await;
    denied.refuses(403, "permission_denied");
    let operator = hive.app.key("olga", "operator").await;
    let sent = hive
        .app
        .post_as(&operator, input, &json!({"text": "x"}))
        .await;
    sent.is(202);
    let path = "/api/v1/events?limit=1000&action=bot.attached";
    let events = hive.app.get(path).await.is(200).body;
    let mut attached = events["items"].as_array().unwrap().clone();
    attached.sort_by_key(|event| event["seq"].as_u64());
    assert_eq!(attached.len(), 4, "{attached:?}");
    assert_eq!(attached[0]["details"]["bytes"], 7);
    assert_eq!(attached[1]["details"]["task"], json!(id));
    assert_eq!(attached[3]["actor"], "olga");
    assert!(
        !events.to_string().contains("hunter2"),
        "the text is not recorded"
    );
}

#[tokio::test]
async fn only_a_running_worker_takes_lines() {
    let hive = Workers::start(&[]).await;
    let line = json!({"text": "x"});
    let refused = async |bot: &str, words: &str| {
        let path = format!("/api/v1/bots/{bot}/input");
        let answer = hive.app.post(&path, &line).await;
        let told = answer.refuses(409, "bot_takes_no_input").body;
        assert!(told["detail"].as_str().unwrap().contains(words), "{told}");
    };
    hive.app.bot("upper", upper(), &["general"]).await;
    refused("upper", "of the kind command").await;
    hive.app
        .post("/api/v1/bots/none/input", &line)
        .await
        .refuses(404, "not_found");
    hive.launch(ECHO, 1).await;
    hive.until_status("healthy").await;
    hive.app
        .post("/api/v1/bots/w/stop", &Value::Null)
        .await
        .is(202);
    hive.until_status("stopped").await;
    hive.app
        .until("the program is gone", async |app| {
            app.post("/api/v1/bots/w/input", &line).await.status == 409
        })
        .await;
    refused("w", "does not run now").await;
}

#[tokio::test]
async fn lines_that_nobody_reads_are_bounded() {
    let settings = [
        "bots.worker.max_waiting_inputs=2",
        "bots.worker.write_timeout=1h",
    ];
    let hive = Workers::start(&settings).await;
    let program = r#"
import time
print('{"type":"hello","protocol":1,"pings":false}', flush=True)
time.sleep(3600)
"#;
    hive.launch_program(program, 1).await;
    hive.until_status("healthy").await;
    let line = json!({"text": "x".repeat(60_000)});
    hive.app
        .until("lines are refused", async |app| {
            let answer = app.post("/api/v1/bots/w/input", &line).await;
            answer.status == 409
                && answer.body["detail"]
                    .to_string()
                    .contains("not read earlier")
        })
        .await;
}

#[tokio::test]
async fn a_person_attaches_to_a_task() {
    let hive = Workers::start(&[]).await;
    hive.launch(ECHO, 1).await;
    let id = hive.submit("x").await;
    hive.until_task(&id, "running").await;
    let mut command = attach(&hive.app, &["bot", "attach", "w", "--task", &id]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(b"one\n").unwrap();
    hive.until_output(&id, "begun\nheard one\n").await;
    keyboard.write_all(b"end\n").unwrap();
    // The command ends with the task, though the keyboard is still there.
    let said = tokio::task::spawn_blocking(move || child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    drop(keyboard);
    assert!(said.status.success(), "{said:?}");
    let shown = String::from_utf8(said.stdout).unwrap();
    assert!(shown.contains("begun\nheard one\n"), "{shown}");
}

fn attach(app: &TestApp, args: &[&str]) -> Command {
    let mut command = admin_command(args);
    command
        .env("DEIA_URL", &app.url)
        .env("DEIA_DATA_DIR", app.data_dir());
    command
}

/// A worker of the examples, with a task for it and the answer.
struct Example {
    command: Vec<PathBuf>,
    /// Programs that it needs.
    needs: &'static [&'static str],
    content: &'static str,
    output: &'static str,
}

#[tokio::test]
async fn the_examples_run() {
    let path = |name: &str| root().join("examples/bots").join(name);
    let mut examples = vec![
        Example {
            command: vec![path("shell/worker.sh")],
            needs: &["sh", "jq"],
            content: "two\nlines",
            output: "TWO\nLINES",
        },
        Example {
            command: vec!["python3".into(), path("python/worker.py")],
            needs: &["python3"],
            content: "b a b",
            output: "1 a\n2 b\n3 words",
        },
        Example {
            command: vec!["node".into(), path("typescript/worker.mjs")],
            needs: &["node"],
            content: "abc",
            output: "cba",
        },
    ];
    examples.extend(example("worker").map(|program| Example {
        command: vec![program],
        needs: &[],
        content: "a\nb\nc",
        output: "3 lines",
    }));
    for Example {
        command,
        needs,
        content,
        output,
    } in examples
    {
        if !are_there(needs) {
            continue;
        }
        let app = TestApp::start().await;
        let executor = json!({"kind": "worker", "command": command});
        app.bot("w", executor, &["w"]).await;
        let task = json!({"type": "w", "content": content});
        let ids = [app.submit(&task).await, app.submit(&task).await];
        for id in ids {
            let result = app.result(&id).await;
            assert_eq!(result["output"], output, "{command:?}: {result}");
        }
        let stop = "/api/v1/bots/w/stop";
        app.post(stop, &Value::Null).await.is(202);
        app.until("the bot is stopped", async |app| {
            app.get("/api/v1/bots/w").await.body["status"] == "stopped"
        })
        .await;
        let bot = app.get("/api/v1/bots/w").await.body;
        assert_eq!(bot["restarts"], 0, "{command:?}: {bot}");
        let log = app.get("/api/v1/bots/w/logs").await.body["lines"].to_string();
        assert!(!log.contains("not_json"), "{command:?}: {log}");
    }
}

/// Returns whether these programs are there. If not, says that a part was not tested; with
/// `DEIA_TEST_RECEIVERS=must` that is a failure.
fn are_there(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$1\"", "sh", program])
            .output();
        if found.is_ok_and(|found| found.status.success()) {
            return true;
        }
        let must = std::env::var_os("DEIA_TEST_RECEIVERS").is_some();
        assert!(!must, "{program} is not there");
        let said = format!("\nSKIPPED: NOT tested, as {program} is not there\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        false
    })
}
