//! The layers: which crate may know which, and what each must not know.
//!
//! A crate cannot import what it does not depend on, so the manifests are the
//! architecture; these tests keep the manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::tidy::{all_sources, below, forbid, is_test, not_below, product_part, root, rust_files};

/// A crate of the workspace.
struct Layer {
    manifest: &'static str,
    /// Other crates of the workspace that it may use.
    may_use: &'static [&'static str],
    /// Crates of others that it must not use, and why.
    never: &'static [&'static str],
}

const LAYERS: [Layer; 9] = [
    Layer {
        manifest: "actors/model/Cargo.toml",
        may_use: &[],
        never: &[
            "actix",
            "actix-rt",
            "actix-web",
            "config",
            "reqwest",
            "rusqlite",
            "tokio",
            "tracing",
        ],
    },
    Layer {
        manifest: "actors/trail/Cargo.toml",
        may_use: &["deia-model"],
        never: &[
            "actix",
            "actix-rt",
            "actix-web",
            "config",
            "reqwest",
            "rusqlite",
            "tokio",
        ],
    },
    Layer {
        manifest: "actors/ledger/Cargo.toml",
        may_use: &["deia-model"],
        never: &[
            "actix",
            "actix-rt",
            "actix-web",
            "config",
            "prometheus-client",
            "reqwest",
        ],
    },
    Layer {
        manifest: "actors/archive/Cargo.toml",
        may_use: &[],
        never: &[
            "actix",
            "actix-rt",
            "actix-web",
            "config",
            "reqwest",
            "rusqlite",
            "tokio",
            "tracing",
        ],
    },
    Layer {
        manifest: "actors/object-storage/Cargo.toml",
        may_use: &["deia-archive"],
        never: &["actix", "actix-rt", "actix-web", "config", "rusqlite"],
    },
    Layer {
        manifest: "actors/supervision/Cargo.toml",
        may_use: &[],
        never: &["actix-web", "config", "reqwest", "rusqlite"],
    },
    Layer {
        manifest: "actors/hive/Cargo.toml",
        may_use: &[
            "deia-archive",
            "deia-ledger",
            "deia-model",
            "deia-object-storage",
            "deia-supervision",
            "deia-trail",
        ],
        never: &["actix-web", "clap"],
    },
    Layer {
        manifest: "clients/rust/Cargo.toml",
        may_use: &["deia-model"],
        never: &["actix", "actix-web", "clap", "config", "rusqlite"],
    },
    Layer {
        manifest: "framer/Cargo.toml",
        may_use: &[],
        never: &[
            "actix",
            "actix-http",
            "actix-web",
            "config",
            "rusqlite",
            "tokio-rustls",
        ],
    },
];

/// Names of the crates in the section `[dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]"
            && let Some(name) = line.split(['.', ' ', '=']).next()
            && !name.is_empty()
            && !name.starts_with('#')
        {
            found.insert(name.to_owned());
        }
    }
    found
}

/// Returns what a layer uses and must not.
fn out_of_place(layer: &Layer, manifest: &str) -> Vec<String> {
    let used = dependencies(manifest);
    let wrong = |name: &&String| match name.starts_with("deia") {
        true => !layer.may_use.contains(&name.as_str()),
        false => layer.never.contains(&name.as_str()),
    };
    used.iter().filter(wrong).cloned().collect()
}

#[test]
fn layers_depend_downwards_only() {
    for layer in &LAYERS {
        let manifest = fs::read_to_string(root().join(layer.manifest)).unwrap();
        assert!(!dependencies(&manifest).is_empty(), "{}", layer.manifest);
        assert_eq!(
            out_of_place(layer, &manifest),
            [""; 0],
            "{}",
            layer.manifest
        );
    }
}

#[test]
fn a_dependency_upwards_is_found() {
    let [model, _, ledger, ..] = &LAYERS;
    let manifest = "[dependencies]\ndeia-hive.workspace = true\nserde = \"1\"\ntokio = { workspace = true }\n[dev-dependencies]\nactix = \"0\"\n";
    assert_eq!(out_of_place(model, manifest), ["deia-hive", "tokio"]);
    assert_eq!(out_of_place(ledger, manifest), ["deia-hive"]);
}

