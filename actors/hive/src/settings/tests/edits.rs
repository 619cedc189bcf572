//! Random edits of all kinds, one after the other and at the same time: the settings in force are
//! always one whole valid version, and it is named.

#![allow(
    clippy::large_futures,
    reason = "a future of a whole hive, on the thread of the test"
)]

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join;
use proptest::{
    prelude::*,
    test_runner::{Config as Runs, TestRunner},
};
use serde_json::{Value, json};

use super::{ChangeSetting, ReloadSettings, SettingsReload, Site};
use crate::settings::{candidate::values_of, content::Content};

/// One edit.
#[derive(Clone, Debug)]
enum Edit {
    /// A change over the API, perhaps of the version before the one in force.
    Patch {
        key: usize,
        value: usize,
        stale: bool,
        confirm: bool,
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
    ("settings.probation", &["\"0s\"", "\"1m\"", "null"]),
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
    let (stale, confirm) = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let patch =
        (0..PATCHES.len(), 0..8_usize, stale, confirm).prop_map(|(key, value, stale, confirm)| {
            Edit::Patch {
                key,
                value,
                stale,
                confirm,
            }
        });
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
        2 => Just(Edit::Confirm),
    ]
}

/// The settings that were acknowledged, by their version: the file, and the changes over the API.
struct Acknowledged {
    versions: BTreeMap<u64, State>,
}

/// The number of the file, if it was ever read, and the changes over the API.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    file: usize,
    api: BTreeMap<String, Value>,
}

impl Acknowledged {
    /// Returns the state that answers have told last.
    fn last(&self) -> State {
        let last = self.versions.last_key_value();
        last.map(|(_, state)| state.clone()).unwrap_or_default()
    }

    /// Notes an answer about a change of the version before.
    fn note(&mut self, done: &SettingsReload, change: impl FnOnce(&mut State)) {
        if !done.applied {
            return;
        }
        let before = self.versions.range(..done.version).next_back();
        let mut state = before.map(|(_, it)| it.clone()).unwrap_or_default();
        change(&mut state);
        self.versions.insert(done.version, state);
    }

    fn note_value(&mut self, done: &SettingsReload, key: &str, value: Value) {
        self.note(done, |state| {
            match value {
                Value::Null => state.api.remove(key),
                value => state.api.insert(key.to_owned(), value),
            };
        });
    }
}

async fn carry_out(site: &Site, edit: &Edit, told: &mut Acknowledged) {
    let version = site.hive.settings().version_in_force();
    let reload = |apply_rest| {
        let request = ReloadSettings {
            apply_rest,
            ..ReloadSettings::default()
        };
        site.reload(request)
    };
    match edit {
        Edit::Patch {
            key,
            value,
            stale,
            confirm,
        } => {
            let (key, values) = PATCHES[*key];
            let value: Value = serde_json::from_str(values[value % values.len()]).unwrap();
            let expected = version.saturating_sub(u64::from(*stale)).max(1);
            let change = ChangeSetting {
                key: key.to_owned(),
                value: value.clone(),
                version: Some(expected),
                confirm_within: confirm.then_some(Duration::from_secs(600)),
            };
            let done = site.hive.settings().change(&site.admin, change).await;
            assert!(
                done.is_err() || expected == version,
                "a stale change was made"
            );
            if let Ok(done) = done {
                told.note_value(&done, key, value);
            }
        }
        Edit::File { text, apply_rest } => {
            site.write(FILES[*text]);
            if let Ok(done) = reload(*apply_rest).await {
                told.note(&done, |state| state.file = *text);
            }
        }
        Edit::Twice { value, other } => {
            let set = |value: u16| site.set_if("secrets.max", json!(value), Some(version));
            let (one, two) = join(set(*value), set(*other)).await;
            let answers = [(one, value), (two, other)].into_iter();
            let applied = answers.filter_map(|(done, value)| Some((done.ok()?, value)));
            let applied: Vec<_> = applied.filter(|(done, _)| done.applied).collect();
            assert!(applied.len() <= 1, "two changes of one version");
            for (done, value) in applied {
                told.note_value(&done, "secrets.max", json!(value));
            }
        }
        Edit::Race { text, value } => {
            site.write(FILES[*text]);
            let (read, set) = join(reload(true), site.set("secrets.max", json!(value))).await;
            let note_file = |told: &mut Acknowledged| {
                if let Ok(done) = &read {
                    told.note(done, |state| state.file = *text);
                }
            };
            let is_first = |done: &SettingsReload| match &set {
                Ok(set) => done.version < set.version,
                Err(_) => true,
            };
            let file_first = read.as_ref().is_ok_and(is_first);
            if file_first {
                note_file(told);
            }
            if let Ok(done) = &set {
                told.note_value(done, "secrets.max", json!(value));
            }
            if !file_first {
                note_file(told);
            }
        }
        Edit::Undo => {
            let settings = site.hive.settings();
            if let Ok(done) = settings.undo(&site.admin, None, None).await {
                let restored = settings.status().await.unwrap().in_force.restores;
                let state = told.versions[&restored.unwrap()].clone();
                told.note(&done, |now| *now = state);
            }
        }
        Edit::Confirm => drop(site.hive.settings().confirm(&site.admin, None).await),
    }
}

/// Returns the values of each version that was seen in force, while edits are made.
async fn watch(site: &Site, edits: &[Edit], told: &mut Acknowledged) -> BTreeMap<u64, Value> {
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
            carry_out(site, edit, told).await;
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
        max_shrink_iters: 8,
        failure_persistence: None,
        ..Runs::default()
    };
    let all = prop::collection::vec(edit(), edits);
    let run = TestRunner::new(runs).run(&all, |edits| {
        actix_rt::System::new().block_on(async {
            let settings = [("settings.keep_versions", "10000"), ("bots.max_bots", "10")];
            let site = Site::start("", &settings).await;
            let first = site.hive.settings().version_in_force();
            let mut told = Acknowledged {
                versions: BTreeMap::from([(first, State::default())]),
            };
            let seen = watch(&site, &edits, &mut told).await;
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
            let untold = seen.keys().find(|it| !told.versions.contains_key(it));
            assert_eq!(untold, None, "a version that no answer has told");
            // The file that is in force: the changes over the API fit it.
            site.write(FILES[told.last().file]);
            let site = site.start_again().await;
            let book = site.hive.settings().0.book.lock().await.clone();
            let api = book.content.overrides.iter();
            let api = api.map(|(key, set)| (key.clone(), set.value.clone()));
            assert_eq!(api.collect::<BTreeMap<_, _>>(), told.last().api);
            assert_eq!(book.taken_back, None);
            site.hive.shutdown().await;
        });
        Ok(())
    });
    run.unwrap();
}
