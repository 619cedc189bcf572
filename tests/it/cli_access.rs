//! Users and keys from the command line.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::cli_support::{CliHive, run};

#[test]
fn users_are_operated_from_the_command_line() {
    let hive = CliHive::start(&[]);
    let said = hive
        .admin(&["user", "add", "ada", "--role", "operator"])
        .ok();
    assert!(said.out.contains("active"), "{said:?}");
    hive.admin(&["user", "add", "ada", "--role", "viewer"])
        .exits(6)
        .only_tells("ada");
    let file = hive.path("ada.key");
    hive.admin(&[
        "key",
        "create",
        "--user",
        "ada",
        "--role",
        "operator",
        "--to",
        file.to_str().unwrap(),
    ])
    .ok();
    hive.admin_as(&file, &["bot", "list"]).ok();

    let shown = hive.json(&["user", "show", "ada"]);
    assert_eq!(
        (&shown["id"], &shown["version"]),
        (&"ada".into(), &1.into())
    );
    hive.admin(&["user", "change", "ada"]).exits(2);
    hive.admin(&["user", "change", "ada", "--inactive", "--if-version", "7"])
        .exits(6)
        .only_tells("version");
    let changed = hive.json(&[
        "user",
        "change",
        "ada",
        "--role",
        "viewer",
        "--if-version",
        "1",
    ]);
    assert_eq!(
        (&changed["role"], &changed["version"]),
        (&"viewer".into(), &2.into())
    );
    hive.admin_as(&file, &["task", "submit", "x"])
        .exits(5)
        .only_tells("task:submit");
    hive.admin(&["user", "change", "ada", "--inactive"]).ok();
    hive.admin_as(&file, &["whoami"])
        .exits(5)
        .only_tells("user_inactive");
    hive.admin(&["user", "change", "ada", "--active"]).ok();
    let said = hive.admin_as(&file, &["whoami"]).ok();
    assert!(said.out.contains("viewer"), "{said:?}");

    let listed = hive.json(&["user", "list"]);
    let names: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["id"].clone())
        .collect();
    assert_eq!(names, ["ada", "admin"]);
    let said = hive.admin(&["user", "list"]).ok();
    assert!(
        said.out.contains("USER") && said.out.contains("ada"),
        "{said:?}"
    );
    hive.admin(&["user", "remove", "admin", "--yes", "--own"])
        .exits(6)
        .only_tells("last_admin_key");
    hive.admin(&["user", "remove", "ada"])
        .exits(2)
        .only_tells("--yes");
    hive.admin(&["user", "remove", "ada", "--yes"]).ok();
    hive.admin_as(&file, &["whoami"])
        .exits(5)
        .only_tells("key_unknown");
    hive.admin(&["user", "show", "ada"]).exits(4);
}

#[test]
fn keys_are_narrowed_and_rotated_from_the_command_line() {
    let hive = CliHive::start(&[]);
    let file = hive.path("ci.key");
    let narrow = [
        "key",
        "create",
        "--user",
        "ci",
        "--new-user",
        "--role",
        "external",
        "--name",
        "builds",
        "--scope",
        "task:submit",
        "--allow-ip",
        "127.0.0.0/8",
        "--expires",
        "+30days",
        "--to",
    ];
    hive.admin(&[&narrow[..], &[file.to_str().unwrap()]].concat())
        .ok();
    hive.admin_as(&file, &["task", "submit", "x"]).ok();
    hive.admin_as(&file, &["task", "list"])
        .exits(5)
        .only_tells("task:read");
    let asked = hive.admin_as(&file, &["can-i", "task:submit"]).ok();
    assert!(asked.out.contains("yes"), "{asked:?}");
    let asked = hive
        .admin_as(&file, &["can-i", "task:read", "--output", "json"])
        .exits(1)
        .parsed();
    assert_eq!(asked["allowed"], false);
    hive.admin(&[
        "key", "create", "--user", "x", "--role", "viewer", "--scope", "task:fly",
    ])
    .exits(2);
    hive.admin(&[
        "key",
        "create",
        "--user",
        "x",
        "--role",
        "viewer",
        "--allow-ip",
        "here",
    ])
    .exits(2);

    let listed = hive.json(&["key", "list"]);
    let ci = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["user"] == "ci")
        .unwrap();
    assert!(
        ci["last_used_at"].is_string() && ci["name"] == "builds",
        "{ci}"
    );
    let id = ci["id"].as_str().unwrap();
    let new = hive.path("ci.key.new");
    let said = hive
        .admin(&[
            "key",
            "rotate",
            id,
            "--overlap",
            "1h",
            "--to",
            new.to_str().unwrap(),
        ])
        .ok();
    assert!(
        said.err.contains(id) && said.err.contains("in force until"),
        "{said:?}"
    );
    let text = fs::read_to_string(&new).unwrap();
    assert_eq!(
        fs::metadata(&new).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        !format!("{said:?}").contains(text.trim()),
        "it is in the file alone"
    );
    for file in [&file, &new] {
        hive.admin_as(file, &["task", "submit", "x"]).ok();
    }
    hive.admin(&["key", "rotate", id])
        .exits(6)
        .only_tells("rotation_running");
}

