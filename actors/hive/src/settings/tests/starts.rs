//! Versions across starts.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use deia_ledger::{Apply as _, SettledVersion, WriteSettings};
use deia_model::{Action, SettingsOrigin, SettingsOutcome, Timestamp};
use serde_json::json;

use super::{ReloadSettings, Site, Source, limit, raise, soon, with_site};
use crate::{mode::LevelSource, testing::until};

#[test]
fn start_without_changes_adds_no_version() {
    with_site(&limit(5), &[], async |site| {
        assert_eq!(site.versions().await.len(), 1);
        let site = site.start_again().await;
        assert_eq!(site.versions().await.len(), 1);
        site.write(&limit(6));
        let site = site.start_again().await;
        let versions = site.versions().await;
        assert_eq!((site.secrets_max(), versions.len()), (6, 2));
        assert_eq!(versions[0].origin, SettingsOrigin::Start);
        assert_eq!(site.events(Action::ConfigChanged).await.len(), 1);
        site
    });
}

#[test]
fn unconfirmed_reload_is_taken_back_before_the_settings_of_a_start_apply() {
    with_site(&limit(5), &[], async |site| {
        site.write(&limit(6));
        let request = ReloadSettings {
            confirm_within: Some(Duration::from_secs(3_600)),
            ..ReloadSettings::default()
        };
        let done = site.reload(request).await.unwrap();
        // The deadline passes while the hive does not run.
        let ledger = site.hive.ledger();
        let passed = WriteSettings {
            expected: done.version,
            settle: vec![SettledVersion {
                confirm_by: Some(Timestamp::now()),
                ..SettledVersion::to(done.version, SettingsOutcome::Probation)
            }],
            ..WriteSettings::default()
        };
        ledger.apply(passed).await.unwrap();
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 5);
        let status = site.hive.settings().status().await.unwrap();
        assert_eq!(status.in_force.origin, SettingsOrigin::TakenBack);
        let file = status.file.unwrap();
        assert!(file.rejected && !file.in_force, "{file:?}");
        assert!(status.taken_back.unwrap().contains("nobody confirmed it"));
        assert_eq!(site.events(Action::ConfigReverted).await.len(), 1);
        // It stays so until the content changes.
        let site = site.start_again().await;
        assert_eq!((site.secrets_max(), site.versions().await.len()), (5, 3));
        site.write(&limit(7));
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 7);
        let status = site.hive.settings().status().await.unwrap();
        assert_eq!(status.taken_back, None);
        site
    });
}

#[test]
fn settings_with_which_the_tree_gave_up_are_taken_back_by_the_next_start() {
    with_site("", &[], async |site| {
        site.set("secrets.max", json!(7)).await.unwrap();
        let later = Timestamp::now().plus_millis(1_000);
        *site.source.gave_up.lock().unwrap() = Some(later);
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 1_000);
        let events = site.events(Action::ConfigReverted).await;
        assert!(
            events[0]["reason"].as_str().unwrap().contains("gave up"),
            "{events:?}"
        );
        site
    });
}

#[test]
fn version_that_was_never_applied_is_discarded() {
    with_site("", &[], async |site| {
        let done = site.set("secrets.max", json!(7)).await.unwrap();
        // As a process leaves it that ends between the record and the application.
        let pending = WriteSettings {
            expected: done.version,
            settle: vec![SettledVersion::to(done.version, SettingsOutcome::Pending)],
            ..WriteSettings::default()
        };
        site.hive.ledger().apply(pending).await.unwrap();
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 1_000);
        let versions = site.versions().await;
        assert_eq!(versions[1].outcome, SettingsOutcome::Failed);
        site
    });
}

#[test]
fn changes_over_the_api_that_do_not_fit_a_changed_file_are_left_out() {
    let file = |first: u16| format!("bots: {{first_port: {first}, last_port: 9500}}\n");
    with_site(&file(8_001), &[], async |site| {
        site.set("bots.last_port", json!(8_500)).await.unwrap();
        site.write(&file(9_000));
        let site = site.start_again().await;
        let config = site.hive.config();
        assert_eq!(
            (config.bots.first_port, config.bots.last_port),
            (9_000, 9_500)
        );
        let status = site.hive.settings().status().await.unwrap();
        assert!(status.taken_back.unwrap().contains("do not fit"));
        assert!(status.overrides.is_empty());
        site
    });
}

#[test]
fn change_without_a_probation_confirms_those_before_it() {
    with_site("", &[], async |site| {
        let first = site.set("settings.probation", json!("0s")).await.unwrap();
        let second = site.set("secrets.max", json!(7)).await.unwrap();
        let outcomes = site.versions().await;
        let outcomes: Vec<_> = outcomes.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes, [SettingsOutcome::Confirmed; 3]);
        // As an earlier release has left it.
        let left = WriteSettings {
            expected: second.version,
            settle: vec![SettledVersion::to(
                first.version,
                SettingsOutcome::Probation,
            )],
            ..WriteSettings::default()
        };
        site.hive.ledger().apply(left).await.unwrap();
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 7);
        assert_eq!(site.hive.settings().version_in_force(), second.version);
        site
    });
}

