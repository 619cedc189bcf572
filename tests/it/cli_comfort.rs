//! Profiles, manual pages and completions, by the real command.

use std::{fs, path::Path};

use serde_json::json;

use crate::cli_support::{CliHive, Said, admin_command, run};

fn with(config: &Path, args: &[&str]) -> Said {
    let mut command = admin_command(args);
    command.env("DEIA_CONFIG", config);
    run(command, "")
}

#[test]
fn a_profile_says_where_to_go_and_with_which_key() {
    let hive = CliHive::start(&[]);
    let config = hive.path("profiles/config.yaml");
    let key = hive.path("data/admin.key");
    let key = key.to_str().unwrap();
    let admin = |args: &[&str]| with(&config, args);
    admin(&["profile", "list"])
        .ok()
        .only_tells("there are no profiles");
    admin(&["profile", "show"]).exits(4);
    admin(&["profile", "add", "a"]).exits(2).only_tells("--url");
    let add = [
        "profile",
        "add",
        "here",
        "--url",
        hive.url(),
        "--key-file",
        key,
    ];
    let added = admin(&add).ok();
    assert!(added.out.contains("here"), "{added:?}");
    admin(&add).exits(6).only_tells("--replace");
    admin(&[&add[..], &["--replace", "--output", "json"]].concat()).ok();

    let by_name = admin(&["--profile", "here", "whoami"]).ok();
    assert_eq!(
        by_name.parsed()["role"],
        "admin",
        "its output format is kept"
    );
    admin(&["profile", "use", "nowhere"])
        .exits(4)
        .only_tells("here");
    admin(&["profile", "use", "here"]).ok();
    admin(&["whoami"]).ok();
    let shown = admin(&["profile", "show", "--output", "json"])
        .ok()
        .parsed();
    let expected = json!({"name": "here", "current": true, "url": hive.url(),
        "key_file": key, "output": "json"});
    assert_eq!(shown, expected);
    let text = fs::read_to_string(&config).unwrap();
    assert!(!text.contains("deia_"), "{text}");

    // The key goes nowhere but where the profile says.
    let same = hive.url().replace("127.0.0.1", "localhost");
    let elsewhere = admin(&["whoami", "--url", &same, "--data-dir", "none"]);
    elsewhere.exits(5).only_tells("none was found");
    admin(&["--profile", "gone", "whoami"])
        .exits(4)
        .only_tells("here");
    admin(&["profile", "use", "--none"]).ok();
    admin(&["profile", "remove", "here"]).ok();
    admin(&["profile", "remove", "here"]).exits(4);
}

#[test]
fn a_profile_with_a_key_in_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    let secret = format!("deia_{}", "s".repeat(60));
    for field in ["key", "token", "key_file"] {
        let text = format!("profiles:\n  p:\n    url: http://h\n    {field}: {secret}\n");
        fs::write(&config, text).unwrap();
        for args in [&["profile", "list"][..], &["bot", "list"]] {
            let said = with(&config, args).exits(2);
            assert!(!said.err.contains(&secret), "{said:?}");
            said.only_tells("a key does not belong in this file");
        }
    }
}

#[test]
fn manual_pages_are_of_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("man1");
    let said = with(&at, &["man", "--dir", at.to_str().unwrap()]).ok();
    assert!(said.err.contains("pages are in"), "{said:?}");
    for (page, words) in [
        ("deia.1", &["deia", "data\\-dir"][..]),
        ("deia-check.1", &["Check everything"]),
        ("deia.1", &["EXIT STATUS"]),
        ("deia-admin.1", &[".so man1/deia.1"]),
        (
            "deia-task-submit.1",
            &["EXAMPLES", "idempotency", "deia-task(1)"],
        ),
        ("deia-profile-use.1", &["Use a profile"]),
    ] {
        let text = fs::read_to_string(at.join(page)).unwrap();
        let plain = text.replace("\\-", "-");
        for word in words {
            assert!(
                plain.contains(&word.replace("\\-", "-")),
                "{page}: {word}\n{text}"
            );
        }
    }
    assert!(
        !at.join("deia-reaper.1").exists(),
        "what is hidden has no page"
    );
    let printed = with(&at, &["man"]).ok();
    assert_eq!(printed.out, fs::read_to_string(at.join("deia.1")).unwrap());
    with(&at, &["man", "--dir", "/dev/null/x"]).exits(1);
}

#[test]
fn completions_know_the_commands_in_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = with(Path::new("none"), &["completions", shell]).ok();
        for word in ["supervisors", "profile", "--key-file", "schema"] {
            let plain = word.trim_start_matches('-');
            assert!(said.out.contains(plain), "{shell}: {word}");
        }
    }
}

#[test]
fn settings_files_are_looked_at_without_a_hive() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let admin = |args: &[&str]| with(Path::new("none"), args);
    let bad = write(
        "bad.yaml",
        "server: { workers: 300, bnid: 1 }\ntasks: { max_batch: x }\n",
    );
    let said = admin(&["config", "check", &bad]).exits(2);
    for part in [
        "server.workers: 300 is not allowed; expected 0 to 256",
        "server.bnid: no such setting; did you mean server.bind?",
        "tasks.max_batch: \"x\" is not allowed; expected a whole number, 1 to",
    ] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    let good = write("good.yaml", "server: { workers: 3, keep_alive: 75s }\n");
    admin(&["config", "check", &good])
        .ok()
        .only_tells("is in order");
    let diff = admin(&["config", "diff", &good, "--output", "json"])
        .ok()
        .parsed();
    let expected = json!([{"key": "server.workers", "default": 0, "value": 3}]);
    assert_eq!(diff["items"], expected);
    let same = write("same.yaml", "");
    admin(&["config", "diff", &same])
        .ok()
        .only_tells("nothing differs");
    admin(&["config", "check", "missing.yaml"]).exits(2);
    let schema = admin(&["config", "schema"]).ok().parsed();
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(schema.is_valid(&json!({"server": {"workers": 3}})));
    assert!(!schema.is_valid(&json!({"server": {"workers": 300}})));
    assert!(!schema.is_valid(&json!({"server": {"bnid": 1}})));
}