#[test]
fn sql_is_in_the_store_only() {
    let with_sql = [
        "actors/ledger/src/store",
        // Can be built again from the audit trail.
        "actors/hive/src/audit/index",
    ];
    let elsewhere = not_below(all_sources(), &with_sql);
    forbid(
        &elsewhere,
        &["rusqlite", "SELECT ", "INSERT INTO", "UPDATE tasks"],
        "SQL outside the store",
    );
    let composition = [
        "actors/hive/src/hive/start.rs",
        "actors/hive/src/store_options.rs",
        "src/app",
    ];
    let mut elsewhere = not_below(elsewhere, &composition);
    elsewhere.retain(|(name, _)| !is_test(name));
    forbid(
        &elsewhere,
        &["SqliteStore", "SqliteOptions"],
        "a concrete store is named outside the place where the hive is composed",
    );
    forbid(
        &not_below(
            rust_files("actors/ledger/src"),
            &["actors/ledger/src/store"],
        ),
        &["crate::store"],
        "the ledger knows its implementations",
    );
}

#[test]
fn neither_http_nor_cli_touches_the_store() {
    let front = below(rust_files("src"), &["src/http", "src/cli"]);
    forbid(
        &front,
        &[
            "deia_ledger::store",
            "SqliteStore",
            "dyn Store",
            "CommandLog",
        ],
        "the front touches the store",
    );
    let cli = below(rust_files("src"), &["src/cli"]);
    forbid(
        &cli,
        &["deia_hive::Hive", "Hive::", "actix", "deia_ledger"],
        "the command line does not go through HTTP",
    );
}

/// Returns the lines outside tests and comments in which files name a module.
fn lines_with(files: &[(String, String)], module: &str) -> Vec<String> {
    let is_word = |text: &str, at: usize| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let (before, after) = (&text[..at], &text[at + module.len()..]);
        let is_whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        is_whole && (after.starts_with("::") || before.ends_with("::"))
    };
    let mut found = Vec::new();
    for (name, text) in files {
        for line in product_part(text).lines() {
            let code = line.split("//").next().unwrap_or_default();
            if code.match_indices(module).any(|(at, _)| is_word(code, at)) {
                found.push(format!("{name}: {code}"));
            }
        }
    }
    found
}

#[test]
fn scheduler_and_bots_know_only_the_messages_between_them() {
    const ACTORS: &str = "actors/hive/src";
    let sources = || rust_files(ACTORS);
    let below = |part: &str| {
        let paths = [format!("{ACTORS}/{part}.rs"), format!("{ACTORS}/{part}/")];
        below(sources(), &[&paths[0], &paths[1]])
    };
    for (part, other) in [
        ("scheduler", "bots"),
        ("bots", "scheduler"),
        ("dispatch", "bots"),
        ("dispatch", "scheduler"),
    ] {
        let files = below(part);
        assert!(!files.is_empty(), "{part}");
        assert_eq!(lines_with(&files, other), [""; 0], "{part} knows {other}");
    }
    for part in ["scheduler", "bots"] {
        let used = lines_with(&below(part), "dispatch");
        assert!(!used.is_empty(), "{part} does without the messages");
    }
}

#[test]
fn only_the_registry_tells_executors_apart() {
    let registry = "actors/hive/src/bots/executor.rs";
    forbid(
        &not_below(rust_files("actors/hive/src"), &[registry]),
        &[
            "Executor::Command",
            "Executor::Worker",
            "Executor::Simulated",
            "ExecutorSpec",
        ],
        "a new executor would have to be added here as well",
    );
}

#[test]
fn names_of_a_module_are_found() {
    let source = "use crate::hive::{bots::Bot, dispatch};\nlet robots = max_bots::of(bots);\nuse super::bots;\n";
    let text = format!("{source}// bots::Bot\n#[cfg(test)]\nmod tests {{ use bots::Bot; }}\n");
    let found = lines_with(&[("a.rs".to_owned(), text)], "bots");
    let expected = [
        "a.rs: use crate::hive::{bots::Bot, dispatch};",
        "a.rs: use super::bots;",
    ];
    assert_eq!(found, expected);
}

