//! Journeys of operators and auditors at the command line.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use deia_trail::checkpoint::SignedCheckpoint;
use serde_json::Value;

use crate::{cli_support::CliHive, support::block_until};

fn start() -> CliHive {
    CliHive::start(&["limits.enabled=false"])
}

/// Waits until a query finds as many records.
fn found(hive: &CliHive, filter: &[&str], n: usize) -> Vec<Value> {
    block_until("the records are in the index", || {
        let page = hive.json(&[&["audit", "query"], filter].concat());
        let items = page["items"].as_array().unwrap();
        (items.len() == n).then(|| items.clone())
    })
}

#[test]
fn events_of_others_are_logged_queried_and_counted() {
    let hive = start();
    let logged = hive.json(&["audit", "log", "ext.deploy.approved", "release 7"]);
    let details = "{\"pipeline\": 4711}";
    let full = [
        "audit",
        "log",
        "ext.deploy.failed",
        "release 8",
        "--details",
        details,
        "--level",
        "critical",
        "--result",
        "failure",
        "--idempotency-key",
        "once",
    ];
    let first = hive.admin(&full).ok();
    assert_eq!(hive.admin(&full).ok().out, first.out);
    let all = found(&hive, &["--action", "ext", "--oldest-first"], 2);
    assert_eq!(all[0]["seq"], logged["seq"]);
    assert_eq!(all[1]["details"]["pipeline"], 4711);

    let table = hive.admin(&["audit", "query", "--action", "ext"]).ok().out;
    let lines: Vec<_> = table.lines().collect();
    let titles: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(
        titles[..6],
        ["TIME", "LEVEL", "ACTION", "ACTOR", "TARGET", "RESULT"]
    );
    for part in [
        "critical",
        "ext.deploy.failed",
        "admin",
        "release 8",
        "failure",
        "pipeline=4711",
    ] {
        assert!(lines[1].contains(part), "{part}: {table}");
    }
    for (filter, n) in [
        (&["--level", "critical"][..], 1),
        (&["--text", "RELEASE 7"], 1),
        (&["--target", "release 8"], 1),
        (&["--since", "1h", "--target-type", "ext"], 2),
        (&["--until", "1h"], 0),
        (&["--result", "failure"], 1),
    ] {
        found(&hive, &[&["--action", "ext"], filter].concat(), n);
    }
    let lines = hive
        .admin(&["audit", "query", "--limit", "3", "--output", "jsonl"])
        .ok();
    assert_eq!(lines.out.lines().count(), 3);
    assert!(lines.err.contains("there is more: --cursor "), "{lines:?}");
    let none = hive.admin(&["audit", "query", "--actor", "nobody"]).ok();
    none.only_tells("no records match");
    let near = hive
        .admin(&["audit", "query", "--action", "task.complete"])
        .ok();
    assert!(near.err.contains("nearest: task.completed"), "{near:?}");

    let stats = hive.admin(&["audit", "stats"]).ok().out;
    for part in [
        "ACTION",
        "ext.deploy.failed",
        "ACTOR",
        "deia",
        "LEVEL",
        "critical",
        "RESULT",
    ] {
        assert!(stats.contains(part), "{part}: {stats}");
    }
    let stats = hive.json(&["audit", "stats", "--since", "1h"]);
    assert!(stats["entries"].as_u64().unwrap() > 2);

    let refused = hive
        .admin(&["audit", "log", "task.completed", "x"])
        .exits(2);
    assert!(refused.err.contains("ext.deploy.approved"), "{refused:?}");
    hive.admin(&["audit", "log", "ext.a", "x", "--details", "[1]"])
        .exits(2);
    let refused = hive.admin(&["audit", "log", "ext.a", ""]).exits(2);
    assert!(
        refused.err.contains("TARGET is 0 characters long"),
        "{refused:?}"
    );
    hive.admin(&["audit", "query", "--min-level", "severe"])
        .exits(2);
}

