//! Journeys of somebody who submits tasks from the command line.

use serde_json::json;

use crate::cli_support::CliHive;

const NO_SUCH_TASK: &str = "task_01h455vb4pex5vsknk084sn02q";

#[test]
fn a_task_is_submitted_and_its_result_is_data() {
    let hive = CliHive::start(&[]);
    let said = hive.admin(&["task", "submit", "hello", "--wait"]).ok();
    assert_eq!(said.out, "HELLO\n");
    assert!(said.err.contains("completed: upper-1"), "{said:?}");

    let said = hive
        .admin_reading("from a pipe", &["task", "submit", "-", "--wait"])
        .ok();
    assert_eq!(said.out, "FROM A PIPE\n");

    let result = hive.json(&["task", "submit", "x", "--wait", "60s"]);
    assert_eq!(
        (&result["success"], &result["output"], &result["bot_id"]),
        (&json!(true), &json!("X"), &json!("upper-1"))
    );

    let id = hive.submit(&["later"]);
    let result = hive.json(&["task", "result", &id, "--wait"]);
    assert_eq!(result["output"], "LATER");
    let said = hive.admin(&["task", "status", &id]).ok();
    assert_eq!((&*said.out, &*said.err), ("completed\n", ""));
    assert_eq!(hive.json(&["task", "status", &id])["status"], "completed");
}

#[test]
fn what_is_said_of_a_task_reaches_it() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&[
        "content here",
        "--type",
        "nobody.takes-this",
        "--priority",
        "P0",
        "--tag",
        "a",
        "--tag",
        "b",
        "--metadata",
        "ticket=42",
        "--metadata",
        "size:=42",
        "--run-at",
        "2026-01-01T00:00:00Z",
        "--max-attempts",
        "2",
        "--timeout",
        "30s",
    ]);
    let task = hive.json(&["task", "show", &id]);
    for (field, expected) in [
        ("content", json!("content here")),
        ("type", json!("nobody.takes-this")),
        ("priority", json!("P0")),
        ("tags", json!(["a", "b"])),
        ("metadata", json!({"ticket": "42", "size": 42})),
        ("max_attempts", json!(2)),
        ("timeout_seconds", json!(30)),
        ("status", json!("queued")),
    ] {
        assert_eq!(task[field], expected, "{field}");
    }
    let shown = hive.admin(&["task", "show", &id]).ok().out;
    for part in ["queued", "content here", "ticket", "30s"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let later = hive.submit(&["x", "--run-at", "+1h"]);
    assert_eq!(
        hive.admin(&["task", "status", &later]).ok().out,
        "pending\n"
    );
}

