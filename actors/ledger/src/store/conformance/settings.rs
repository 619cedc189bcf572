//! Versions of the settings: recorded once, settled, kept, listed.

use deia_model::{
    Action, NewEvent, PageRequest, SettingChange, SettingsOrigin, SettingsOutcome, SettingsVersion,
    Timestamp,
};
use serde_json::json;

use super::{actions, refused};
use crate::{
    Apply, Ledger, Note, Rejection, SettledVersion, StoreError, StoredSettings, WriteSettings,
};

fn stored(version: u64, outcome: SettingsOutcome) -> StoredSettings {
    StoredSettings {
        version: SettingsVersion {
            version,
            at: Timestamp::now(),
            actor: "ada".to_owned(),
            origin: SettingsOrigin::Api,
            restores: None,
            changes: vec![SettingChange {
                key: "tasks.max_batch".to_owned(),
                from: Some(json!(1000)),
                to: Some(json!(version)),
                secret: false,
            }],
            outcome,
            reason: None,
            probation_until: None,
            confirm_by: None,
            confirmed_by: None,
        },
        content: json!({"values": {"tasks": {"max_batch": version}}}),
    }
}

fn add(version: u64, outcome: SettingsOutcome) -> WriteSettings {
    WriteSettings {
        expected: version - 1,
        add: Some(stored(version, outcome)),
        events: vec![NewEvent::new(Action::ConfigChanged, "ada", "hive")],
        keep: 3,
        ..WriteSettings::default()
    }
}

fn settle(expected: u64, version: u64, outcome: SettingsOutcome) -> WriteSettings {
    WriteSettings {
        expected,
        settle: vec![SettledVersion::to(version, outcome)],
        keep: 3,
        ..WriteSettings::default()
    }
}

fn page(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest { limit, cursor }
}

async fn listed(ledger: &Ledger) -> Vec<(u64, SettingsOutcome)> {
    let all = ledger.settings_versions(page(100, None)).await.unwrap();
    let all = all.items.into_iter();
    all.map(|it| (it.version, it.outcome)).collect()
}

pub(crate) async fn version_is_recorded_once_with_its_event(ledger: Ledger) {
    use SettingsOutcome::{Confirmed, Pending, Probation};
    let record = ledger.settings_record().await.unwrap();
    assert_eq!((record.newest, record.confirmed), (0, None));
    assert_eq!(ledger.apply(add(1, Confirmed)).await.unwrap(), 1);
    let again = refused(&ledger, add(1, Confirmed)).await;
    let mismatch = Rejection::VersionMismatch {
        expected: 0,
        actual: 1,
    };
    assert_eq!(again, mismatch);
    assert_eq!(ledger.apply(add(2, Pending)).await.unwrap(), 2);
    let armed = WriteSettings {
        settle: vec![SettledVersion {
            probation_until: Some(Timestamp::from_millis(7_000)),
            confirm_by: Some(Timestamp::from_millis(9_000)),
            ..SettledVersion::to(2, Probation)
        }],
        rejected: Note::Set("hash".to_owned()),
        ended_under: Note::Set("2".to_owned()),
        taken_back: Note::Set("why".to_owned()),
        ..settle(2, 2, Probation)
    };
    assert_eq!(ledger.apply(armed).await.unwrap(), 2);
    let record = ledger.settings_record().await.unwrap();
    assert_eq!(record.newest, 2);
    assert_eq!(record.confirmed.as_ref().unwrap().version.version, 1);
    assert_eq!(
        (record.rejected.as_deref(), record.taken_back.as_deref()),
        (Some("hash"), Some("why"))
    );
    assert_eq!(record.ended_under.as_deref(), Some("2"));
    let [open] = &record.open[..] else {
        panic!("one is open: {record:?}");
    };
    assert_eq!(open.content, stored(2, Pending).content);
    assert_eq!(open.version.changes, stored(2, Pending).version.changes);
    assert_eq!(open.version.outcome, Probation);
    assert_eq!(open.version.confirm_by, Some(Timestamp::from_millis(9_000)));
    let changed = Action::ConfigChanged;
    assert_eq!(actions(&ledger).await, [changed, changed]);
    let cleared = WriteSettings {
        rejected: Note::Clear,
        ..settle(2, 2, SettingsOutcome::Reverted)
    };
    ledger.apply(cleared).await.unwrap();
    let record = ledger.settings_record().await.unwrap();
    assert_eq!((record.rejected, record.open.len()), (None, 0));
    assert_eq!(record.taken_back.as_deref(), Some("why"));
}

pub(crate) async fn probation_below_a_confirmed_version_is_over(ledger: Ledger) {
    use SettingsOutcome::{Confirmed, Pending, Probation};
    for (version, outcome) in [
        (1, Confirmed),
        (2, Pending),
        (3, Probation),
        (4, Confirmed),
        (5, Probation),
    ] {
        let keep = 50;
        let add = WriteSettings {
            keep,
            ..add(version, outcome)
        };
        ledger.apply(add).await.unwrap();
    }
    let record = ledger.settings_record().await.unwrap();
    assert_eq!(record.confirmed.unwrap().version.version, 4);
    let open = record.open.iter().map(|it| it.version.version);
    // One that was never applied is still to be settled.
    assert_eq!(open.collect::<Vec<_>>(), [2, 5]);
}

pub(crate) async fn earlier_versions_are_found_unless_they_were_taken_back(ledger: Ledger) {
    use SettingsOutcome::{Confirmed, Failed, Probation, Reverted};
    for (version, outcome) in [(1, Confirmed), (2, Reverted), (3, Probation), (4, Failed)] {
        ledger.apply(add(version, outcome)).await.unwrap();
    }
    for (version, expected) in [(5, Some(3)), (3, Some(1)), (1, None)] {
        let found = ledger.settings_before(version).await.unwrap();
        assert_eq!(found.map(|it| it.version.version), expected, "{version}");
    }
    let found = ledger.settings_version(2).await.unwrap().unwrap();
    assert_eq!(found.version.outcome, Reverted);
    assert_eq!(ledger.settings_version(9).await.unwrap(), None);
}

pub(crate) async fn old_versions_are_forgotten_but_not_those_to_go_back_to(ledger: Ledger) {
    use SettingsOutcome::{Confirmed, Probation};
    ledger.apply(add(1, Confirmed)).await.unwrap();
    for version in 2..=6 {
        ledger.apply(add(version, Probation)).await.unwrap();
    }
    assert_eq!(
        listed(&ledger).await.len(),
        6,
        "one confirmed, and later ones"
    );
    ledger.apply(settle(6, 5, Confirmed)).await.unwrap();
    ledger.apply(add(7, Confirmed)).await.unwrap();
    let left: Vec<_> = listed(&ledger).await.into_iter().map(|it| it.0).collect();
    assert_eq!(left, [7, 6, 5]);
    let first = ledger.settings_versions(page(2, None)).await.unwrap();
    let cursor = first.next_cursor.unwrap();
    let second = ledger.settings_versions(page(2, Some(cursor))).await;
    let second = second.unwrap();
    assert_eq!(second.items[0].version, 5);
    assert_eq!(second.next_cursor, None);
    let bad = ledger.settings_versions(page(2, Some("x".into()))).await;
    assert!(matches!(bad.unwrap_err(), StoreError::BadCursor));
}
