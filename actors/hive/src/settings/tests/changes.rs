//! Changes over the API and reloads of the file.

use std::time::Duration;

use deia_ledger::Rejection;
use deia_model::{Action, SettingLayer, SettingsOrigin, SettingsOutcome};
use serde_json::json;

use super::{ChangeSetting, HiveError, ReloadSettings, json_of, limit, with_site};

#[test]
fn changed_setting_is_in_force_named_and_survives_a_start() {
    with_site("", &[], async |site| {
        let before = site.hive.settings().version_in_force();
        let done = site.set("secrets.max", json!(7)).await.unwrap();
        assert!(done.applied && done.version == before + 1, "{done:?}");
        assert_eq!(
            json_of(&done.changes),
            json!([{"key": "secrets.max", "from": 1000, "to": 7}])
        );
        let value = site.hive.settings().value("secrets.max").await.unwrap();
        assert_eq!((value.value, value.version), (Some(json!(7)), done.version));
        assert_eq!(value.source.layer, SettingLayer::Api);
        assert_eq!(value.source.by.as_deref(), Some("admin"));
        assert_eq!(value.without_api, Some(json!(1000)));
        let again = site.set("secrets.max", json!(7)).await.unwrap();
        assert!(!again.applied && again.version == done.version);
        let events = site.events(Action::ConfigChanged).await;
        let expected = json!([{
            "version": done.version, "origin": "api", "keys": ["secrets.max"], "changed": 1,
        }]);
        assert_eq!(json_of(&events), expected);

        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 7);
        assert_eq!(site.hive.settings().version_in_force(), done.version);
        let reset = site.set("secrets.max", json!(null)).await.unwrap();
        assert_eq!((site.secrets_max(), reset.applied), (1000, true));
        site
    });
}

#[test]
fn change_that_is_not_possible_changes_nothing() {
    with_site("", &[], async |site| {
        let before = site.hive.settings().version_in_force();
        let invalid = |error| matches!(error, HiveError::Invalid(violations) if violations[0].pointer == "/value");
        for value in [json!(0), json!("many"), json!([1]), json!({"a": 1})] {
            assert!(invalid(site.set("secrets.max", value).await.unwrap_err()));
        }
        // Valid alone, but not together with the other.
        assert!(invalid(
            site.set("bots.first_port", json!(9500)).await.unwrap_err()
        ));
        // Allowed by the settings, and not by the process.
        let odd = site.set("tasks.types", json!(["odd"])).await;
        assert!(invalid(odd.unwrap_err()));
        for key in ["server.workers", "bots.seed", "telemetry.otlp_endpoint"] {
            let refused = site.set(key, json!("x")).await.unwrap_err();
            assert!(
                matches!(&refused, HiveError::RestartNeeded(keys) if keys[..] == [key]),
                "{refused:?}"
            );
        }
        for key in ["secrets", "no.such", "secrets.max.more"] {
            let refused = site.set(key, json!(1)).await.unwrap_err();
            assert!(matches!(refused, HiveError::NotFound { .. }), "{refused:?}");
        }
        let refused = site.set_if("secrets.max", json!(7), Some(before + 5)).await;
        assert!(matches!(
            refused.unwrap_err(),
            HiveError::Refused(Rejection::VersionMismatch { .. })
        ));
        assert_eq!(site.hive.settings().version_in_force(), before);
        assert_eq!(site.versions().await.len(), 1);
        site
    });
}

