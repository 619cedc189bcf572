//! The one program: `deia` serves and operates; Ctrl-C and a broken standard output
//! behave alike in every command.

use std::{
    fs::OpenOptions,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    cli_support::{CliHive, Said},
    support::block_until,
};

fn said(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The command with nowhere to write its data to.
fn on_full_disk(hive: &CliHive, args: &[&str]) -> Said {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = hive
        .command(args)
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn();
    said(child.unwrap())
}

/// Presses Ctrl-C once `ready` holds.
fn interrupted(hive: &CliHive, args: &[&str], ready: impl Fn() -> bool) -> Said {
    let mut command = hive.command(args);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap();
    block_until(&format!("{args:?} gets there"), ready);
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    said(child)
}

#[test]
fn deia_alone_serves_and_operates() {
    let hive = CliHive::start(&[]);
    let deia = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deia"));
        let output = command
            .args(args)
            .env("DEIA_URL", hive.url())
            .env("DEIA_DATA_DIR", hive.path("data"))
            .output();
        let output = output.unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    };
    assert_eq!(
        deia(&["task", "submit", "hello", "--wait"]).ok().out,
        "HELLO\n"
    );
    let help = deia(&["--help"]).ok().out;
    for command in ["serve", "check", "admin-key", "task", "events"] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
    }
    assert!(!help.contains("reaper"), "{help}");
    assert!(deia(&["serve", "--help"]).ok().out.contains("--bind"));
    assert!(deia(&["serv"]).exits(2).err.contains("serve"));
    let version = deia(&["version"]).ok();
    assert_eq!(version.out, deia(&["--version"]).ok().out);
    hive.admin(&["admin-key"]).exits(2).only_tells("--reset");
}

#[test]
fn ctrl_c_says_what_stays_and_how_to_go_on() {
    let hive = CliHive::start(&[]);
    let long = [
        "bot",
        "add",
        "long",
        "--specialize",
        "long",
        "--launch",
        "--wait",
        "--",
        "sleep",
        "600",
    ];
    hive.admin(&long).ok();
    let id = hive.submit(&["x", "--type", "long"]);
    let runs = || hive.json(&["task", "status", &id])["status"] == "running";
    let wait = interrupted(&hive, &["task", "result", &id, "--wait"], runs).exits(130);
    assert!(
        wait.err.contains(&format!("interrupted; {id} continues")),
        "{wait:?}"
    );
    assert!(wait.err.contains("deia task watch"), "{wait:?}");

    let paused = || {
        !hive.json(&["queue", "status"])["paused"]
            .as_array()
            .unwrap()
            .is_empty()
    };
    let drain = ["queue", "drain", "--type", "long", "--wait", "5m"];
    let drain = interrupted(&hive, &drain, paused).exits(130);
    assert!(drain.err.contains("type long stays paused"), "{drain:?}");
    assert!(
        drain.err.contains("deia queue resume --type long"),
        "{drain:?}"
    );

    let drained = hive
        .admin(&["queue", "drain", "--type", "long", "--wait=100ms"])
        .exits(8);
    assert!(
        drained.err.contains("deia queue resume --type long"),
        "{drained:?}"
    );
}

#[test]
fn created_id_is_named_when_the_answer_cannot_be_shown() {
    let hive = CliHive::start(&[]);
    let keys = || {
        hive.json(&["key", "list"])["items"]
            .as_array()
            .unwrap()
            .len()
    };
    let before = keys();
    let create = [
        "key",
        "create",
        "--user",
        "ci",
        "--new-user",
        "--role",
        "external",
    ];
    let made = on_full_disk(&hive, &create).exits(1);
    assert_eq!(keys(), before + 1);
    let list = hive.json(&["key", "list"]);
    let id = list["items"].as_array().unwrap().last().unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    assert!(
        made.err.contains(&format!("deia key revoke {id}")),
        "{made:?}"
    );
    let submitted = on_full_disk(&hive, &["task", "submit", "x"]).exits(1);
    assert!(
        submitted.err.contains("deia task watch task_"),
        "{submitted:?}"
    );
    on_full_disk(&hive, &["--help"]).exits(1);
}

#[test]
fn an_option_takes_no_word_that_is_not_its_value() {
    let hive = CliHive::start(&[]);
    for args in [
        &["task", "submit", "--wait", "hello"][..],
        &["task", "submit", "--wait", "30s", "hello"],
        &["task", "submit", "hello", "--wait=30s"],
    ] {
        assert_eq!(hive.admin(args).ok().out, "HELLO\n", "{args:?}");
    }
    let dashed = hive.admin(&["task", "submit", "- a list", "--wait"]).ok();
    assert_eq!(dashed.out, "- A LIST\n");
    hive.admin(&["queue", "pause", "--type", "t", "--reason", "-5 %"])
        .ok();
    assert_eq!(
        hive.json(&["queue", "status"])["paused"][0]["reason"],
        "-5 %"
    );
}

#[test]
fn a_submission_with_a_span_can_be_repeated() {
    let hive = CliHive::start(&[]);
    let submit = [
        "x",
        "--delay",
        "1h",
        "--expires",
        "+2h",
        "--idempotency-key",
        "k",
    ];
    let first = hive.submit(&submit);
    assert_eq!(hive.submit(&submit), first);
    let task = hive.json(&["task", "show", &first]);
    assert_eq!(task["status"], "pending");
    assert!(
        task["expires_at"].as_str() > task["run_at"].as_str(),
        "{task}"
    );
}

#[test]
fn refusals_name_what_was_typed() {
    let hive = CliHive::start(&[]);
    let said = hive
        .admin(&["task", "submit", "x", "--timeout", "100000days"])
        .exits(2);
    said.only_tells("--timeout is 100000d; allowed are 1s to 7d");
    let said = hive
        .admin(&["task", "submit", "x", "--type", "nobody-takes-this"])
        .ok();
    assert!(
        said.err
            .contains("no bot takes tasks of type nobody-takes-this"),
        "{said:?}"
    );
    let viewer = hive.path("viewer.key");
    let create = [
        "key",
        "create",
        "--user",
        "v",
        "--new-user",
        "--role",
        "viewer",
        "--to",
    ];
    hive.admin(&[&create[..], &[viewer.to_str().unwrap()]].concat())
        .ok();
    hive.admin_as(&viewer, &["can-i", "task:read"]).ok();
    hive.admin_as(&viewer, &["can-i", "task:submit"]).exits(1);
}

#[test]
fn roles_events_and_a_restart_of_a_bot() {
    let hive = CliHive::start(&[]);
    assert!(hive.admin(&["roles"]).ok().out.contains("event:read"));
    let before = hive.json(&["bot", "show", "sim-1"])["launched_at"].clone();
    hive.admin(&["bot", "restart", "sim-1", "--wait", "60s"])
        .ok();
    let after = hive.json(&["bot", "show", "sim-1"]);
    assert_eq!(after["status"], "healthy");
    assert_ne!(after["launched_at"], before);
    let events = hive.json(&["events", "--target", "sim-1", "--action", "bot.stopped"]);
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    let table = hive.admin(&["events", "--since", "1h"]).ok().out;
    assert!(table.contains("bot.started"), "{table}");
}
