//! Journeys of somebody who runs bots from the command line.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{cli_support::CliHive, support::block_until};

#[test]
fn the_life_of_a_bot() {
    let hive = CliHive::start(&[]);
    let program = ["--command", "tr", "a-z", "A-Z", "--specialize", "shout"];
    let said = hive
        .admin(&[&["bot", "add", "upper-9"], &program[..]].concat())
        .ok();
    assert!(said.out.contains("offline"), "{said:?}");
    assert!(said.err.contains("deia bot launch upper-9"), "{said:?}");
    let said = hive.admin(&["bot", "launch", "upper-9", "--wait"]).ok();
    assert!(said.out.contains("healthy"), "{said:?}");

    let shout = ["task", "submit", "x", "--type", "shout", "--wait"];
    assert_eq!(hive.json(&shout)["bot_id"], "upper-9");
    let bot = hive.json(&["bot", "show", "upper-9"]);
    assert_eq!(bot["executor"]["command"], json!(["tr", "a-z", "A-Z"]));
    let listed = hive.json(&["bot", "list"]);
    let names: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| &b["id"])
        .collect();
    assert_eq!(names, ["sim-1", "sim-2", "upper-1", "upper-9"]);
    let table = hive.admin(&["bot", "list"]).ok().out;
    assert_eq!(table.lines().count(), 5, "{table}");
    let shown = hive.admin(&["bot", "show", "upper-9"]).ok().out;
    assert!(
        shown.contains("tr a-z A-Z") && shown.contains("shout"),
        "{shown}"
    );

    hive.admin(&["bot", "remove", "upper-9", "--yes"])
        .exits(6)
        .only_tells("bot_in_use");
    hive.admin(&["bot", "remove", "upper-9"])
        .exits(2)
        .only_tells("--yes");
    let said = hive.admin(&["bot", "stop", "upper-9", "--wait"]).ok();
    assert!(said.out.contains("stopped"), "{said:?}");
    hive.admin(&["bot", "remove", "upper-9", "--yes"])
        .ok()
        .only_tells("is removed");
    for command in [
        &["show"][..],
        &["launch"],
        &["stop"],
        &["drain"],
        &["remove", "--yes"],
        &["logs"],
    ] {
        let args = [&["bot"], command, &["upper-9"]].concat();
        hive.admin(&args).exits(4).only_tells("upper-9");
    }
}

#[test]
fn a_bot_is_drained() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["x", "--type", "general"]);
    let said = hive.admin(&["bot", "drain", "upper-1", "--wait"]).ok();
    assert!(said.out.contains("stopped"), "{said:?}");
    let said = hive.admin(&["bot", "show", "upper-1"]).ok();
    assert!(said.out.contains("desired"), "{said:?}");
    let task = hive.json(&["task", "show", &id]);
    // The bot held the task and has done it, or did not hold it and left it alone.
    let status = task["status"].as_str().unwrap();
    assert!(["completed", "queued"].contains(&status), "{task}");
}