#[test]
fn reload_applies_all_or_nothing() {
    with_site(&limit(5), &[], async |site| {
        site.write("secrets: {max: 6}\nserver: {keep_alive: 7s}\n");
        let check = site.hive.settings().check_reload().await.unwrap();
        assert!(check.differs && check.at_restart == ["server.keep_alive"]);
        let refused = site.reload(ReloadSettings::default()).await.unwrap_err();
        assert!(
            matches!(refused, HiveError::RestartNeeded(_)),
            "{refused:?}"
        );
        assert_eq!(site.secrets_max(), 5);
        let dry = ReloadSettings {
            dry_run: true,
            ..ReloadSettings::default()
        };
        let told = site.reload(dry).await.unwrap();
        assert!(!told.applied && told.changes.len() == 1);
        let rest = ReloadSettings {
            apply_rest: true,
            ..ReloadSettings::default()
        };
        let done = site.reload(rest).await.unwrap();
        assert!(done.applied && done.at_restart == ["server.keep_alive"]);
        // The value in force is not that of the file.
        let settings = site.hive.settings();
        let wait = settings.value("server.keep_alive").await.unwrap();
        assert_eq!(wait.source.layer, SettingLayer::Default);
        let max = settings.value("secrets.max").await.unwrap();
        assert_eq!(max.source.layer, SettingLayer::File);
        assert_eq!(site.secrets_max(), 6);
        // Keys that wait for a start do not keep others from changing.
        site.set("secrets.max_bytes", json!("32KiB")).await.unwrap();
        for broken in [
            "tasks: {types: [odd]}\n",
            "secrets: {max: 0}\n",
            "secrets: [",
            "no: {such: 1}\n",
        ] {
            site.write(broken);
            let refused = site.reload(ReloadSettings::default()).await.unwrap_err();
            assert!(
                matches!(refused, HiveError::SettingsInvalid(_)),
                "{refused:?}"
            );
            let check = site.hive.settings().check_reload().await.unwrap();
            assert!(!check.problems.is_empty(), "{check:?}");
        }
        assert_eq!(site.secrets_max(), 6);
        let site = {
            site.write("secrets: {max: 6}\nserver: {keep_alive: 7s}\n");
            site.start_again().await
        };
        assert_eq!(site.hive.config().server.keep_alive, Duration::from_secs(7));
        assert_eq!(site.hive.config().secrets.max_bytes.as_u64(), 32 << 10);
        site
    });
}

#[test]
fn file_that_a_start_could_not_load_is_refused() {
    with_site("", &[], async |site| {
        site.set("bots.last_port", json!(9_900)).await.unwrap();
        // Valid only with the change over the API.
        site.write("bots: {first_port: 9700, last_port: 8600}\n");
        let refused = site.reload(ReloadSettings::default()).await.unwrap_err();
        assert!(
            matches!(refused, HiveError::SettingsInvalid(_)),
            "{refused:?}"
        );
        site
    });
}

#[test]
fn undo_puts_the_values_before_back() {
    let settings = [("settings.probation", "0s")];
    with_site(&limit(5), &settings, async |site| {
        site.set("secrets.max_bytes", json!("32KiB")).await.unwrap();
        site.write(&limit(6));
        let reloaded = site.reload(ReloadSettings::default()).await.unwrap();
        let settings = site.hive.settings();
        let undone = settings.undo(&site.admin, None, None).await.unwrap();
        assert!(undone.version > reloaded.version);
        assert_eq!(site.secrets_max(), 5);
        assert_eq!(site.hive.config().secrets.max_bytes.as_u64(), 32 << 10);
        let status = settings.status().await.unwrap();
        assert_eq!(status.in_force.origin, SettingsOrigin::Undo);
        let undone = settings.undo(&site.admin, Some(1), None).await.unwrap();
        assert_eq!(site.hive.config().secrets.max_bytes.as_u64(), 64 << 10);
        let refused = settings.undo(&site.admin, Some(undone.version), None).await;
        assert!(matches!(refused.unwrap_err(), HiveError::NothingToUndo));
        // The file still has what was undone: a start does not use it, nor after another change.
        site.set("tasks.max_batch", json!(7)).await.unwrap();
        assert!(settings.status().await.unwrap().file.unwrap().rejected);
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 5);
        site.write(&limit(9));
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 9);
        site
    });
}

#[test]
fn change_that_waits_for_its_confirmation_holds_others_back() {
    with_site("", &[], async |site| {
        let settings = site.hive.settings();
        let change = ChangeSetting {
            key: "secrets.max".to_owned(),
            value: json!(7),
            version: None,
            confirm_within: Some(Duration::from_secs(600)),
        };
        let done = settings.change(&site.admin, change).await.unwrap();
        assert!(done.confirm_by.is_some());
        let refused = site.set("secrets.max", json!(8)).await.unwrap_err();
        assert!(
            matches!(refused, HiveError::ConfirmationPending { .. }),
            "{refused:?}"
        );
        let other = settings.confirm(&site.admin, Some(done.version + 1)).await;
        assert!(matches!(other.unwrap_err(), HiveError::Refused(_)));
        let confirmed = settings.confirm(&site.admin, None).await.unwrap();
        assert_eq!(confirmed.confirmed_by.as_deref(), Some("admin"));
        let twice = settings.confirm(&site.admin, None).await.unwrap_err();
        assert!(matches!(twice, HiveError::NothingToConfirm), "{twice:?}");
        site.set("secrets.max", json!(8)).await.unwrap();
        assert_eq!(site.events(Action::ConfigConfirmed).await.len(), 1);
        // One that is undone is taken back with all that waits.
        let undone = settings.undo(&site.admin, None, None).await.unwrap();
        assert_eq!(site.secrets_max(), 7);
        let versions = site.versions().await;
        assert_eq!(versions[0].version, undone.version);
        assert_eq!(versions[1].outcome, SettingsOutcome::Reverted);
        site
    });
}

