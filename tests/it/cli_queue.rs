//! Journeys of somebody who works the queue from the command line.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    cli_support::{CliHive, Said},
    support::block_until,
};

/// A bot for tasks of type `doomed`: they fail until the file `fixed` is there.
fn with_doomed(hive: &CliHive) {
    let script = format!("test -e {} && cat", hive.path("fixed").display());
    hive.admin(&[
        "bot",
        "add",
        "doom",
        "--specialize",
        "doomed",
        "--launch",
        "--wait=60s",
        "--",
        "sh",
        "-c",
        &script,
    ])
    .ok();
}

fn doomed(hive: &CliHive, more: &[&str]) -> String {
    let args = ["x", "--type", "doomed", "--max-attempts", "1"];
    let id = hive.submit(&[&args, more].concat());
    hive.admin(&["task", "result", &id, "--wait"]).exits(1);
    id
}

fn json_lines(said: &Said) -> Vec<Value> {
    let lines = said.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ids(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|task| task["id"].as_str().unwrap())
        .collect()
}

#[test]
fn lists_have_all_filters() {
    let hive = CliHive::start(&[]);
    let quiet = |more: &[&str]| hive.submit(&[&["x", "--type", "quiet"], more].concat());
    let a = quiet(&["--tag", "a", "--metadata", "ticket=42", "--dedup-key", "d"]);
    let both = quiet(&["--tag", "a", "--tag", "b"]);
    let other = quiet(&["--metadata", "ticket=43"]);
    hive.admin(&["task", "cancel", &other]).ok();
    for (filter, expected) in [
        (&["--tag", "a"][..], vec![&*both, &*a]),
        (&["--tag", "a", "--tag", "b"], vec![&*both]),
        (&["--metadata", "ticket=42"], vec![&*a]),
        (&["--dedup-key", "d"], vec![&*a]),
        (&["--reason", "cancelled"], vec![&*other]),
        (&["--reason", "poison"], vec![]),
        (&["--since", "1h", "--status", "cancelled"], vec![&*other]),
        (&["--until", "1h"], vec![]),
        (
            &["--since", "2026-01-01T00:00:00Z"],
            vec![&*other, &*both, &*a],
        ),
    ] {
        let args = [&["task", "list", "--type", "quiet"], filter].concat();
        assert_eq!(ids(&hive.json(&args)), expected, "{filter:?}");
    }
    // The same key while the task is unfinished: the same task.
    let said = hive.admin(&["task", "submit", "y", "--type", "quiet", "--dedup-key", "d"]);
    assert!(
        said.out.contains(&a) && said.err.contains("--dedup-key"),
        "{said:?}"
    );
}

#[test]
fn a_task_waits_as_it_was_told() {
    let hive = CliHive::start(&[]);
    let first = hive.submit(&["x", "--type", "quiet", "--delay", "1h", "--expires", "+2h"]);
    let second = hive.submit(&[
        "x",
        "--depends-on",
        &first,
        "--on-dependency-failure",
        "cancel",
        "--retry-min",
        "1m",
    ]);
    let why = hive.json(&["task", "why", &second]);
    assert_eq!(
        (&why["hold"], &why["waits_for"][0]["id"]),
        (&json!("waits_for_tasks"), &json!(first))
    );
    let why = hive.admin(&["task", "why", &first]).ok();
    assert!(why.out.contains("no earlier than"), "{why:?}");
    let shown = hive.admin(&["task", "show", &second]).ok().out;
    for part in [&*first, "1 of 1", "it is cancelled", "from 1m"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = hive.admin(&["task", "show", &first]).ok().out;
    assert!(shown.contains("expires"), "{shown}");

    hive.admin(&["task", "cancel", &first]).ok();
    let said = hive.admin(&["task", "watch", &second]).exits(1);
    assert!(said.out.contains("cancelled"), "{said:?}");
    let said = hive.admin(&["task", "events", &second, "--output", "jsonl"]);
    let actions: Vec<_> = json_lines(&said.ok())
        .iter()
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["task.submitted", "task.cancelled"]);
    let table = hive.admin(&["task", "events", &second]).ok().out;
    assert!(table.contains("task.submitted"), "{table}");
}

