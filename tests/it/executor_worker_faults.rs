//! Workers that break the protocol, do not answer, flood, or die: the bot gets over each, and
//! says why.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    executor_worker::Workers,
    programs::sleeping,
    support::{TestApp, unique_sleep, until},
};

#[tokio::test]
async fn a_program_that_dies_is_started_again_and_its_task_is_charged() {
    let hive = Workers::start(&[]).await;
    let body = r#"
def task(t):
    if t["content"] == "kill":
        say(type="output", id=t["id"], attempt=t["attempt"], text="last words")
        sys.stderr.write("no more\n"); sys.stderr.flush(); os._exit(3)
    ok(t, "fine")
"#;
    hive.launch(body, 4).await;
    let id = hive.submit("kill").await;
    let result = hive.app.result(&id).await;
    assert_eq!(result["success"], false, "{result}");
    hive.until_exit("the worker ended: exit code 3: no more")
        .await;
    let task = hive.task(&id).await;
    assert!(task["bot_deaths"].as_u64() >= Some(1), "{task}");
    let path = format!("/api/v1/tasks/{id}/output?attempt=1");
    let output = hive.app.get(&path).await.is(200).body;
    assert_eq!(output, "last words", "the output of a lost attempt is kept");
    let next = hive.submit("x").await;
    assert_eq!(hive.app.result(&next).await["output"], "fine");
    let bot = hive.bot().await;
    assert!(bot["restarts"].as_u64() >= Some(1), "{bot}");
    hive.until_logged("stderr no more").await;
}

#[tokio::test]
async fn an_answer_that_came_before_the_death_counts() {
    let hive = Workers::start(&[]).await;
    let body = r#"
def task(t):
    ok(t, "done"); os._exit(0)
"#;
    hive.launch(body, 1).await;
    for deaths in 1..=5 {
        let id = hive.submit("x").await;
        let result = hive.app.result(&id).await;
        assert_eq!(result["output"], "done", "{result}");
        assert_eq!(hive.task(&id).await["bot_deaths"], 0);
        // A task that is handed to a program which has just ended is charged with the death.
        let is_back = async |app: &TestApp| {
            let bot = app.get("/api/v1/bots/w").await.body;
            bot["restarts"].as_u64() >= Some(deaths) && bot["liveness"]["channel"] == true
        };
        hive.app.until("the program is back", is_back).await;
    }
}

#[tokio::test]
async fn garbage_is_logged_and_counted_and_too_much_of_it_ends_the_program() {
    let hive = Workers::start(&[
        "bots.worker.max_garbage=10",
        "bots.worker.max_line_bytes=2KiB",
    ])
    .await;
    let body = r#"
def raw(text):
    with lock: sys.stdout.write(text); sys.stdout.flush()
def task(t):
    if t["content"] == "garbage":
        raw("print left over\n"); raw('{"type":"sing"}\n'); raw("x" * 5000 + "\n")
        say(type="output", id=t["id"], attempt=t["attempt"])
        say(type="progress", id=t["id"], attempt=7, value=1)
        say(type="hello", protocol=1)
        ok(t, "first"); ok(t, "second")
        say(type="output", id=t["id"], attempt=t["attempt"], text="late")
    elif t["content"] == "wide": ok(t, "y" * 5000)
    elif t["content"] == "misspelt": say(type="result", id=t["id"], attempt=t["attempt"], text="x")
    else: raw("nonsense\n" * 20)
"#;
    hive.launch(body, 1).await;
    let id = hive.submit("garbage").await;
    assert_eq!(hive.app.result(&id).await["output"], "first");
    for part in [
        "not_json",
        "unknown_type",
        "too_long",
        "wrong_fields",
        "no_attempt",
        "out_of_place",
    ] {
        hive.until_logged(&format!("({part})")).await;
    }
    let counted = hive.app.get("/metrics").await.is(200).body;
    let line = "deia_bots_worker_garbage_lines_total 8";
    assert!(counted.as_str().unwrap().contains(line), "{counted}");
    assert_eq!(hive.bot().await["restarts"], 0, "8 lines are allowed");

    for (content, word) in [("misspelt", "text"), ("wide", "max_line_bytes")] {
        let result = hive.app.result(&hive.submit(content).await).await;
        let error = result["error"].as_str().unwrap();
        assert!(error.contains("not understood"), "{error}");
        assert!(error.contains(word), "{error}");
    }

    let id = hive.submit("x").await;
    hive.until_exit("lines that are not of the protocol").await;
    assert_eq!(hive.app.result(&id).await["success"], false);
}

