//! Versions across starts.

use std::time::Duration;

use deia_ledger::{Apply as _, SettledVersion, WriteSettings};
use deia_model::{Action, SettingsOrigin, SettingsOutcome, Timestamp};
use serde_json::json;

use super::{ReloadSettings, limit, with_site};

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