#[test]
fn a_file_of_tasks_is_submitted_once() {
    let hive = CliHive::start(&[]);
    let line = |content: &str, depends_on: &[&str]| {
        json!({"type": "general", "content": content, "depends_on": depends_on}).to_string()
    };
    let text = [
        line("a", &[]),
        String::new(),
        line("b", &["@0"]),
        line("c", &["@0", "@1"]),
    ];
    fs::write(hive.path("tasks.jsonl"), text.join("\n")).unwrap();
    // Smaller batches change nothing but what is all or nothing.
    for (key, size) in [("one", "1"), ("two", "2"), ("all", "1000")] {
        let submit = || {
            let file = ["task", "submit", "--file", "tasks.jsonl"];
            let how = ["--batch-size", size, "--idempotency-key", key];
            hive.admin(&[&file[..], &how].concat()).ok()
        };
        let said = submit();
        assert!(said.err.contains("3 tasks are accepted"), "{said:?}");
        let ids: Vec<_> = said.out.lines().collect();
        let last = hive.json(&["task", "show", ids[2]]);
        assert_eq!(last["depends_on"], json!([ids[0], ids[1]]), "{key}");
        assert_eq!(
            hive.json(&["task", "result", ids[2], "--wait"])["output"],
            "C"
        );
        assert_eq!(submit().out, said.out, "repeated");
    }
    assert_eq!(ids(&hive.json(&["task", "list"])).len(), 9);

    let piped = format!("{}\n", line("d", &[]));
    let file = ["task", "submit", "--file", "-", "--output", "jsonl"];
    let said = hive.admin_reading(&piped, &file).ok();
    assert_eq!(json_lines(&said)[0]["line"], 1);
    hive.admin_reading("\n", &file)
        .ok()
        .only_tells("has no tasks");
}

#[test]
fn a_file_with_a_fault_says_where_it_is_and_how_to_go_on() {
    let hive = CliHive::start(&[]);
    let good = json!({"type": "general", "content": "a"}).to_string();
    let file = ["task", "submit", "--file", "-", "--batch-size", "1"];
    let with = |bad: &str, more: &[&str]| {
        let args = [&file[..], more].concat();
        hive.admin_reading(&format!("{good}\n{bad}\n"), &args)
    };
    let said = with("{\"content\":\"b\"}", &["--idempotency-key", "k"]).exits(2);
    for part in [
        "line 2: missing field `type`",
        "1 task is accepted",
        "--idempotency-key k",
    ] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    assert_eq!(said.out.lines().count(), 1, "{said:?}");
    // A refusal by the hive is reported by the line, too.
    let refused = json!({"type": "general", "content": "b", "max_attempts": 0}).to_string();
    let said = with(&refused, &["--idempotency-key", "k"]).exits(2);
    assert!(said.err.contains("line 2 /max_attempts: is 0"), "{said:?}");
    // Mended, it goes on where it stopped.
    let said = with(&good, &["--idempotency-key", "k"]).ok();
    assert_eq!(said.out.lines().count(), 2, "{said:?}");
    assert_eq!(ids(&hive.json(&["task", "list"])).len(), 2);
    // Nothing is accepted: nothing is to be gone on with.
    hive.admin_reading("nonsense", &file)
        .exits(2)
        .only_tells("line 1: ");
    hive.admin(&["task", "submit", "--file", "no-such-file"])
        .exits(2)
        .only_tells("no-such-file");
}

#[test]
fn a_task_is_watched_to_its_end() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["hello"]);
    let said = hive.admin(&["task", "watch", &id]).ok();
    assert!(said.out.ends_with("HELLO\n"), "{said:?}");
    assert!(
        said.out.contains("completed, attempt 1, upper-1"),
        "{said:?}"
    );
    let lines = json_lines(
        &hive
            .admin(&["task", "watch", &id, "--output", "jsonl"])
            .ok(),
    );
    assert_eq!(
        (&lines[0]["status"], &lines.last().unwrap()["output"]),
        (&json!("completed"), &json!("HELLO"))
    );
    assert_eq!(hive.json(&["task", "watch", &id])["output"], "HELLO");
    with_doomed(&hive);
    let id = doomed(&hive, &[]);
    let said = hive.admin(&["task", "watch", &id]).exits(1);
    assert!(said.out.contains("failed, attempt 1"), "{said:?}");
    hive.admin(&["task", "watch", "task_01h455vb4pex5vsknk084sn02q"])
        .exits(4);
}

