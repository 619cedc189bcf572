//! Journeys of somebody who looks after a hive: keys, status, formats, exit codes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use serde_json::Value;

use crate::cli_support::{CliHive, admin_command, run, run_unread};

#[test]
fn every_view_in_every_format() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["x", "--type", "quiet"]);
    for command in [
        &["bot", "list"][..],
        &["bot", "show", "upper-1"],
        &["bot", "logs", "upper-1"],
        &["task", "list"],
        &["task", "show", &id],
        &["task", "status", &id],
        &["queue", "status"],
        &["system", "status"],
        &["health", "check"],
        &["supervisors"],
        &["key", "list"],
        &["whoami"],
    ] {
        let with = |format| hive.admin(&[command, &["--output", format]].concat()).ok();
        let json = with("json");
        assert_eq!(json.err, "", "{command:?}");
        let json: Value = json.parsed();
        let jsonl = with("jsonl");
        for line in jsonl.out.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        let items = json["items"].as_array().map_or(1, Vec::len);
        assert_eq!(jsonl.out.lines().count(), items, "{command:?}");
        let yaml = with("yaml").out;
        let documents = yaml_rust2::YamlLoader::load_from_str(&yaml).unwrap();
        assert_eq!(documents.len(), 1, "{command:?}: {yaml}");
        let table = with("table").out;
        assert!(!table.contains('\u{1b}'), "no colour in a pipe: {table:?}");
    }
}

#[test]
fn the_tree_and_the_state_of_things() {
    let hive = CliHive::start(&[]);
    hive.submit(&["x", "--type", "quiet", "--priority", "P1"]);
    let tree = hive.admin(&["supervisors"]).ok().out;
    for part in [
        "hive",
        "├─ ",
        "└─ ",
        "ledger",
        "scheduler",
        "upper-1",
        "running",
        "LAST EXIT",
    ] {
        assert!(tree.contains(part), "{part}: {tree}");
    }
    let threads = hive.admin(&["supervisors", "arbiters"]).ok().out;
    for part in ["THREAD", "tree", "webhooks-", "bots-", "running", "BUSY"] {
        assert!(threads.contains(part), "{part}: {threads}");
    }
    let path = "hive/core/bots/upper-1";
    let suspend = ["supervisors", "suspend", path, "--yes", "--reason"];
    let suspended = hive.admin(&[&suspend[..], &["too slow"]].concat()).ok();
    let cause = "suspended by admin: too slow";
    assert!(suspended.out.contains(cause), "{suspended:?}");
    hive.admin(&["supervisors", "resume", path]).ok();
    let queue = hive.admin(&["queue", "status"]).ok().out;
    assert!(queue.contains("quiet") && queue.contains("P1"), "{queue}");
    let queue = hive.json(&["queue", "status"]);
    assert_eq!(queue["totals"]["queued"], 1);
    let system = hive.admin(&["system", "status"]).ok().out;
    assert!(
        system.contains("ready") && system.contains(hive.url()),
        "{system}"
    );
    let health = hive.admin(&["health", "check"]).ok();
    assert!(
        health.out.starts_with("health") && health.err.is_empty(),
        "{health:?}"
    );
}

#[test]
fn a_watch_shows_it_again_until_its_reader_has_gone() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["x", "--type", "quiet"]);
    for command in [
        &["queue", "status"][..],
        &["system", "status"],
        &["supervisors"],
        &["bot", "list"],
        &["bot", "show", "upper-1"],
        &["task", "list"],
        &["task", "show", &id],
        &["task", "status", &id],
        &["supervisors", "show", "hive/core"],
        &["health", "check"],
    ] {
        let args = [command, &["--watch", "100ms", "--output", "jsonl"]].concat();
        let mut child = hive.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..7 {
            let line = lines.next().unwrap().unwrap();
            serde_json::from_str::<Value>(&line).unwrap();
        }
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{command:?}");
    }
    hive.admin(&["supervisors", "--watch", "1ms"]).exits(2);
}