#[test]
fn a_key_in_the_wrong_place_is_never_printed() {
    let hive = CliHive::start(&[]);
    let key = deia_model::ApiKey::generate().unwrap().reveal();
    let secret = key.split('_').nth(2).unwrap();
    let settings = hive.path("wrong.yaml");
    std::fs::write(&settings, format!("server:\n  bind: {key}\n  {key}: 1\n")).unwrap();
    let settings = settings.to_str().unwrap();
    let mut told = Vec::new();
    for args in [
        &["--key-file", &key, "whoami"][..],
        &["--ca-file", &key, "whoami"],
        &["--profile", &key, "whoami"],
        &["--url", &key, "whoami"],
        &["--url", &format!("http://{key}.invalid"), "whoami"],
        &["--data-dir", &key, "whoami"],
        &["--output", &key, "whoami"],
        &[&key],
        &["task", &key],
        &["task", "show", &key],
        &["task", "list", "--status", &key],
        &["task", "submit", "x", "--priority", &key],
        &["task", "submit", "x", "--tag", &key],
        &["task", "submit", "x", "--metadata", &format!("k={key}")],
        &["task", "submit", "--file", &key],
        &["bot", "show", &key],
        &[
            "bot",
            "add",
            "b",
            "--secret",
            &format!("A={key}"),
            "--",
            "x",
        ],
        &["bot", "add", "b", "--env", &format!("A={key}"), "--", "x"],
        &["bot", "add", "b", "--", "x", &key],
        &["bot", "add", "b", "--file", &key],
        &["secret", "put", &key, "--from", "/dev/null"],
        &["secret", "put", "a", "--from", &key],
        &["key", "revoke", &key, "--yes"],
        &["user", "show", &key],
        &["supervisors", "show", &key],
        &["can-i", &key],
        &["profile", "use", &key],
        &["schema", &key],
        &["config", "check", settings],
        &["config", "check", &key],
    ] {
        let said = hive.admin(args);
        assert!(said.code != 0, "{args:?}: {said:?}");
        told.push((format!("{args:?}"), format!("{} {}", said.out, said.err)));
    }
    let mut by_environment = hive.command(&["whoami"]);
    by_environment.env("DEIA_KEY_FILE", &key);
    let said = run(by_environment, "");
    assert!(said.err.contains("deia_***"), "{said:?}");
    told.push(("DEIA_KEY_FILE".into(), format!("{} {}", said.out, said.err)));
    let bind = format!("server.bind={key}");
    let data = hive.path("other");
    let data = data.to_str().unwrap();
    for args in [
        &["--bind", &key][..],
        &["--config", &key],
        &["check", "--config", &key],
        &["check", "--data-dir", data, "--set", &bind],
        &["--data-dir", data, "--set", &bind],
        &["check", "--config", settings],
        &[&key],
    ] {
        let server = std::process::Command::new(env!("CARGO_BIN_EXE_deia"));
        let mut server = server;
        server.args(args).current_dir(hive.path(""));
        let said = run(server, "");
        assert!(said.code != 0, "{args:?}: {said:?}");
        told.push((format!("{args:?}"), format!("{} {}", said.out, said.err)));
    }
    let hidden = told.iter().filter(|(_, text)| text.contains("deia_***"));
    assert!(hidden.count() > 20, "{told:#?}");
    for (args, text) in told {
        assert!(!text.contains(secret), "{args}: {text}");
    }
}
