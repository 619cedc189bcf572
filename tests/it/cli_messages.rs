//! Messages of the command line: what is wrong, where, and what to do next, in words of
//! the command line.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli_support::CliHive;

fn key(hive: &CliHive, user: &str, role: &str) -> PathBuf {
    let file = hive.path(&format!("{user}.key"));
    hive.admin(&[
        "key",
        "create",
        "--user",
        user,
        "--new-user",
        "--role",
        role,
        "--to",
        file.to_str().unwrap(),
    ])
    .ok();
    file
}

#[test]
fn what_is_missing_is_quoted_with_the_nearest_names_that_the_caller_may_see() {
    let hive = CliHive::start(&[]);
    let unknown = "task_01h455vb4pex5vsknk084sn02q";
    for (args, code, parts) in [
        (
            &["bot", "show", "uper-1"][..],
            4,
            &[
                "There is no bot \"uper-1\" (not_found)\n",
                "deia bot list (nearest: upper-1)",
            ][..],
        ),
        (
            &["bot", "launch", "nothing-like-it"],
            4,
            &["next: list them: deia bot list\n"],
        ),
        (
            &["user", "show", "admn"],
            4,
            &["no user \"admn\"", "deia user list (nearest: admin)"],
        ),
        (
            &["supervisors", "show", "hive/core/schedler"],
            4,
            &["nearest: hive/core/scheduler)"],
        ),
        (
            &["task", "show", unknown],
            4,
            &["There is no task \"task_01h455vb4pex5vsknk084sn02q\" (not_found)\n"],
        ),
        (
            &["queue", "requeue", unknown],
            4,
            &[
                "1 task was not put back\n",
                "there is no task \"task_01h455vb4pex5vsknk084sn02q\"",
            ],
        ),
    ] {
        let said = hive.admin(args).exits(code);
        for part in parts {
            assert!(said.err.contains(part), "{part}: {said:?}");
        }
        assert!(!said.err.contains("roles"), "an admin sees all: {said:?}");
    }
    let external = key(&hive, "ci", "external");
    let said = hive
        .admin_as(&external, &["task", "show", unknown])
        .exits(4);
    let expected = "that a key of the role external sees (not_found)";
    assert!(said.err.contains(expected), "{said:?}");
}

#[test]
fn a_refusal_names_the_roles_that_have_the_permission() {
    let hive = CliHive::start(&[]);
    let external = key(&hive, "ci", "external");
    for (args, permission, of) in [
        (
            &["bot", "list"][..],
            "bot:list",
            "the roles admin, operator and viewer have bot:list",
        ),
        (
            &["key", "list"],
            "admin:keys",
            "the role admin has admin:keys",
        ),
    ] {
        let said = hive.admin_as(&external, args).exits(5);
        for part in [
            &format!("needs the permission {permission}, which the role external does not have"),
            &format!("next: {of}; ask an admin"),
            "deia roles",
        ] {
            assert!(said.err.contains(part), "{part}: {said:?}");
        }
        assert!(!said.err.contains("GET /"), "{said:?}");
    }
}

#[test]
fn arguments_are_refused_in_their_own_words() {
    let hive = CliHive::start(&[]);
    std::fs::write(hive.path("bad.jsonl"), "x y\n").unwrap();
    for (args, part) in [
        (
            &["task", "submit", "x", "--timeout", "100d"][..],
            "--timeout is 100d; allowed are 1s to 7d (tasks.max_timeout)",
        ),
        (
            &["queue", "purge", "--yes"],
            "select them: --type, --tag, --metadata, --submitter, --since, ... or --all for all waiting ones",
        ),
        (
            &["task", "submit", "--file", "bad.jsonl"],
            "bad.jsonl, line 1: is not JSON",
        ),
        (
            &["--bind", "localhost:22008"],
            "expected an IP address and a port, such as 127.0.0.1:8000",
        ),
        (
            &["check", "--set", "server.bnid=1"],
            "--set server.bnid: no such setting; did you mean server.bind?",
        ),
        (
            &["--url", "127.0.0.1:1", "bot", "list"],
            "put http:// or https:// in front",
        ),
        (&["task", "show"], "Usage: deia task show [OPTIONS] <ID>\n"),
    ] {
        let mut command = hive.command(args);
        if args[0].starts_with("--bind") || args[0] == "check" {
            command = std::process::Command::new(env!("CARGO_BIN_EXE_deia"));
            command.args(args).current_dir(hive.path(""));
        }
        let out = command.output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        let text = text.replace("deia-admin", "deia");
        assert!(text.contains(part), "{args:?}: {text}");
        assert!(!out.status.success(), "{args:?}");
    }
}