/// Returns the modules of a folder that each module takes names from, by paths that begin
/// with that word. A folder in it belongs to the module of its name.
fn imports(
    files: &[(String, String)],
    room: &str,
    root: &str,
) -> BTreeMap<String, BTreeSet<String>> {
    let module = |name: &str| {
        let below = name.strip_prefix(room)?.strip_prefix('/')?;
        let first = below.split('/').next()?;
        let first = first.strip_suffix(".rs").unwrap_or(first);
        (first != "tests").then(|| first.to_owned())
    };
    let all: BTreeSet<String> = files.iter().filter_map(|(name, _)| module(name)).collect();
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, text) in files {
        let Some(module) = module(name) else { continue };
        let from = found.entry(module.clone()).or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for path in product_part(text).split(root).skip(1) {
            // A list ends with its statement, one name with what is no letter.
            let names: Vec<&str> = match path.starts_with('{') {
                true => path.split(';').take(1).collect(),
                false => path.split(|c| !is_word(c)).take(1).collect(),
            };
            let words = names.iter().flat_map(|list| list.split(|c| !is_word(c)));
            let others = words.filter(|word| all.contains(*word) && **word != *module);
            from.extend(others.map(str::to_owned));
        }
    }
    found
}

/// Returns the modules that are left when those that need no other are taken away, again
/// and again: the circles, and what needs them.
pub(crate) fn circles(
    mut imports: BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let ground: Vec<String> = imports
            .iter()
            .filter(|(_, from)| from.is_empty())
            .map(|(module, _)| module.clone())
            .collect();
        if ground.is_empty() {
            return imports;
        }
        for module in &ground {
            imports.remove(module);
            imports.values_mut().for_each(|from| {
                from.remove(module);
            });
        }
    }
}

#[test]
fn modules_of_the_store_import_each_other_in_no_circle() {
    const ROOM: &str = "actors/ledger/src/store/sqlite";
    let imports = imports(&rust_files(ROOM), ROOM, "super::");
    let known = |module: &str, from: &str| imports[module].contains(from);
    assert!(known("apply", "submit") && known("writer", "apply") && known("submit", "rows"));
    assert_eq!(circles(imports), BTreeMap::new());
}

#[test]
fn circle_of_modules_is_found() {
    let file = |name: &str, text: &str| (format!("r/{name}.rs"), text.to_owned());
    let files = [
        file("a", "use super::{\n    b::B,\n    c,\n};\n"),
        file("b", "fn f() { super::d::f() }"),
        file("b/child", "use super::{super::c::C, B};\n"),
        file("c", ""),
        file(
            "d",
            "use super::a::A;\n#[cfg(test)]\nmod tests {\n    use super::{c};\n}\n",
        ),
    ];
    let left = circles(imports(&files, "r", "super::"));
    let modules: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(modules, ["a", "b", "d"]);
}

#[test]
fn only_the_host_module_reads_what_the_kernel_shows() {
    let host = "actors/hive/src/host";
    let mut elsewhere = not_below(all_sources(), &[host]);
    elsewhere.retain(|(name, _)| !is_test(name));
    forbid(
        &elsewhere,
        &["\"/proc", "\"/sys", "procfs::"],
        "the host is read outside actors/hive/src/host",
    );
    let readers = below(all_sources(), &[host]);
    assert!(readers.iter().any(|(_, text)| text.contains("procfs::")));
}

#[test]
fn subsystems_import_each_other_in_no_circle() {
    const FOLDER: &str = "actors/hive/src";
    let mut files = rust_files(FOLDER);
    // Helpers of tests start whole hives.
    files.retain(|(name, _)| !is_test(name) && !name.ends_with("testing.rs"));
    let mut imports = imports(&files, FOLDER, "crate::");
    // The settings of all subsystems, which some of their types are part of.
    imports.remove("config");
    for from in imports.values_mut() {
        from.remove("config");
    }
    let known = |module: &str, from: &str| imports[module].contains(from);
    assert!(known("tree", "bots") && known("tasks", "bots") && known("hive", "tree"));
    assert_eq!(circles(imports), BTreeMap::new());
}