#[test]
fn a_log_is_followed() {
    let hive = CliHive::start(&[]);
    let say = [
        "bot",
        "add",
        "say",
        "--specialize",
        "say",
        "--launch",
        "--wait",
    ];
    hive.admin(&[&say[..], &["--", "sh", "-c", "cat >&2; echo >&2"]].concat())
        .ok();
    let speak = |text| {
        hive.admin(&["task", "submit", text, "--type", "say", "--wait"])
            .ok()
    };
    speak("before");
    let mut follow = hive.command(&["bot", "logs", "say", "--follow", "--output", "jsonl"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut heard = |text: &str| {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(line["line"].as_str().unwrap().ends_with(text), "{line}");
        assert!(line["position"].is_string(), "{line}");
    };
    heard("before");
    speak("after");
    heard("after");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn adding_does_not_replace_unless_told_to() {
    let hive = CliHive::start(&[]);
    let add = |behavior| ["bot", "add", "sim-9", "--simulated", behavior];
    hive.admin(&add("slow")).ok();
    hive.admin(&add("perfect")).exits(6).only_tells("--replace");
    assert_eq!(
        hive.json(&["bot", "show", "sim-9"])["executor"]["behavior"],
        "slow"
    );
    hive.admin(&[&add("perfect")[..], &["--replace"]].concat())
        .ok();
    assert_eq!(
        hive.json(&["bot", "show", "sim-9"])["executor"]["behavior"],
        "perfect"
    );
}

#[test]
fn replacement_names_the_running_tasks_that_go_back() {
    let hive = CliHive::start(&[]);
    let add = ["bot", "add", "slow-9", "--specialize", "slow", "--launch"];
    let add = [&add[..], &["--replace"]].concat();
    let program = ["--", "sleep", "600"];
    let said = hive.admin(&[&add[..], &program].concat()).ok();
    assert!(!said.err.contains("back to the queue"), "{said:?}");
    let id = hive.submit(&["x", "--type", "slow"]);
    block_until("the task runs", || {
        hive.json(&["task", "show", &id])["status"] == "running"
    });
    let said = hive.admin(&[&add[..], &program].concat()).ok();
    let expected = "1 running task goes back to the queue; deia bot drain slow-9";
    assert!(said.err.contains(expected), "{said:?}");
}

#[test]
fn a_specification_comes_from_a_file_or_a_pipe() {
    let hive = CliHive::start(&[]);
    let spec = json!({
        "executor": {"kind": "command", "command": ["env"], "env": {"REGION": "north"}},
        "capabilities": {"specializations": ["env"], "max_concurrent_tasks": 2},
    });
    let file = hive.path("spec.json");
    fs::write(&file, spec.to_string()).unwrap();
    let file = file.to_str().unwrap();
    hive.admin(&[
        "bot",
        "add",
        "from-file",
        "--file",
        file,
        "--launch",
        "--wait",
    ])
    .ok();
    let stdin = ["bot", "add", "from-pipe", "--file", "-"];
    hive.admin_reading(&spec.to_string(), &stdin).ok();
    let said = hive
        .admin(&["task", "submit", "x", "--type", "env", "--wait"])
        .ok();
    assert!(said.out.contains("REGION=north\n"), "{said:?}");
    let bot = hive.json(&["bot", "show", "from-pipe"]);
    assert_eq!(bot["capabilities"]["max_concurrent_tasks"], 2);
    assert_eq!(bot["executor"]["env"]["REGION"], "north");

    for (text, expected) in [
        ("", "EOF"),
        (r#"{"executor":{"kind":"rocket"}}"#, "rocket"),
        (
            r#"{"executor":{"kind":"command","command":[]}}"#,
            "/executor/command",
        ),
        (
            r#"{"executor":{"kind":"command","command":["x"]},"capabilities":{"max_concurrent_tasks":0}}"#,
            "/capabilities/max_concurrent_tasks",
        ),
    ] {
        hive.admin_reading(text, &["bot", "add", "wrong", "--file", "-"])
            .exits(2)
            .only_tells(expected);
    }
    hive.admin(&["bot", "add", "wrong", "--file", "/no/such/file"])
        .exits(2)
        .only_tells("/no/such");
    hive.admin(&["bot", "add", "Wrong_Name", "--command", "x"])
        .exits(2)
        .only_tells("1 to 63");
    hive.admin(&["bot", "show", "wrong"]).exits(4);
}

#[test]
fn a_bot_that_keeps_crashing_makes_the_hive_unhealthy() {
    let hive = CliHive::start(&["bots.restart.restarts=1", "bots.restart.min=1ms"]);
    hive.admin(&["health", "check"]).ok();
    let spec = json!({
        "executor": {"kind": "simulated", "crash_rate": 1.0},
        "capabilities": {"specializations": ["bomb"]},
    });
    let add = ["bot", "add", "crasher", "--file", "-", "--launch", "--wait"];
    hive.admin_reading(&spec.to_string(), &add).ok();
    // The bot dies of this task, is restarted, and dies of it again: over its budget.
    hive.submit(&["x", "--type", "bomb"]);
    let said = block_until("the hive is not healthy", || {
        Some(hive.admin(&["health", "check"])).filter(|said| said.code != 0)
    });
    let said = said.exits(3);
    assert!(
        said.out.contains("crasher") && said.err.contains("crasher"),
        "{said:?}"
    );
    let said = hive
        .admin(&["health", "check", "--output", "json"])
        .exits(3);
    assert_eq!(said.parsed()["healthy"], false);
    let bot = hive.json(&["bot", "show", "crasher"]);
    assert_eq!(bot["status"], "failing");
    assert!(bot["last_exit"].is_string(), "{bot}");
}

#[test]
fn a_remote_bot_waits_for_its_workers() {
    let hive = CliHive::start(&[]);
    let add = ["bot", "add", "far-1", "--remote", "--specialize", "far"];
    let said = hive
        .admin(&[&add[..], &["--heartbeat", "1s", "--launch"]].concat())
        .ok();
    assert!(said.out.contains("far-1"), "{said:?}");
    let bot = hive.json(&["bot", "show", "far-1"]);
    assert_eq!(
        bot["executor"],
        json!({"kind": "remote", "heartbeat_seconds": 1})
    );
    let shown = block_until("the bot is degraded", || {
        Some(hive.admin(&["bot", "show", "far-1"]).ok().out)
            .filter(|shown| shown.contains("no worker asks for tasks"))
    });
    assert!(shown.contains("a heartbeat every 1 s"), "{shown}");
    let id = hive.submit(&["x", "--type", "far"]);
    let why = hive.admin(&["task", "why", &id]).ok().out;
    assert!(why.contains("far-1"), "{why}");
    hive.admin(&["bot", "add", "far-2", "--remote", "--heartbeat", "2h"])
        .exits(2)
        .only_tells("/executor/heartbeat_seconds");
}

#[test]
fn limits_and_a_probe_are_options() {
    let hive = CliHive::start(&[]);
    let words = "bot add held --max-memory 512MiB --max-cpu 10m --on-excess fail --idle-timeout 2m \
        --probe-http /healthz --probe-every 5s --command cat";
    let words: Vec<&str> = words.split_whitespace().collect();
    hive.admin(&words).ok();
    let bot = hive.json(&["bot", "show", "held"]);
    assert_eq!(
        bot["limits"],
        json!({"memory_bytes": 512 << 20, "cpu_seconds": 600, "on_excess": "fail"})
    );
    assert_eq!(bot["idle_timeout_seconds"], 120);
    assert_eq!(bot["probe"]["http_path"], "/healthz");
    for (words, option) in [
        ("--max-memory 10 --command cat", "--max-memory"),
        ("--max-descriptors 3 --command cat", "--max-descriptors"),
        ("--max-processes 9 --simulated slow", "--max-processes"),
        ("--probe-http healthz --command cat", "--probe-http"),
        (
            "--probe-tcp --probe-every 2h --command cat",
            "--probe-every",
        ),
    ] {
        let words = format!("bot add bad {words}");
        let words: Vec<&str> = words.split_whitespace().collect();
        hive.admin(&words).exits(2).only_tells(option);
    }
}

#[test]
fn waits_are_for_the_present_launch() {
    let hive = CliHive::start(&[]);
    let greeting = r#"{"type":"hello","protocol":1,"max_concurrent":1,"pings":false}"#;
    let script = format!("echo '{greeting}'; cat >/dev/null; sleep 0.2");
    let add = [
        "bot",
        "add",
        "w",
        "--launch",
        "--wait=20s",
        "--worker",
        "sh",
        "--",
        "-c",
    ];
    hive.admin(&[&add[..], &[&script]].concat()).ok();
    let pids = || hive.json(&["bot", "show", "w"])["pids"].clone();
    for _ in 0..3 {
        let before = pids();
        assert_eq!(before.as_array().unwrap().len(), 1, "{before}");
        hive.admin(&["bot", "stop", "w"]).ok();
        hive.admin(&["bot", "launch", "w", "--wait=20s"]).ok();
        let after = pids();
        assert_eq!(after.as_array().unwrap().len(), 1, "{after}");
        assert_ne!(before, after, "the earlier program was on its way out");
    }
    hive.admin(&["bot", "stop", "w", "--wait=20s"]).ok();
    assert_eq!(pids(), json!([]), "the program is gone");
}
