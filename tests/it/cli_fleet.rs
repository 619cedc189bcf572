//! Journeys of somebody who keeps a fleet of bots in a file.

use std::fs;

use serde_json::{Value, json};

use crate::cli_support::CliHive;

const FLEET: &str = r#"
group: agents
templates:
  echo:
    executor: { kind: command, command: [cat] }
    capabilities: { specializations: [echo], max_concurrent_tasks: 2 }
bots:
  - { name: echo, count: 2, template: echo }
  - { name: spare, template: echo, launch: false }
"#;

/// The rows of a report, as bot, action and outcome.
fn rows(report: &Value) -> Vec<[&str; 3]> {
    let items = report["items"].as_array().unwrap().iter();
    items
        .map(|row| ["bot", "action", "outcome"].map(|name| row[name].as_str().unwrap()))
        .collect()
}

#[test]
fn the_bots_of_a_hive_follow_a_file() {
    let hive = CliHive::start(&[]);
    let file = hive.path("fleet.yaml");
    let path = file.to_str().unwrap().to_owned();
    let apply = |more: &[&str]| hive.json(&[&["bot", "apply", "-f", &path], more].concat());
    fs::write(&file, FLEET).unwrap();

    let planned = apply(&["--dry-run"]);
    assert_eq!(rows(&planned)[0], ["echo-1", "create", "planned"]);
    hive.admin(&["bot", "show", "echo-1"]).exits(4);

    let applied = apply(&["--wait=60s"]);
    assert_eq!(
        rows(&applied),
        [
            ["echo-1", "create", "done"],
            ["echo-2", "create", "done"],
            ["spare", "create", "done"],
        ]
    );
    assert_eq!(hive.json(&["bot", "show", "echo-1"])["status"], "healthy");
    assert_eq!(hive.json(&["bot", "show", "spare"])["status"], "offline");
    let again = apply(&[]);
    assert!(
        rows(&again).iter().all(|row| row[1] == "unchanged"),
        "{again}"
    );

    // Others are left alone, by --prune too; a change of an existing bot asks.
    hive.admin(&[
        "bot",
        "add",
        "other",
        "--command",
        "cat",
        "--group",
        "others",
    ])
    .ok();
    fs::write(
        &file,
        FLEET
            .replace("count: 2", "count: 1")
            .replace("max_concurrent_tasks: 2", "max_concurrent_tasks: 3"),
    )
    .unwrap();
    hive.admin(&["bot", "apply", "-f", &path, "--prune"])
        .exits(2)
        .only_tells("change echo-1, spare and remove echo-2");
    let pruned = apply(&["--prune", "--yes"]);
    assert_eq!(
        rows(&pruned),
        [
            ["echo-1", "change", "done"],
            ["spare", "change", "done"],
            ["echo-2", "remove", "done"],
        ]
    );
    assert_eq!(
        pruned["items"][0]["changes"],
        json!(["capabilities.max_concurrent_tasks: 2 -> 3"])
    );
    let names = |args: &[&str]| {
        let page = hive.json(&[&["bot", "list"], args].concat());
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|bot| bot["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&["--group", "agents"]), ["echo-1", "spare"]);
    assert_eq!(names(&["--group", "others"]), ["other"]);
    assert_eq!(names(&["--label", "a=b"]), [""; 0]);
    assert_eq!(names(&[]).len(), 6, "those of the start are there");
}

#[test]
fn each_bot_of_a_fleet_has_its_own_result() {
    let hive = CliHive::start(&[]);
    let file = hive.path("fleet.json");
    let path = file.to_str().unwrap();
    // The secret is not in a place that the settings allow, which only the hive knows.
    let fleet = json!({"bots": [
        {"name": "bad", "executor": {"kind": "command", "command": ["cat"]},
         "secrets": {"KEY": {"file": "/nonexistent/key"}}},
        {"name": "good", "executor": {"kind": "command", "command": ["cat"]}},
    ]});
    fs::write(&file, fleet.to_string()).unwrap();
    let said = hive
        .admin(&["bot", "apply", "-f", path, "--output", "json"])
        .exits(1);
    let report = said.parsed();
    assert_eq!(
        rows(&report),
        [["bad", "create", "failed"], ["good", "create", "done"]]
    );
    assert!(report["items"][0]["detail"].is_string(), "{report}");
    assert!(said.err.contains("1 of 2 bots"), "{said:?}");

    for (text, code, words) in [
        ("bots: [{name: x}]", 2, "executor"),
        (
            "bots: [{name: x, template: t}]",
            2,
            "there is no template t",
        ),
        ("{", 2, "fleet"),
    ] {
        fs::write(&file, text).unwrap();
        hive.admin(&["bot", "apply", "-f", path])
            .exits(code)
            .only_tells(words);
    }
    fs::write(&file, "bots: []").unwrap();
    hive.admin(&["bot", "apply", "-f", path, "--prune", "--yes"])
        .exits(2)
        .only_tells("--prune");
}

#[test]
fn top_shows_what_bots_do_and_use() {
    let hive = CliHive::start(&["bots.measure_every=100ms"]);
    let busy = ["--", "sh", "-c", "while :; do :; done"];
    hive.admin(
        &[
            &["bot", "add", "busy", "--specialize", "busy", "--launch"],
            &busy[..],
        ]
        .concat(),
    )
    .ok();
    hive.submit(&["x", "--type", "busy"]);
    let shown = crate::support::block_until("the bot is seen to be busy", || {
        let shown = hive.admin(&["bot", "top"]).ok().out;
        let first = shown.lines().nth(1).unwrap_or_default().to_owned();
        (first.starts_with("busy") && first.contains('%')).then_some(shown)
    });
    assert!(
        shown.contains("TASKS/S") && shown.contains("MEMORY"),
        "{shown}"
    );
    let bots = hive.json(&["bot", "top", "--group", "nobody"]);
    assert_eq!(bots["items"], json!([]));
}