#[tokio::test]
async fn output_is_streamed_and_held_to_its_limit() {
    let limits = [
        "tasks.max_output_bytes=64KiB",
        "tasks.max_output_file_bytes=256KiB",
    ];
    let hive = Workers::start(&limits).await;
    let body = r#"
gave_up = threading.Event()
def task(t):
    piece = "y" * 1000
    if t["content"] == "endless":
        while not gave_up.is_set(): say(type="output", id=t["id"], attempt=t["attempt"], text=piece)
        bad(t, "given up")
    elif t["content"] == "long":
        for _ in range(100): say(type="output", id=t["id"], attempt=t["attempt"], text=piece)
        ok(t, "end")
    elif t["content"] == "at once": ok(t, "z" * 300000)
    else:
        say(type="output", id=t["id"], attempt=t["attempt"], text="seen")
        gave_up.wait()
        ok(t)
def other(m):
    if m["type"] == "cancel": gave_up.set()
"#;
    hive.launch(body, 2).await;
    let live = hive.submit("live").await;
    hive.until_output(&live, "seen").await;
    let long = hive.submit("long").await;
    let result = hive.app.result(&long).await;
    assert_eq!(result["output_bytes"], 100_003, "{result}");
    let path = format!("/api/v1/tasks/{long}/output");
    let whole = hive.app.get(&path).await.is(200).body;
    assert!(whole.as_str().unwrap().ends_with("yend"));
    for content in ["at once", "endless"] {
        let result = hive.app.result(&hive.submit(content).await).await;
        let error = result["error"].as_str().unwrap();
        assert!(error.contains("tasks.max_output_file_bytes"), "{result}");
    }
    assert_eq!(hive.app.result(&live).await["output"], "seen");
    assert_eq!(hive.bot().await["restarts"], 0, "only the attempts failed");
}

#[tokio::test]
async fn a_bot_is_starting_until_its_program_greets() {
    let hive = Workers::start(&[]).await;
    let body = r#"
def task(t): ok(t, "fine")
def start():
    sys.stderr.write("loading\n"); sys.stderr.flush()
    while not os.path.exists("go"): time.sleep(0.02)
    say(type="log", level="info", message="loaded")
    say(type="hello", protocol=1)
"#;
    hive.launch(body, 1).await;
    let id = hive.submit("x").await;
    hive.until_logged("loading").await;
    assert_eq!(hive.bot().await["status"], "starting");
    assert_eq!(hive.task(&id).await["status"], "queued");
    std::fs::write(hive.dir().join("go"), "").unwrap();
    assert_eq!(hive.app.result(&id).await["output"], "fine");
    hive.until_status("healthy").await;
    hive.until_logged("worker info: loaded").await;
}