#[test]
fn exports_are_files_that_are_whole() {
    let hive = start();
    hive.admin(&["audit", "log", "ext.deploy", "release 7"])
        .ok();
    found(&hive, &["--action", "ext"], 1);
    let piped = hive.admin(&["audit", "export", "--action", "ext"]).ok();
    let record: Value = serde_json::from_str(piped.out.trim_end()).unwrap();
    assert_eq!(record["target"]["id"], "release 7");
    let path = hive.path("audit.csv");
    let to = path.to_str().unwrap();
    let said = hive
        .admin(&[
            "audit", "export", "--format", "csv", "--action", "ext", "--to", to,
        ])
        .ok();
    said.only_tells(to);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.starts_with("index,") && text.contains("release 7"),
        "{text}"
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // A file that is there stays as it is until there is a whole new one.
    let refused = hive.admin_as(&viewer(&hive), &["audit", "export", "--to", to]);
    let refused = refused.exits(5);
    assert!(refused.err.contains("audit:export"), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert!(!hive.path("audit.csv.partial").exists());
    hive.admin(&["audit", "export", "--to", "no-such-directory/a"])
        .exits(1);
    found(&hive, &["--action", "audit.exported"], 2);
}

fn viewer(hive: &CliHive) -> std::path::PathBuf {
    let path = hive.path("viewer.key");
    let to = path.to_str().unwrap();
    let create = [
        "key",
        "create",
        "--user",
        "vera",
        "--new-user",
        "--role",
        "viewer",
        "--to",
        to,
    ];
    hive.admin(&create).ok();
    path
}

#[test]
fn auditors_get_proofs_and_checkpoints() {
    let hive = start();
    block_until("there are entries", || {
        let said = hive.admin(&["audit", "checkpoint", "--output", "json"]);
        let has_some = said.code == 0 && said.parsed()["size"] != 0;
        has_some.then_some(())
    });
    let proof = hive.admin(&["audit", "proof", "0"]).ok();
    assert!(
        proof.out.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n"),
        "{proof:?}"
    );
    let (_, checkpoint) = proof.out.split_once("\n\n").unwrap();
    SignedCheckpoint::parse(checkpoint).unwrap();
    let json = hive.json(&["audit", "proof", "0"]);
    assert!(json["entry"].is_string() && json["keys"][0].is_string());
    let path = hive.path("entry.json");
    let to = path.to_str().unwrap();
    let said = hive
        .admin(&["audit", "proof", "0", "--to", to, "--output", "json"])
        .ok();
    said.only_tells(to);
    let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(written["entry"], json["entry"]);
    hive.admin(&["audit", "proof", "999999999"]).exits(4);
    hive.admin(&["audit", "proof", "-1"]).exits(2);

    let table = hive.admin(&["audit", "checkpoint"]).ok().out;
    for part in ["origin", "entries", "root", "verifier key", "behind by"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let note = hive.admin(&["audit", "checkpoint", "--note"]).ok().out;
    let signed = SignedCheckpoint::parse(&note).unwrap();
    let json = hive.json(&["audit", "checkpoint"]);
    assert_eq!(json["origin"], signed.checkpoint.origin);
    let keys = hive.admin(&["audit", "key", "show"]).ok().out;
    assert_eq!(keys.trim_end(), json["keys"][0].as_str().unwrap());
    hive.admin(&["audit", "key", "rotate"]).exits(2);
    let new = hive.admin(&["audit", "key", "rotate", "--yes"]).ok().out;
    let keys = hive.admin(&["audit", "key", "show"]).ok().out;
    assert!(keys.lines().count() == 2 && keys.ends_with(&new), "{keys}");
    // A viewer may read all of it.
    let key = viewer(&hive);
    for command in ["checkpoint", "query", "tail", "stats"] {
        hive.admin_as(&key, &["audit", command]).ok();
    }
    hive.admin_as(&key, &["audit", "log", "ext.a", "x"])
        .exits(5);
}

#[test]
fn tail_shows_the_newest_and_follows_through_a_restart() {
    let hive = CliHive::start(&["limits.enabled=false", "server.drain_timeout=0s"]);
    for n in 0..4 {
        hive.admin(&["audit", "log", "ext.deploy", &format!("release {n}")])
            .ok();
    }
    found(&hive, &["--action", "ext"], 4);
    let tail = hive
        .admin(&["audit", "tail", "-n", "2", "--action", "ext"])
        .ok();
    let lines: Vec<_> = tail.out.lines().collect();
    assert!(
        lines[1].contains("release 2") && lines[2].contains("release 3"),
        "{tail:?}"
    );
    assert_eq!((lines.len(), &*tail.err), (3, ""));
    let tail = hive.json(&["audit", "tail", "-n", "0"]);
    assert_eq!(tail["items"], Value::Array(Vec::new()));

    let mut child = hive
        .command(&[
            "audit", "tail", "--follow", "-n", "1", "--action", "ext", "--output", "jsonl",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut target = || {
        let line = lines.next().unwrap().unwrap();
        let record: Value = serde_json::from_str(&line).unwrap();
        record["target"]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(target(), "release 3");
    hive.admin(&["audit", "log", "ext.deploy", "followed"]).ok();
    hive.admin(&["audit", "log", "ext.deploy", "followed too"])
        .ok();
    assert_eq!(
        (target(), target()),
        ("followed".into(), "followed too".into())
    );
    hive.admin(&["system", "restart", "--yes", "--wait"]).ok();
    hive.admin(&["audit", "log", "ext.deploy", "after the restart"])
        .ok();
    assert_eq!(target(), "after the restart");
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
