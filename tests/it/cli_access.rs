//! Users and keys from the command line.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::cli_support::CliHive;

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
    hive.admin(&["user", "remove", "admin", "--yes"])
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
        .ok()
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