#[test]
fn watching_is_interrupted_and_the_task_goes_on() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["x", "--type", "quiet"]);
    let mut child = hive
        .command(&["task", "watch", &id, "--output", "jsonl"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    let change: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(change["status"], "queued");
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{err}");
    assert!(err.contains("continues"), "{err}");
    assert_eq!(hive.json(&["task", "status", &id])["status"], "queued");
}

#[test]
fn a_type_is_paused_and_resumed() {
    let hive = CliHive::start(&[]);
    let pause = [
        "queue",
        "pause",
        "--type",
        "general",
        "--reason",
        "spring cleaning",
    ];
    let said = hive.admin(&pause).ok();
    assert!(said.out.contains("spring cleaning"), "{said:?}");
    let id = hive.submit(&["held"]);
    assert_eq!(hive.json(&["task", "why", &id])["hold"], "type_paused");
    let shown = hive.admin(&["queue", "status"]).ok().out;
    for part in ["type general", "spring cleaning", "in the last minute"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // The pause of the queue is another one.
    hive.admin(&["queue", "pause"]).ok();
    let paused = hive.json(&["queue", "resume"]);
    assert_eq!(paused["paused"].as_array().unwrap().len(), 1);
    hive.admin(&["queue", "resume", "--type", "general"])
        .ok()
        .only_tells("nothing is paused");
    assert_eq!(
        hive.json(&["task", "result", &id, "--wait"])["output"],
        "HELD"
    );
}

#[test]
fn what_failed_is_listed_and_put_back() {
    let hive = CliHive::start(&[]);
    with_doomed(&hive);
    hive.admin(&["queue", "dead"])
        .ok()
        .only_tells("no failed tasks match");
    let failed: Vec<_> = ["a", "b", "c"]
        .map(|tag| doomed(&hive, &["--tag", tag]))
        .into();
    let dead = hive.json(&["queue", "dead", "--reason", "attempts", "--bot", "doom"]);
    assert_eq!(ids(&dead).len(), 3);
    assert_eq!(
        ids(&hive.json(&["queue", "dead", "--tag", "b"])),
        [&*failed[1]]
    );
    let table = hive.admin(&["queue", "dead"]).ok().out;
    assert!(
        table.contains("attempts") && table.contains(&failed[0]),
        "{table}"
    );
    let shown = hive.admin(&["task", "show", &failed[0]]).ok().out;
    for part in ["its attempts were used up", "OUTCOME", "doom"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    fs::write(hive.path("fixed"), "").unwrap();
    let back = hive.json(&["task", "retry", &failed[0]]);
    assert_eq!(back["id"], *failed[0]);
    assert_eq!(
        hive.json(&["task", "result", &failed[0], "--wait"])["output"],
        "x"
    );
    let said = hive
        .admin(&["queue", "requeue", &failed[1], &failed[0]])
        .exits(6);
    let expected = format!("1 task was not put back\n  {} is completed", failed[0]);
    assert!(said.err.contains(&expected), "{said:?}");
    hive.admin(&["queue", "requeue"])
        .exits(2)
        .only_tells("--all");
    hive.admin(&["queue", "requeue", "--tag", "c"])
        .exits(2)
        .only_tells("put 1 failed task back");
    hive.admin(&["queue", "requeue", &failed[2], "--tag", "c"])
        .exits(2);
    let changed = hive.json(&[
        "queue", "requeue", "--tag", "c", "--reason", "attempts", "--yes",
    ]);
    assert_eq!(
        changed,
        json!({"changed": 1, "skipped": 0, "complete": true})
    );
    for id in &failed {
        hive.admin(&["task", "result", id, "--wait"]).ok();
    }
}

#[test]
fn waiting_tasks_are_cancelled_many_at_once() {
    let hive = CliHive::start(&[]);
    for tag in ["a", "a", "b"] {
        hive.submit(&["x", "--type", "quiet", "--tag", tag]);
    }
    hive.submit(&["x", "--type", "quiet", "--delay", "1h"]);
    hive.admin(&["queue", "purge", "--yes"])
        .exits(2)
        .only_tells("--all");
    hive.admin(&["queue", "purge", "--type", "quiet"])
        .exits(2)
        .only_tells("cancel 4 waiting tasks");
    hive.admin(&["queue", "purge", "--tag", "a"])
        .exits(2)
        .only_tells("cancel 2 waiting tasks");
    let changed = hive.json(&["queue", "purge", "--tag", "a", "--yes"]);
    assert_eq!(changed["changed"], 2);
    let changed = hive.json(&["queue", "purge", "--status", "pending", "--all", "--yes"]);
    assert_eq!(changed["changed"], 1);
    let said = hive.admin(&["queue", "purge", "--all", "--yes"]).ok();
    assert!(said.out.contains("cancelled"), "{said:?}");
    let left = hive.json(&["queue", "status"]);
    assert_eq!(
        (&left["totals"]["cancelled"], &left["totals"]["queued"]),
        (&json!(4), &json!(0))
    );
}

#[test]
fn the_queue_is_drained() {
    let hive = CliHive::start(&["server.max_wait=1s"]);
    let (go, started) = (hive.path("go"), hive.path("started"));
    let script = format!(
        "touch {}; until test -e {}; do sleep 0.05; done",
        started.display(),
        go.display()
    );
    let add = [
        "bot",
        "add",
        "slow",
        "--specialize",
        "slow",
        "--launch",
        "--wait=60s",
    ];
    hive.admin(&[&add[..], &["--", "sh", "-c", &script]].concat())
        .ok();
    let id = hive.submit(&["x", "--type", "slow"]);
    let args = ["task", "list", "--status", "running", "--output", "jsonl"];
    block_until("the task runs", || !hive.admin(&args).ok().out.is_empty());
    let said = hive.admin(&["queue", "drain", "--type", "slow"]).ok();
    assert!(said.err.contains("--wait"), "{said:?}");
    // Longer than one request may wait.
    let said = hive.admin(&["queue", "drain", "--type", "slow", "--wait", "1500ms"]);
    assert!(said.exits(8).err.contains("1 task still runs"));
    fs::write(go, "").unwrap();
    let drained = hive.json(&["queue", "drain", "--type", "slow", "--wait"]);
    assert_eq!(drained, json!({"drained": true, "running": 0}));
    hive.admin(&["task", "result", &id]).ok();
    let paused = hive.json(&["queue", "status"]);
    assert_eq!(paused["paused"][0]["type"], "slow");
}
