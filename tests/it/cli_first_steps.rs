//! Commands that newcomers try, and the messages that they get.

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
    hive.admin(&["queue", "pause"]).ok();
    let soon = deia_model::Timestamp::now().plus_millis(5_000);
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
    let id = first["id"].as_str().unwrap();
    let ended = hive.admin(&["task", "result", id, "--wait"]).exits(1);
    tells(&ended, &["did not start before it expired"]);
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

#[test]
fn faults_name_the_option_and_what_is_allowed() {
    let hive = CliHive::start(&[]);
    let task = "task_01h455vb4pex5vsknk084sn02q";
    let missing = "No such file or directory\n";
    for (args, parts) in [
        (
            &["bot", "add", "b", "--file", "/no/such"][..],
            &["--file /no/such: ", missing][..],
        ),
        (
            &["--ca-file", "/no/such", "whoami"],
            &["--ca-file /no/such: ", missing],
        ),
        (
            &["secret", "put", "x", "--from", "/no/such"],
            &["--from /no/such: ", missing],
        ),
        (
            &["task", "submit", "--file", "/no/such"],
            &["--file /no/such: ", missing],
        ),
        (
            &[
                "key",
                "create",
                "--user",
                "admin",
                "--role",
                "viewer",
                "--to",
                "/no/such/x",
            ],
            &["--to /no/such/x: ", missing],
        ),
        (
            &["--request-timeout", "0s", "whoami"],
            &["--request-timeout"],
        ),
        (
            &["task", "submit", "x", "--max-attempts", "many"],
            &["expected a whole number"],
        ),
        (
            &["task", "submit", "x", "--max-attempts", "101"],
            &["allowed are 1 to 100"],
        ),
        (
            &["task", "submit", "x", "--retry-factor", "much"],
            &["expected a number such as"],
        ),
        (
            &[
                "task",
                "submit",
                "x",
                "--retry-min",
                "5m",
                "--retry-max",
                "1s",
            ],
            &["--retry-max", "--retry-min"],
        ),
        (
            &["task", "submit", "x", "--depends-on", task],
            &["--depends-on, number 1: there is no task"],
        ),
        (
            &["queue", "requeue", task, "--type", "x"],
            &["give ids or filters, not both"],
        ),
        (
            &["supervisors", "restart", "scheduler", "--yes"],
            &["nearest: hive/core/scheduler"],
        ),
        (&["profile", "use", "nope"], &["deia profile list"]),
        (
            &["--data-dir", "/etc/passwd", "whoami"],
            &["--data-dir /etc/passwd: is not a directory"],
        ),
    ] {
        let said = hive.admin(args);
        assert_ne!(said.code, 0, "{args:?}: {said:?}");
        tells(&said, parts);
        for word in ["os error", "invalid digit", "1..=", "min_ms", "max_ms"] {
            assert!(!said.err.contains(word), "{word}: {said:?}");
        }
    }
    let mut elsewhere = crate::cli_support::admin_command(&["whoami"]);
    elsewhere.env("DEIA_URL", "http://127.0.0.1:9");
    let said = crate::cli_support::run(elsewhere, "").exits(7);
    tells(&said, &["the URL is that of DEIA_URL"]);
    let mut below = hive.command(&["whoami"]);
    below.env("DEIA_URL", format!("{}/api/v1", hive.url()));
    let said = crate::cli_support::run(below, "").exits(2);
    tells(&said, &["leave the path out"]);
}

#[test]
fn task_without_an_output_says_why_and_where_to_look() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["x", "--delay", "1h"]);
    let told = |part: &str, next: &str| {
        let said = hive.admin(&["task", "output", &id]);
        assert_ne!(said.code, 0, "{said:?}");
        tells(&said, &[part, &format!("{next} {id}")]);
    };
    told("no attempt has begun", "deia task why");
    hive.admin(&["task", "cancel", &id]).ok();
    told("it had no attempt", "deia task why");
    hive.admin(&["task", "erase", &id, "--yes"]).ok();
    told("were erased at", "deia task show");
    let said = hive
        .admin(&["secret", "remove", "nosuch", "--yes"])
        .exits(4);
    tells(&said, &["There is no secret \"nosuch\""]);
    let create = [
        "key", "create", "--user", "admin", "--role", "external", "--scope",
    ];
    let said = hive
        .admin(&[&create[..], &["admin:keys"]].concat())
        .exits(2);
    tells(
        &said,
        &["--scope, number 1 is admin:keys, which is not among"],
    );
}

#[test]
fn filters_that_can_match_nothing_come_with_a_note() {
    let hive = CliHive::start(&[]);
    for (args, note) in [
        (
            &["events", "--action", "bot.crahsed"][..],
            "there is no action bot.crahsed; nearest: bot.crashed",
        ),
        (
            &["task", "list", "--bot", "nosuch"],
            "there is no bot nosuch",
        ),
        (
            &["task", "list", "--since", "1h", "--until", "2h"],
            "--since is not before --until",
        ),
        (
            &["events", "--since", "1h", "--until", "2h"],
            "--since is not before --until",
        ),
        (
            &["queue", "resume", "--type", "nosuch"],
            "type nosuch was not paused",
        ),
    ] {
        tells(&hive.admin(args).ok(), &[note]);
    }
    let known = hive.admin(&["events", "--action", "bot"]).ok();
    assert!(!known.err.contains("no action"), "{known:?}");
}

#[test]
fn more_is_promised_only_where_there_is_more() {
    let hive = CliHive::start(&[]);
    hive.submit(&["a"]);
    hive.submit(&["b"]);
    let list = |limit: &str| hive.admin(&["task", "list", "-n", limit]).ok().err;
    assert!(list("1").contains("there is more"));
    assert!(!list("2").contains("there is more"));
}

#[test]
fn answers_are_yes_or_no_and_reasons_told_once() {
    let hive = CliHive::start(&[]);
    let me = hive.admin(&["whoami"]).ok().out;
    assert!(!me.contains("true") && !me.contains("false"), "{me}");
    let key = hive.path("v.key");
    let to = key.to_str().unwrap();
    let create = [
        "key",
        "create",
        "--user",
        "v",
        "--new-user",
        "--role",
        "viewer",
        "--to",
        to,
    ];
    hive.admin(&create).ok();
    let said = hive.admin_as(&key, &["can-i", "task:submit"]).exits(1);
    let all = format!("{}{}", said.out, said.err);
    assert_eq!(all.matches("does not have it").count(), 1, "{all}");
}