#[tokio::test]
async fn programs_that_do_not_begin_as_they_should_are_started_again_and_then_left() {
    let quick = ["bots.restart.restarts=2", "bots.restart.period=1m"];
    for (program, reason) in [
        (
            "import time; time.sleep(3600)",
            "did not greet within 0.5 s",
        ),
        (
            "print('{\"type\":\"hello\",\"protocol\":2}', flush=True); input()",
            "version 2 of the protocol",
        ),
        (
            "print('{\"type\":\"hello\",\"protocol\":1,\"max_concurrent\":0}', flush=True); input()",
            "max_concurrent 0",
        ),
        (
            "import sys; sys.exit('no licence')",
            "exit code 1: no licence",
        ),
    ] {
        let limit = match reason.contains("greet within") {
            true => "bots.worker.start_timeout=500ms",
            // The interpreter takes its time on a busy machine.
            false => "bots.worker.start_timeout=1m",
        };
        let hive = Workers::start(&[&quick[..], &[limit]].concat()).await;
        hive.launch_program(program, 1).await;
        hive.until_exit(reason).await;
        hive.until_status("failing").await;
        let id = hive.submit("x").await;
        let path = format!("/api/v1/tasks/{id}/explain");
        let why = hive.app.get(&path).await.is(200).body;
        assert!(why["detail"].as_str().unwrap().contains('w'), "{why}");
        assert_eq!(hive.task(&id).await["attempt"], 0, "{reason}");
    }
}

#[tokio::test]
async fn a_program_that_is_missing_is_told_before_and_after() {
    let hive = Workers::start(&["bots.restart.restarts=2"]).await;
    let spec = json!({"executor": {"kind": "worker", "command": ["/nonexistent/agent"]},
        "capabilities": {"specializations": ["w"]}});
    hive.app.put("/api/v1/bots/w", &spec).await.is(201);
    let launch = "/api/v1/bots/w/launch";
    let bot = hive.app.post(launch, &Value::Null).await.is(202).body;
    assert!(
        bot["warnings"][0]
            .as_str()
            .unwrap()
            .contains("no such file"),
        "{bot}"
    );
    hive.until_status("failing").await;
    hive.until_exit("\"/nonexistent/agent\" cannot be started")
        .await;
}

#[tokio::test]
async fn a_silent_program_is_degraded_and_then_started_again() {
    let quick = [
        "bots.worker.ping_every=100ms",
        "bots.worker.ping_timeout=700ms",
    ];
    let hive = Workers::start(&quick).await;
    let body = r#"
def task(t):
    # Holds the lock under which everything is written, so that pings are not answered.
    if once("silent"):
        lock.acquire(); time.sleep(3600)
    ok(t, "fine")
"#;
    hive.launch(body, 1).await;
    hive.until_status("healthy").await;
    let id = hive.submit_with("x", json!({"max_attempts": 2})).await;
    hive.app
        .until("the bot is degraded", async |_| {
            let bot = hive.bot().await;
            bot["status"] == "degraded" && bot["unreachable"].is_string()
        })
        .await;
    hive.until_exit("did not answer two pings").await;
    assert_eq!(hive.app.result(&id).await["output"], "fine");
    let task = hive.task(&id).await;
    assert_eq!(task["bot_deaths"], 1, "it ran alone: {task}");
}

