//! What newcomers try, and what they are told.

use std::fs;

use serde_json::json;

use crate::cli_support::{CliHive, Said};

fn tells(said: &Said, parts: &[&str]) {
    for part in parts {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
}

#[test]
fn help_is_found_by_its_name() {
    for (args, expected) in [
        (&["help"][..], "Submit tasks"),
        (&["help", "task"], "Usage: deia-admin task"),
        (&["bot", "help"], "Usage: deia-admin bot"),
    ] {
        let said = crate::cli_support::run(crate::cli_support::admin_command(args), "").ok();
        assert!(said.out.contains(expected), "{args:?}: {said:?}");
    }
}

#[test]
fn question_that_cannot_be_asked_names_all_options_that_spare_it() {
    let hive = CliHive::start(&[]);
    let own = hive.json(&["whoami"])["key_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = hive.admin(&["key", "revoke", &own]).exits(2);
    tells(&said, &["the access that you are using now", "--yes --own"]);
    let said = hive.admin(&["bot", "remove", "upper-1"]).exits(2);
    tells(&said, &["give --yes to do it"]);
}

#[test]
fn events_are_found_by_the_name_of_a_bot_with_and_without_its_kind() {
    let hive = CliHive::start(&[]);
    let of = |target: &str| hive.json(&["events", "--target", target]);
    let plain = of("upper-1");
    assert!(!plain["items"].as_array().unwrap().is_empty());
    assert_eq!(of("bot:upper-1"), plain);
}

#[test]
fn file_is_submitted_in_batches_that_the_hive_takes() {
    let hive = CliHive::start(&["tasks.max_batch=3"]);
    let lines = (0..8).map(|n| match n {
        5 => json!({"type": "general", "content": "5", "depends_on": ["@0", "@4"]}),
        n => json!({"type": "general", "content": n.to_string()}),
    });
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(hive.path("tasks.jsonl"), &text).unwrap();
    let file = ["task", "submit", "--file", "tasks.jsonl"];
    let said = hive
        .admin(&[&file[..], &["--output", "jsonl"]].concat())
        .ok();
    let ids: Vec<_> = said.out.lines().collect();
    assert_eq!(ids.len(), 8, "{said:?}");
    tells(&said, &["8 tasks are accepted"]);
    let fifth: serde_json::Value = serde_json::from_str(ids[5]).unwrap();
    let result = ["task", "result", fifth["id"].as_str().unwrap(), "--wait"];
    assert_eq!(hive.admin(&result).ok().out, "5\n");

    let wrong = text.replace("\"7\"", "7");
    fs::write(hive.path("tasks.jsonl"), wrong).unwrap();
    tells(&hive.admin(&file).exits(2), &["line 8"]);
}

#[test]
fn task_that_could_never_start_is_refused_unless_it_was_accepted_before() {
    let hive = CliHive::start(&[]);
    let past = "2020-01-01T00:00:00Z";
    let said = hive
        .admin(&["task", "submit", "x", "--expires", past])
        .exits(2);
    tells(&said, &["--expires", "in the past"]);
    // A span that is over before it is recorded is no mistake.
    hive.admin(&["task", "submit", "x", "--expires", "+1ms"])
        .ok();
    let soon = deia_hive::model::Timestamp::now().plus_millis(2_000);
    let soon = soon.to_string();
    let submit = [
        "task",
        "submit",
        "x",
        "--expires",
        &soon,
        "--idempotency-key",
        "k",
    ];
    let first = hive.json(&submit);
    while deia_hive::model::Timestamp::now().to_string() <= soon {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(hive.json(&submit)["id"], first["id"]);
}

#[test]
fn key_for_a_bot_that_is_not_there_comes_with_a_note() {
    let hive = CliHive::start(&[]);
    let create = [
        "key",
        "create",
        "--user",
        "w",
        "--new-user",
        "--role",
        "bot",
        "--bot",
    ];
    let said = hive.admin(&[&create[..], &["nosuch"]].concat()).ok();
    tells(&said, &["there is no bot nosuch yet"]);
    let said = hive.admin(&[&create[..], &["upper-1"]].concat()).ok();
    assert!(!said.err.contains("yet"), "{said:?}");
}
