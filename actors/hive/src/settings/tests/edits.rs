//! Random edits of all kinds, one after the other and at the same time: the settings in force are
//! always one whole valid version, and it is named.

#![allow(
    clippy::large_futures,
    reason = "a future of a whole hive, on the thread of the test"
)]

use std::collections::BTreeMap;

use futures_util::future::join;
use proptest::{
    prelude::*,
    test_runner::{Config as Runs, TestRunner},
};
use serde_json::{Value, json};

use super::{Principal, ReloadSettings, Site, json_of};
use crate::settings::{candidate::values_of, content::Content};

/// One edit.
#[derive(Clone, Debug)]
enum Edit {
    /// A change over the API, perhaps of the version before the one in force.
    Patch {
        key: usize,
        value: usize,
        stale: bool,
    },
    /// A file, and a reload.
    File {
        text: usize,
        apply_rest: bool,
    },
    /// Two changes of the same version at the same time: one wins at most.
    Twice {
        value: u16,
        other: u16,
    },
    /// A file and a change over the API at the same time.
    Race {
        text: usize,
        value: u16,
    },
    Undo,
    Confirm,
}

/// Changes over the API: valid, not valid, not valid with another key, only at a start, unknown.
const PATCHES: &[(&str, &[&str])] = &[
    ("secrets.max", &["1", "7", "1000", "0", "\"x\"", "null"]),
    ("bots.first_port", &["8001", "9000", "9900", "0", "null"]),
    ("bots.last_port", &["8500", "9500", "8000", "null"]),
    ("tasks.types", &["[]", "[\"a\", \"b\"]", "[1]", "null"]),
    ("server.workers", &["3"]),
    ("no.such", &["3"]),
];

/// Files: valid, not valid, not valid with another key or with a change over the API, only at a
/// start, not YAML.
const FILES: &[&str] = &[
    "",
    "secrets: {max: 5}\n",
    "secrets: {max: 6}\ntasks: {types: [c]}\n",
    "secrets: {max: 0}\n",
    "bots: {first_port: 8600, last_port: 9700}\n",
    "bots: {first_port: 9700, last_port: 8600}\n",
    "secrets: {max: 9}\nserver: {workers: 3}\n",
    "server: {keep_alive: 3s}\n",
    "secrets: {mox: 9}\n",
    "secrets: [\n",
];

fn edit() -> impl Strategy<Value = Edit> {
    let patch = (0..PATCHES.len(), 0..8_usize, prop::bool::weighted(0.2))
        .prop_map(|(key, value, stale)| Edit::Patch { key, value, stale });
    let file = (0..FILES.len(), any::<bool>())
        .prop_map(|(text, apply_rest)| Edit::File { text, apply_rest });
    let twice = (1..500_u16, 500..1000_u16).prop_map(|(value, other)| Edit::Twice { value, other });
    let race = (0..FILES.len(), 1..500_u16).prop_map(|(text, value)| Edit::Race { text, value });
    prop_oneof![
        5 => patch,
        4 => file,
        2 => twice,
        2 => race,
        1 => Just(Edit::Undo),
        1 => Just(Edit::Confirm),
    ]
}

async fn carry_out(site: &Site, edit: &Edit) {
    let version = site.hive.settings().version_in_force();
    let reload = |apply_rest| {
        let request = ReloadSettings {
            apply_rest,
            ..ReloadSettings::default()
        };
        site.reload(request)
    };
    match edit {
        Edit::Patch { key, value, stale } => {
            let (key, values) = PATCHES[*key];
            let value: Value = serde_json::from_str(values[value % values.len()]).unwrap();
            let expected = version.saturating_sub(u64::from(*stale)).max(1);
            let done = site.set_if(key, value, Some(expected)).await;
            assert!(
                done.is_err() || expected == version,
                "a stale change was made"
            );
        }
        Edit::File { text, apply_rest } => {
            site.write(FILES[*text]);
            let _ = reload(*apply_rest).await;
        }
        Edit::Twice { value, other } => {
            let set = |value: u16| site.set_if("secrets.max", json!(value), Some(version));
            let (one, two) = join(set(*value), set(*other)).await;
            let applied = [one, two].into_iter().flatten().filter(|it| it.applied);
            assert!(applied.count() <= 1, "two changes of one version");
        }
        Edit::Race { text, value } => {
            site.write(FILES[*text]);
            let _ = join(reload(true), site.set("secrets.max", json!(value))).await;
        }
        Edit::Undo => drop(site.hive.settings().undo(&site.admin, None, None).await),
        Edit::Confirm => drop(site.hive.settings().confirm(&site.admin, None).await),
    }
}

/// Returns the values of each version that was seen in force, while edits are made.
async fn watch(site: &Site, edits: &[Edit]) -> BTreeMap<u64, Value> {
    let mut seen = BTreeMap::new();
    let mut changes = site.hive.in_force().changes();
    let mut look = |now: crate::config::InForce| {
        let values = values_of(&now.config);
        let before = seen.insert(now.version, values.clone());
        assert!(
            before.is_none_or(|before| before == values),
            "version {}",
            now.version
        );
    };
    look(changes.borrow_and_update().clone());
    let editing = async {
        for edit in edits {
            carry_out(site, edit).await;
        }
    };
    tokio::pin!(editing);
    loop {
        tokio::select! {
            () = &mut editing => break,
            _ = changes.changed() => look(changes.borrow_and_update().clone()),
        }
    }
    look(changes.borrow_and_update().clone());
    seen
}

fn is_whole(values: &Value) -> bool {
    let config = serde_json::from_value::<crate::config::Config>(values.clone());
    config.is_ok_and(|config| config.is_valid())
}

#[test]
fn settings_in_force_are_always_one_whole_valid_version() {
    // A thousand edits in all.
    let (runs, edits) = (4, 250);
    let runs = Runs {
        cases: runs,
        max_shrink_iters: 30,
        failure_persistence: None,
        ..Runs::default()
    };
    let all = prop::collection::vec(edit(), edits);
    let run = TestRunner::new(runs).run(&all, |edits| {
        actix_rt::System::new().block_on(async {
            let settings = [("settings.keep_versions", "10000"), ("bots.max_bots", "10")];
            let site = Site::start("", &settings).await;
            let seen = watch(&site, &edits).await;
            let mut named = 0;
            for (version, values) in &seen {
                assert!(is_whole(values), "version {version} is not valid: {values}");
                let stored = site.hive.ledger().settings_version(*version).await.unwrap();
                let stored = Content::read(&stored.unwrap().content);
                let shown = crate::config::without_secrets(values.clone());
                assert_eq!(stored.values, shown, "version {version}");
                named += 1;
            }
            assert!(named > 10, "{named} versions");
            let last = json_of(seen.values().last().unwrap());
            let site = restarted(site).await;
            // The start uses the file as it is, so only the changes over the API are compared.
            let status = site.hive.settings().status().await.unwrap();
            let now = values_of(&site.hive.config());
            for key in &status.overrides {
                let pointer = format!("/{}", key.replace('.', "/"));
                assert_eq!(now.pointer(&pointer), last.pointer(&pointer), "{key}");
            }
            site.hive.shutdown().await;
        });
        Ok(())
    });
    run.unwrap();
}

/// Starts the hive again with a file that is in order.
async fn restarted(site: Site) -> Site {
    let _: &Principal = &site.admin;
    site.write("");
    site.start_again().await
}