#[test]
fn keys_are_made_used_and_revoked() {
    let hive = CliHive::start(&[]);
    let file = hive.path("viewer.key");
    let create = |role, file: &str| {
        hive.admin(&[
            "key",
            "create",
            "--user",
            "vera",
            "--new-user",
            "--role",
            role,
            "--to",
            file,
        ])
    };
    let said = create("viewer", file.to_str().unwrap()).ok();
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        !format!("{said:?}").contains(key.trim()),
        "it is in the file alone"
    );
    create("viewer", file.to_str().unwrap())
        .exits(1)
        .only_tells("exists");

    let said = hive.admin_as(&file, &["whoami"]).ok();
    assert!(
        said.out.contains("vera") && said.out.contains("viewer"),
        "{said:?}"
    );
    hive.admin_as(&file, &["task", "list"]).ok();
    hive.admin_as(&file, &["task", "submit", "x"])
        .exits(5)
        .only_tells("task:submit");
    hive.admin_as(&file, &["key", "list"])
        .exits(5)
        .only_tells("admin:keys");

    let shown = hive.json(&[
        "key",
        "create",
        "--user",
        "ada",
        "--new-user",
        "--role",
        "external",
        "--expires",
        "+1h",
    ]);
    assert!(shown["key"].as_str().unwrap().starts_with("deia_"));
    assert!(shown["expires_at"].is_string());
    let listed = hive.json(&["key", "list"]);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert!(!listed.to_string().contains(shown["key"].as_str().unwrap()));
    let vera = items.iter().find(|key| key["user"] == "vera").unwrap();
    let id = vera["id"].as_str().unwrap();

    hive.admin(&["key", "revoke", id])
        .exits(2)
        .only_tells("--yes");
    let said = hive.admin(&["key", "revoke", id, "--yes"]).ok();
    assert!(said.out.contains("revoked"), "{said:?}");
    hive.admin_as(&file, &["whoami"])
        .exits(5)
        .only_tells("key_revoked");
    let unknown = "key_01h455vb4pex5vsknk084sn02q";
    hive.admin(&["key", "revoke", unknown, "--yes"])
        .exits(4)
        .only_tells(unknown);
    hive.admin(&["key", "create", "--user", "", "--role", "viewer"])
        .exits(2);
    hive.admin(&["key", "create", "--user", "x", "--role", "king"])
        .exits(2);
}

#[test]
fn without_a_key_nothing_is_shown() {
    let hive = CliHive::start(&[]);
    let elsewhere = hive.path("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let said = hive
        .admin(&["bot", "list", "--data-dir", elsewhere])
        .exits(5);
    said.only_tells("admin.key does not exist");
    hive.admin_as(&hive.path("missing.key"), &["whoami"])
        .exits(2)
        .only_tells("missing.key");
    let cut = hive.path("cut.key");
    let key = fs::read_to_string(hive.path("data/admin.key")).unwrap();
    fs::write(&cut, &key[..40]).unwrap();
    let said = hive.admin_as(&cut, &["whoami"]).exits(2);
    assert!(!said.err.contains(&key[..40]), "{said:?}");
    let open = hive.path("open.key");
    fs::write(&open, &key).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let said = hive.admin_as(&open, &["whoami"]).ok();
    assert!(said.err.contains("chmod 600"), "{said:?}");
    let foreign = hive.path("foreign.key");
    fs::write(&foreign, "").unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&foreign, "some.other.token").unwrap();
    let said = hive.admin_as(&foreign, &["whoami"]).exits(5);
    said.only_tells("the key came from");
    hive.admin_as(&foreign, &["whoami"])
        .exits(5)
        .only_tells("key_malformed");
}

#[test]
fn nobody_there_is_exit_code_7() {
    // Bound and not listening would do; nobody can have a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let said = run(admin_command(&["--url", &url, "system", "status"]), "").exits(7);
    said.only_tells(&format!("no hive answers at {url}"));
}

#[test]
fn a_hive_that_does_not_speak_tls_is_exit_code_7() {
    let hive = CliHive::start(&[]);
    let url = hive.url().replace("http://", "https://");
    hive.admin(&["--url", &url, "system", "status"])
        .exits(7)
        .only_tells("does not speak TLS\n  next: try --url http://");
}

#[test]
fn someone_who_never_answers_is_exit_code_8() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let args = [
        "--url",
        &url,
        "--request-timeout",
        "200ms",
        "system",
        "status",
    ];
    run(admin_command(&args), "")
        .exits(8)
        .only_tells("did not answer");
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_data() {
    for args in [
        &[][..],
        &["frob"],
        &["bot"],
        &["task", "submit"],
        &["task", "list", "--status", "odd"],
        &["--output", "xml", "bot", "list"],
        &["--url", "ftp://x", "bot", "list"],
        &[
            "--url",
            "http://hive.example",
            "--key-file",
            "/dev/null",
            "bot",
            "list",
        ],
        &["completions", "tcsh"],
    ] {
        let said = run(admin_command(args), "").exits(2);
        assert!(said.out.is_empty() && !said.err.is_empty(), "{said:?}");
    }
    for args in [
        &["--help"][..],
        &["task", "submit", "--help"],
        &["--version"],
    ] {
        let said = run(admin_command(args), "").ok();
        assert!(!said.out.is_empty() && said.err.is_empty(), "{said:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = run(admin_command(&["completions", shell]), "").ok();
        assert!(said.out.contains("deia-admin"), "{said:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let said = run_unread(admin_command(&["completions", "bash"])).ok();
    assert_eq!(said.err, "");
    let hive = CliHive::start(&[]);
    let said = run_unread(hive.command(&["supervisors"])).ok();
    assert_eq!(said.err, "");
}