#[tokio::test]
async fn the_tasks_of_a_program_that_dies_are_all_suspects() {
    let hive = Workers::start(&[]).await;
    let body = r#"
gate = threading.Barrier(2)
def task(t):
    if not os.path.exists("met"):
        gate.wait(); open("met", "w").close(); os._exit(1)
    ok(t, "fine")
"#;
    hive.launch(body, 2).await;
    let ids = [hive.submit("x").await, hive.submit("x").await];
    for id in &ids {
        assert_eq!(hive.app.result(id).await["output"], "fine");
        let task = hive.task(id).await;
        assert_eq!(
            (&task["bot_deaths"], &task["suspicions"]),
            (&json!(0), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_program_that_reads_nothing_is_ended() {
    let hive = Workers::start(&["bots.worker.write_timeout=300ms"]).await;
    let program = r#"
import time
print('{"type":"hello","protocol":1,"pings":false}', flush=True)
time.sleep(3600)
"#;
    hive.launch_program(program, 1).await;
    let mut content = String::new();
    for n in 0..30_000 {
        write!(content, "{n} ").unwrap();
    }
    let id = hive.submit(&content).await;
    hive.until_exit("has not read its standard input for 0.3 s")
        .await;
    assert_eq!(hive.app.result(&id).await["success"], false);
}

#[tokio::test]
async fn a_flood_of_lines_takes_no_memory_and_no_other_bot() {
    let hive = Workers::start(&["bots.worker.max_garbage=1000000"]).await;
    let body = r#"
def task(t):
    line = json.dumps({"type": "pong", "n": 1}) + "\n"
    for _ in range(2000): sys.stdout.write(line * 100)
    sys.stdout.write("w" * 50000000 + "\n"); sys.stdout.flush()
    ok(t, "fine")
"#;
    hive.launch(body, 1).await;
    let id = hive.submit("x").await;
    hive.app
        .bot("other", crate::support::upper(), &["general"])
        .await;
    let other = hive.app.submit(&crate::support::task("hello")).await;
    assert_eq!(hive.app.result(&other).await["output"], "HELLO");
    assert_eq!(hive.app.result(&id).await["output"], "fine");
    hive.until_logged("it has 50000000 bytes").await;
}

#[tokio::test]
async fn a_stopped_bot_leaves_nothing_running() {
    let hive = Workers::start(&[]).await;
    let (asked, stubborn) = (unique_sleep(), unique_sleep());
    let body = format!(
        r#"
import signal, subprocess
subprocess.Popen(["sleep", "{asked}"])
def task(t):
    if t["content"] == "wait": time.sleep(0.2); ok(t, "in time")
    if t["content"] == "stubborn":
        subprocess.Popen(["sleep", "{stubborn}"], start_new_session=True)
        signal_ignored.wait()
signal_ignored = threading.Event()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"#
    );
    // It reads the shutdown and goes, and its child with it.
    hive.launch(&body, 2).await;
    hive.until_status("healthy").await;
    assert_eq!(sleeping(&asked), 1);
    let stubborn_task = hive.submit("stubborn").await;
    until("the child runs", async || sleeping(&stubborn) == 1).await;
    let stop = "/api/v1/bots/w/stop";
    hive.app.post(stop, &Value::Null).await.is(202);
    hive.until_task(&stubborn_task, "queued").await;
    let task = hive.task(&stubborn_task).await;
    assert_eq!(task["failures"], 0, "{task}");
    until("nothing runs", async || {
        sleeping(&asked) + sleeping(&stubborn) == 0
    })
    .await;
    hive.until_status("stopped").await;
    // A drained bot answers first.
    let path = format!("/api/v1/tasks/{stubborn_task}/cancel");
    hive.app.post(&path, &Value::Null).await;
    let launch = "/api/v1/bots/w/launch";
    hive.app.post(launch, &Value::Null).await.is(202);
    let waits = hive.submit("wait").await;
    hive.until_task(&waits, "running").await;
    hive.app
        .post("/api/v1/bots/w/drain", &Value::Null)
        .await
        .is(202);
    assert_eq!(hive.app.result(&waits).await["output"], "in time");
    hive.until_status("stopped").await;
    until("nothing runs", async || sleeping(&asked) == 0).await;
}

#[tokio::test]
async fn a_program_that_ignores_the_shutdown_is_killed() {
    let hive = Workers::start(&[]).await;
    let program = r#"
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"type":"hello","protocol":1,"pings":false}', flush=True)
while True: time.sleep(1)
"#;
    hive.launch_program(program, 1).await;
    hive.until_status("healthy").await;
    let pid = hive.bot().await["pids"][0].as_u64().unwrap();
    hive.app
        .post("/api/v1/bots/w/stop", &Value::Null)
        .await
        .is(202);
    until("the program is gone", async || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    })
    .await;
    hive.until_status("stopped").await;
    let bot = hive.bot().await;
    assert_eq!(bot["restarts"], 0, "a stop is no crash: {bot}");
}