#[test]
fn secrets_are_in_no_version_event_or_difference() {
    let seed = |secret: &str| {
        format!(
            "secrets: {{max: 5}}\ntelemetry: {{otlp_endpoint: 'http://127.0.0.1:4318/{secret}'}}\n\
             bots:\n  seed:\n    - name: b\n      executor: {{kind: command, command: [cat], env: {{TOKEN: {secret}}}}}\n"
        )
    };
    let dir_of = |set: &str| set.to_owned();
    with_site("", &[], async |site| {
        site.write(&seed("hunter1"));
        let rest = ReloadSettings {
            apply_rest: true,
            ..ReloadSettings::default()
        };
        let mut told = vec![json_of(site.reload(rest).await.unwrap())];
        site.write(&seed("hunter2").replace("max: 5", "max: 6"));
        let settings = site.hive.settings();
        told.push(json_of(settings.check_reload().await.unwrap()));
        told.push(json_of(site.reload(rest).await.unwrap()));
        told.push(json_of(settings.current().await));
        told.push(json_of(
            settings.value("telemetry.otlp_endpoint").await.unwrap(),
        ));
        told.push(json_of(settings.status().await.unwrap()));
        told.push(json_of(site.versions().await));
        told.push(json_of(site.events(Action::ConfigChanged).await));
        for version in 1..=settings.version_in_force() {
            let stored = site.hive.ledger().settings_version(version).await.unwrap();
            told.push(stored.unwrap().content);
        }
        let text = json!(told).to_string();
        assert!(!text.contains("hunter"), "{text}");
        let store = std::fs::read(site.hive.config().database_path()).unwrap();
        let log = site.hive.config().database_path().with_extension("db-wal");
        let mut bytes = store;
        bytes.extend(std::fs::read(log).unwrap());
        let found = bytes.windows(6).any(|window| window == b"hunter");
        assert!(!found, "{}", dir_of("a secret is in the store"));
        site
    });
}

#[test]
fn file_system_that_hangs_holds_no_change_back() {
    with_site(&limit(5), &[], async |site| {
        site.source.hang(true);
        let settings = site.hive.settings();
        let reads = async { (settings.status().await, settings.check_reload().await) };
        let reload = site.reload(ReloadSettings::default());
        tokio::select! {
            _ = reads => panic!("the file cannot be read"),
            done = reload => panic!("the file cannot be read: {done:?}"),
            done = site.set("secrets.max", json!(7)) => assert!(done.unwrap().applied),
        }
        site.source.hang(false);
        site
    });
}

#[test]
fn file_is_tried_again_after_a_failure_that_is_none_of_its_content() {
    with_site(&limit(5), &[], async |site| {
        let settings = site.hive.settings();
        site.write(&limit(6));
        let look = settings.look_at_file().await.unwrap();
        settings.0.faults.refuse(true);
        settings.apply_file(look.clone()).await;
        assert_eq!(site.secrets_max(), 5);
        settings.0.faults.refuse(false);
        // The content of the look is applied, whatever the file has become meanwhile.
        site.write(&limit(9));
        settings.apply_file(look).await;
        assert_eq!(site.secrets_max(), 6);
        // One with a mistake is not tried again.
        site.write(&limit(0));
        for _ in 0..2 {
            let look = settings.look_at_file().await.unwrap();
            settings.apply_file(look).await;
        }
        assert!(
            settings
                .status()
                .await
                .unwrap()
                .file
                .unwrap()
                .problem
                .is_some()
        );
        assert_eq!(settings.0.metrics.refused(), 1);
        site
    });
}

#[test]
fn signal_does_not_apply_a_content_that_was_taken_back() {
    with_site(&limit(5), &[], async |site| {
        let settings = site.hive.settings();
        site.write(&limit(6));
        settings.reload_on_signal().await.unwrap();
        settings.undo(&site.admin, None, None).await.unwrap();
        let refused = settings.reload_on_signal().await.unwrap_err();
        assert!(refused.to_string().contains("was taken back"), "{refused}");
        assert_eq!(site.secrets_max(), 5);
        // Somebody asks for it.
        site.reload(ReloadSettings::default()).await.unwrap();
        assert_eq!(site.secrets_max(), 6);
        site
    });
}