#[test]
fn a_task_that_waits_or_failed_says_why() {
    let hive = CliHive::start(&[]);
    let id = hive.submit(&["x", "--type", "nobody-takes-it"]);
    let said = hive.admin(&["task", "result", &id, "--wait=1s"]).exits(8);
    let expected = "has not ended after 1s: no bot takes tasks of type nobody-takes-it";
    assert!(said.err.contains(expected), "{said:?}");
    hive.admin(&["task", "cancel", &id]).ok();
    let why = hive.admin(&["task", "why", &id]).ok();
    assert!(why.out.contains("it was cancelled by admin"), "{why:?}");

    let script = "seq 200 >&2; echo the last words >&2; exit 3";
    let add = ["bot", "add", "loud", "--specialize", "loud", "--launch"];
    hive.admin(&[&add[..], &["--wait=60s", "--", "sh", "-c", script]].concat())
        .ok();
    let submit = ["x", "--type", "loud", "--max-attempts", "1", "--wait=60s"];
    let said = hive
        .admin(&[&["task", "submit"], &submit[..]].concat())
        .exits(1);
    assert_eq!(said.err.matches("exit code 3").count(), 1, "{said:?}");
    assert!(said.err.contains("deia task logs"), "{said:?}");
    let dead = hive.admin(&["queue", "dead", "--type", "loud"]).ok();
    assert!(
        dead.out.contains("exit code 3: the last words") && dead.out.lines().count() == 2,
        "{dead:?}"
    );
    let failed = hive.json(&["queue", "dead", "--type", "loud"]);
    let id = failed["items"][0]["id"].as_str().unwrap();
    let why = hive.admin(&["task", "why", id]).ok();
    assert!(
        why.out
            .contains("it failed: its only attempt was used up; last: exit code 3: the last words"),
        "{why:?}"
    );
    let said = hive
        .admin(&["task", "output", id, "--attempt", "7"])
        .exits(4);
    assert!(
        said.err.contains("it had no attempt 7, the last one was 1")
            && said.err.contains("next: leave --attempt out"),
        "{said:?}"
    );
}

#[test]
fn a_program_that_was_ended_has_words_about_it_in_its_log() {
    let hive = CliHive::start(&[]);
    let begun = hive.path("begun");
    nix::unistd::mkfifo(&begun, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("echo > {}; sleep 600", begun.display());
    let add = ["bot", "add", "slow", "--specialize", "slow", "--launch"];
    hive.admin(&[&add[..], &["--wait=60s", "--", "sh", "-c", &script]].concat())
        .ok();
    let id = hive.submit(&["x", "--type", "slow"]);
    std::fs::read(begun).unwrap();
    hive.admin(&["task", "cancel", &id]).ok();
    hive.admin(&["task", "watch", &id]);
    for args in [&["task", "logs", &id][..], &["bot", "logs", "slow"]] {
        let log = hive.admin(args).ok().out;
        assert!(
            log.contains("ended: the task was cancelled by admin"),
            "{log}"
        );
        assert!(!log.contains("Cancelled"), "{log}");
    }
}

#[test]
fn a_key_that_was_rotated_names_the_one_in_its_place() {
    let hive = CliHive::start(&[]);
    let old = key(&hive, "ops", "operator");
    let listed = hive.json(&["key", "list"]);
    let keys = listed["items"].as_array().unwrap();
    let id = keys.iter().find(|key| key["user"] == "ops").unwrap()["id"].clone();
    let new = hive.path("new.key");
    let rotate = ["key", "rotate", id.as_str().unwrap(), "--overlap", "0s"];
    hive.admin(&[&rotate[..], &["--to", new.to_str().unwrap()]].concat())
        .ok();
    let me: Value = hive
        .admin_as(&new, &["whoami", "--output", "json"])
        .ok()
        .parsed();
    let said = hive.admin_as(&old, &["whoami"]).exits(5);
    let expected = format!("was replaced by {} at 2", me["key_id"].as_str().unwrap());
    assert!(said.err.contains(&expected), "{said:?}");
}

#[test]
fn no_user_is_made_by_a_typing_error() {
    let hive = CliHive::start(&[]);
    for role in ["admin", "external"] {
        let said = hive
            .admin(&["key", "create", "--user", "admn", "--role", role])
            .exits(4);
        for part in ["there is no user \"admn\"", "nearest: admin", "--new-user"] {
            assert!(said.err.contains(part), "{part}: {said:?}");
        }
    }
    let said = hive
        .admin(&[
            "key",
            "create",
            "--user",
            "ci",
            "--new-user",
            "--role",
            "external",
        ])
        .ok();
    let expected = "the user \"ci\" is new, with the role external";
    assert!(said.err.contains(expected), "{said:?}");
    let users = hive.json(&["user", "list"]);
    assert_eq!(users["items"].as_array().unwrap().len(), 2, "{users}");
}

#[test]
fn ones_own_access_does_not_end_with_yes_alone() {
    let hive = CliHive::start(&[]);
    key(&hive, "second", "admin");
    let me = hive.json(&["whoami"])["key_id"].clone();
    let me = me.as_str().unwrap();
    for args in [
        &["key", "revoke", me, "--yes"][..],
        &["user", "change", "admin", "--inactive"],
        &["user", "change", "admin", "--role", "viewer"],
        &["user", "remove", "admin", "--yes"],
    ] {
        let said = hive.admin(args).exits(2);
        assert!(
            said.err.contains("this command uses itself") && said.err.contains("give --own"),
            "{said:?}"
        );
    }
    hive.admin(&["whoami"]).ok();
    hive.admin(&["key", "revoke", me, "--yes", "--own"]).ok();
    hive.admin(&["whoami"]).exits(5);
}

#[test]
fn names_of_users_stay_as_they_are() {
    let hive = CliHive::start(&[]);
    let said = hive
        .admin(&["user", "add", "admin", "--role", "viewer"])
        .exits(6);
    assert!(said.err.contains("a user \"admin\" already"), "{said:?}");
    let said = hive
        .admin(&["user", "change", "admin", "--inactive", "--own"])
        .exits(6);
    assert!(
        said.err
            .contains("The user \"admin\" has the last admin key")
            && !said.err.contains("Admin "),
        "{said:?}"
    );
}