#[test]
fn lists_are_filtered_and_paged() {
    let hive = CliHive::start(&[]);
    hive.admin(&["task", "list"])
        .ok()
        .only_tells("no tasks match");
    let ids: Vec<_> = (0..3)
        .map(|_| hive.submit(&["x", "--type", "quiet"]))
        .collect();
    hive.submit(&["y", "--type", "other", "--priority", "P1"]);

    let said = hive
        .admin(&["task", "list", "--type", "quiet", "--output", "jsonl"])
        .ok();
    let listed: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let listed: Vec<_> = listed
        .iter()
        .map(|task| task["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        listed,
        ids.iter().rev().collect::<Vec<_>>(),
        "the newest first"
    );

    let first = hive.json(&["task", "list", "--type", "quiet", "--limit", "2"]);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = hive.json(&[
        "task", "list", "--type", "quiet", "--limit", "2", "--cursor", cursor,
    ]);
    assert_eq!(second["items"][0]["id"], *ids[0]);
    let said = hive.admin(&["task", "list", "--limit", "2"]).ok();
    assert!(said.err.contains("--cursor "), "{said:?}");

    for (filter, expected) in [
        (["--priority", "p1"], 1),
        (["--status", "queued"], 4),
        (["--status", "failed"], 0),
        (["--submitter", "nobody"], 0),
        (["--bot", "upper-1"], 0),
    ] {
        let page = hive.json(&[&["task", "list"], &filter[..]].concat());
        assert_eq!(
            page["items"].as_array().unwrap().len(),
            expected,
            "{filter:?}"
        );
    }
    hive.admin(&["task", "list", "--cursor", "made-up"])
        .exits(2)
        .only_tells("bad_cursor");
}

#[test]
fn failures_are_exit_code_1_and_lateness_is_8() {
    let hive = CliHive::start(&[]);
    let add = [
        "bot",
        "add",
        "fails",
        "--specialize",
        "doomed",
        "--launch",
        "--wait",
        "--",
    ];
    let program = ["sh", "-c", "echo so far; echo broken >&2; exit 7"];
    hive.admin(&[&add[..], &program].concat()).ok();

    let doomed = [
        "task",
        "submit",
        "x",
        "--type",
        "doomed",
        "--max-attempts",
        "1",
        "--wait",
    ];
    let said = hive.admin(&doomed).exits(1);
    assert!(said.err.contains("did not succeed"), "{said:?}");
    assert!(said.err.contains("exit code 7"), "{said:?}");
    let said = hive
        .admin(&[&doomed[..], &["--output", "json"]].concat())
        .exits(1);
    assert_eq!(said.parsed()["exit_code"], 7);
    let id = said.parsed()["task_id"].as_str().unwrap().to_owned();
    hive.admin(&["task", "result", &id]).exits(1);
    let log = hive.admin(&["bot", "logs", "fails"]).ok();
    assert!(log.out.contains("broken"), "{log:?}");

    let late = ["task", "submit", "x", "--type", "quiet", "--wait", "300ms"];
    hive.admin(&late)
        .exits(8)
        .only_tells("has not ended after 300ms");
    let id = hive.submit(&["x", "--type", "quiet"]);
    hive.admin(&["task", "result", &id, "--wait", "300ms"])
        .exits(8)
        .only_tells(&id);
}

#[test]
fn waiting_longer_than_the_hive_allows_at_once_is_no_error() {
    let hive = CliHive::start(&["server.max_wait=1s"]);
    let id = hive.submit(&["x", "--type", "quiet"]);
    hive.admin(&["task", "result", &id, "--wait", "1500ms"])
        .exits(8)
        .only_tells("has not ended after 1.5s");
    hive.admin(&["task", "cancel", &id]).ok();
    hive.admin(&["task", "result", &id, "--wait"])
        .exits(1)
        .only_tells("did not succeed");
}

#[test]
fn what_does_not_fit_is_refused() {
    let hive = CliHive::start(&["tasks.max_content_bytes=1KiB"]);
    let id = hive.submit(&["x", "--type", "quiet"]);
    hive.admin(&["task", "result", &id])
        .exits(6)
        .only_tells("--wait");
    let task = hive.json(&["task", "cancel", &id]);
    assert_eq!(task["status"], "cancelled");
    hive.admin(&["task", "cancel", &id])
        .exits(6)
        .only_tells("is cancelled already");

    for command in ["show", "status", "result", "cancel"] {
        hive.admin(&["task", command, NO_SUCH_TASK])
            .exits(4)
            .only_tells(NO_SUCH_TASK);
        hive.admin(&["task", command, "task_x"])
            .exits(2)
            .only_tells("26 characters");
    }
    let long = "x".repeat(1_025);
    hive.admin(&["task", "submit", &long])
        .exits(2)
        .only_tells("CONTENT");
    hive.admin_reading(&long, &["task", "submit", "-"])
        .exits(2)
        .only_tells("CONTENT");

    let submit = |content| {
        [
            "task",
            "submit",
            content,
            "--type",
            "quiet",
            "--idempotency-key",
            "k-1",
        ]
    };
    let first = hive.json(&submit("same"));
    assert_eq!(hive.json(&submit("same"))["id"], first["id"]);
    hive.admin(&submit("other"))
        .exits(2)
        .only_tells("idempotency_mismatch");
}