#[test]
fn version_that_a_start_adds_within_a_probation_is_on_it_as_well() {
    with_site(&limit(5), &[], async |site| {
        let change = site.set("tasks.max_batch", json!(7)).await.unwrap();
        site.write(&limit(6));
        let site = site.start_again().await;
        let added = site.hive.settings().version_in_force();
        assert_eq!((site.secrets_max(), added), (6, change.version + 1));
        raise(&site, 1, LevelSource::Signals, soon());
        until("all of it is taken back", async || site.secrets_max() == 5).await;
        assert_eq!(site.hive.config().tasks.max_batch, 1_000);
        let reverted = until("it is recorded", async || {
            site.events(Action::ConfigReverted).await.pop()
        });
        let expected = json!([change.version, added]);
        assert_eq!(reverted.await["taken_back"], expected);
        assert!(
            site.hive
                .settings()
                .status()
                .await
                .unwrap()
                .file
                .unwrap()
                .rejected
        );
        site
    });
}

#[test]
fn version_that_a_start_adds_within_a_probation_stays_after_it() {
    with_site(&limit(5), &[("settings.probation", "2s")], async |site| {
        site.set("tasks.max_batch", json!(7)).await.unwrap();
        site.write(&limit(6));
        let site = site.start_again().await;
        let added = site.hive.settings().version_in_force();
        until("it is confirmed", async || {
            site.hive.settings().status().await.unwrap().confirmed == added
        })
        .await;
        let settings = site.hive.settings();
        let outcome = settings.status().await.unwrap().in_force.outcome;
        assert_eq!(outcome, SettingsOutcome::Confirmed);
        let site = site.start_again().await;
        assert_eq!(
            (site.secrets_max(), site.hive.config().tasks.max_batch),
            (6, 7)
        );
        assert_eq!(site.hive.settings().version_in_force(), added);
        site
    });
}

#[test]
fn rejected_file_is_not_used_when_the_changes_over_the_api_do_not_fit_any_more() {
    let file = |max| format!("{}bots: {{last_port: 9500}}\n", limit(max));
    with_site(&file(5), &[("settings.probation", "0s")], async |site| {
        site.write(&file(6));
        site.reload(ReloadSettings::default()).await.unwrap();
        let settings = site.hive.settings();
        settings.undo(&site.admin, None, None).await.unwrap();
        site.set("bots.last_port", json!(8_500)).await.unwrap();
        // The options of the next start leave no room for it.
        let Site {
            hive, source, dir, ..
        } = site;
        hive.shutdown().await;
        drop(hive);
        let source = Arc::new(Source {
            text: Mutex::new(source.text.lock().unwrap().clone()),
            layers: source.layers.clone().set("bots.first_port", "9000"),
            gave_up: Mutex::default(),
            hangs: Default::default(),
        });
        let site = Site::start_in(dir, source).await.unwrap();
        assert_eq!(site.secrets_max(), 5);
        let status = site.hive.settings().status().await.unwrap();
        assert!(status.file.unwrap().rejected && status.overrides.is_empty());
        site
    });
}

#[test]
fn restored_store_starts_with_its_own_versions() {
    with_site("", &[("settings.probation", "0s")], async |site| {
        site.set("secrets.max", json!(7)).await.unwrap();
        let Site {
            hive, source, dir, ..
        } = site;
        let store = hive.config().database_path();
        hive.shutdown().await;
        drop(hive);
        let earlier = std::fs::read(&store).unwrap();
        let site = Site::start_in(dir, source).await.unwrap();
        site.set("secrets.max", json!(8)).await.unwrap();
        let Site {
            hive, source, dir, ..
        } = site;
        hive.shutdown().await;
        drop(hive);
        // As a restore in place leaves it.
        let prepared = dir.path().join("restore");
        std::fs::create_dir(&prepared).unwrap();
        std::fs::write(prepared.join("deia.db"), earlier).unwrap();
        let at = Timestamp::from_millis(1);
        let restored = json!({"restored_at": at, "to": at, "position": "1.1", "paused": false,
            "notes": []});
        let ready = json!({"aside": "replaced-1", "restored": restored});
        std::fs::write(prepared.join("ready.json"), ready.to_string()).unwrap();
        let site = Site::start_in(dir, source).await.unwrap();
        assert_eq!(site.secrets_max(), 7);
        assert_eq!(site.versions().await.len(), 2);
        site
    });
}
