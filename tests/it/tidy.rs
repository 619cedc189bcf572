//! Checks of the project's rules: dependencies between modules, and sizes of files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines a file of the product may have before it wants to be two.
const MAX_LINES: usize = 450;
/// Sources of every crate.
pub(crate) const SOURCES: [&str; 8] = [
    "src",
    "clients/rust/src",
    "framer/src",
    "actors/model/src",
    "actors/ledger/src",
    "actors/supervision/src",
    "actors/object-storage/src",
    "actors/hive/src",
];
/// Lines a binary may have.
const MAX_BIN_LINES: usize = 60;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files below `dir`, with paths relative to the project.
pub(crate) fn rust_files(dir: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![root().join(dir)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "{dir} has no Rust files");
    found
}

pub(crate) fn all_sources() -> Vec<(String, String)> {
    SOURCES.into_iter().flat_map(rust_files).collect()
}

/// Returns the part of a file outside its tests.
pub(crate) fn product_part(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// Fails with every line of the files that has one of the words.
pub(crate) fn forbid(files: &[(String, String)], words: &[&str], why: &str) {
    let mut found = Vec::new();
    for (name, text) in files {
        for (i, line) in product_part(text).lines().enumerate() {
            let code = line.trim_start();
            if !code.starts_with("//") && words.iter().any(|word| code.contains(word)) {
                found.push(format!("{name}:{}: {code}", i + 1));
            }
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

pub(crate) fn below(files: Vec<(String, String)>, prefixes: &[&str]) -> Vec<(String, String)> {
    files
        .into_iter()
        .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

pub(crate) fn not_below(files: Vec<(String, String)>, prefixes: &[&str]) -> Vec<(String, String)> {
    files
        .into_iter()
        .filter(|(name, _)| !prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

#[test]
fn the_rules_can_fail() {
    let bad = vec![(
        "a.rs".to_owned(),
        "use actix::Actor;\n// actix in prose\n".to_owned(),
    )];
    let failed = std::panic::catch_unwind(|| forbid(&bad, &["actix::"], "why"));
    assert!(
        failed
            .unwrap_err()
            .downcast_ref::<String>()
            .unwrap()
            .contains("a.rs:1")
    );
}

pub(crate) fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

#[test]
fn files_are_short_and_finished() {
    for (name, text) in all_sources() {
        assert!(!name.ends_with("/mod.rs"), "{name}: no mod.rs files");
        if is_test(&name) {
            continue;
        }
        let lines = text.lines().count();
        let allowed = if name.starts_with("src/bin/") {
            MAX_BIN_LINES
        } else {
            MAX_LINES
        };
        assert!(
            lines <= allowed,
            "{name} has {lines} lines; {allowed} are allowed"
        );
    }
    let marks = ["todo!(", "unimplemented!(", "FIXME", "XXX", "dbg!("];
    forbid(&all_sources(), &marks, "unfinished");
}

/// Returns the paths in backticks that have a folder of the workspace in front.
fn paths(text: &str) -> Vec<&str> {
    const TOPS: [&str; 5] = ["actors/", "src/", "clients/", "tests/", "config/"];
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |text: &&str| TOPS.iter().any(|top| text.starts_with(top));
    quoted
        .filter(is_path)
        .filter(|path| !path.contains(['<', '*', ' ', '{']))
        .collect()
}

#[test]
fn paths_of_the_architecture_page_exist() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let found = paths(&text);
    assert!(found.len() > 10, "{found:?}");
    for path in found {
        // A path without an ending of its own may be below `actors/hive`.
        let there = [path.to_owned(), format!("actors/hive/src/{path}")];
        assert!(
            there.iter().any(|path| root().join(path).exists()),
            "docs/architecture.md names {path}, which is not there"
        );
    }
}

#[test]
fn decisions_that_sources_name_exist() {
    let count = fs::read_dir(root().join("docs/decisions")).unwrap().count();
    for (name, text) in all_sources() {
        for rest in text.split("(decision ").skip(1) {
            let number: usize = rest.split(')').next().unwrap().parse().unwrap_or(0);
            assert!(
                (1..=count).contains(&number),
                "{name}: there is no decision {number}"
            );
        }
    }
}

#[test]
fn parents_hold_no_logic() {
    for name in [
        "actors/model/src/lib",
        "actors/ledger/src/lib",
        "actors/ledger/src/store",
        "actors/ledger/src/metrics",
        "actors/hive/src/lib",
        "actors/hive/src/bots",
        "actors/hive/src/config",
        "clients/rust/src/lib",
        "clients/rust/src/wire",
        "framer/src/lib",
    ] {
        let text = fs::read_to_string(root().join(format!("{name}.rs"))).unwrap();
        let mut code = product_part(&text)
            .lines()
            .filter(|line| !line.starts_with("//"));
        assert!(
            !code.any(|line| line.contains("fn ")),
            "{name}.rs holds logic"
        );
    }
}

/// Files that hold the helpers which wait until something holds, with a deadline.
const WAITING_HELPERS: &[&str] = &[
    "actors/hive/src/testing.rs",
    "actors/ledger/src/testing.rs",
    "actors/supervision/src/testing.rs",
    "actors/supervision/tests/it/blocking.rs",
];

/// Tests and their helpers, with the number of the first line of each.
fn test_parts() -> Vec<(String, usize, String)> {
    let whole = ["tests", "actors/ledger/tests", "actors/supervision/tests"];
    let mut parts: Vec<_> = whole
        .into_iter()
        .flat_map(rust_files)
        .map(|(name, text)| (name, 0, text))
        .collect();
    for (name, text) in all_sources() {
        let of_tests = is_test(&name) || name.contains("/conformance") || name.contains("testing");
        let product = if of_tests { "" } else { product_part(&text) };
        let first = product.lines().count();
        parts.push((name, first, text[product.len()..].to_owned()));
    }
    parts.retain(|(name, ..)| name != "tests/it/tidy.rs" && !WAITING_HELPERS.contains(&&**name));
    parts
}

/// Lines that let time pass on a real clock. A sleep is none on a paused clock: in a test
/// that says `start_paused`, and in those of supervision but where they make a `System` of
/// their own. One that has to be says why in a comment that begins with `Sleeps:`.
fn sleeps_on_a_real_clock(name: &str, text: &str) -> Vec<usize> {
    let by_default = name.starts_with("actors/supervision/tests/it/");
    let (mut paused, mut attribute, mut before, mut found) = (by_default, None, "", Vec::new());
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("#[") && code.contains("test") {
            attribute = Some(code.contains("start_paused = true"));
        } else if line.starts_with("fn ") || line.contains(" fn ") && line.ends_with('{') {
            if let Some(says_paused) = attribute.take() {
                paused = by_default || says_paused;
            }
        } else if code.contains("System::new()") {
            paused = false;
        } else if code.contains("testing::run") {
            // The runner of supervision's tests: its clock is paused.
            paused = true;
        }
        let words = [" sleep(", "::sleep(", "sleep_until("];
        let sleeps = words.iter().any(|word| line.contains(word)) && !code.contains("fn ");
        let explained = before.contains("// Sleeps: ") || code.starts_with("//");
        if sleeps && !paused && !explained {
            found.push(number);
        }
        before = line;
    }
    found
}

#[test]
fn no_test_sleeps_and_hopes() {
    let mut found = Vec::new();
    for (name, first, text) in test_parts() {
        for line in sleeps_on_a_real_clock(&name, &text) {
            found.push(format!("{name}:{}", first + line + 1));
        }
    }
    assert!(
        found.is_empty(),
        "wait for a signal, or until it holds:\n{}",
        found.join("\n")
    );
    let tests = [rust_files("tests"), rust_files("actors/supervision/tests")].concat();
    forbid(&tests, &[concat!("#[", "ignore")], "a test that is not run");
}

#[test]
fn sleeps_on_a_real_clock_are_found() {
    const NONE: [usize; 0] = [];
    let (real, paused) = ("#[tokio::test]\n", "#[tokio::test(start_paused = true)]\n");
    let body = "async fn t() {\n    tokio::time::sleep(PAUSE).await;\n}\n";
    let explained = body.replace("    tokio", "    // Sleeps: a chosen moment.\n    tokio");
    let own = body.replace("    tokio", "    actix::System::new();\n    tokio");
    let (front, supervision) = ("tests/it/a.rs", "actors/supervision/tests/it/a.rs");
    let found = |name, text: &[&str]| sleeps_on_a_real_clock(name, &text.concat());
    assert_eq!(found(front, &[real, body]), [2]);
    assert_eq!(found(front, &[paused, body]), NONE);
    assert_eq!(found(front, &[paused, body, real, body]), [6]);
    assert_eq!(found(front, &[real, &explained]), NONE);
    assert_eq!(found(supervision, &["#[test]\n", body]), NONE);
    assert_eq!(
        found(supervision, &["#[test]\n", &own, "#[test]\n", body]),
        [3]
    );
}

#[test]
fn decisions_are_numbered_and_have_a_status() {
    let mut names: Vec<_> = fs::read_dir(root().join("docs/decisions"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    for (i, path) in names.iter().enumerate() {
        let name = Path::new(path.file_name().unwrap()).display().to_string();
        assert!(
            name.starts_with(&format!("{:04}-", i + 1)),
            "{name} is not number {}",
            i + 1
        );
        assert!(
            fs::read_to_string(path).unwrap().contains("Status: "),
            "{name} has no status"
        );
    }
}
