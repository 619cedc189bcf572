//! Changes whose caller leaves, and records of them that the store does not take or answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use deia_ledger::{Apply as _, BoxFuture, WriteSettings};
use deia_model::{Action, KeyGrant, Role, SettingsOrigin, SettingsOutcome};
use serde_json::json;
use tokio::sync::Notify;

use super::{HiveError, Site, limit, raise, soon, with_site};
use crate::{
    config::Config, mode::LevelSource, settings::ReloadSettings, subsystem::Subsystem,
    testing::until,
};

/// Takes settings only once it is told to.
#[derive(Default)]
struct Gate {
    is_reached: AtomicBool,
    opens: Notify,
}

impl Subsystem for Gate {
    fn reconfigure<'a>(
        &'a self,
        _from: &'a Config,
        _to: &'a Config,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            self.is_reached.store(true, Ordering::Relaxed);
            self.opens.notified().await;
            Ok(())
        })
    }
}

#[test]
fn change_is_carried_out_although_its_caller_leaves() {
    with_site("", &[], async |site| {
        let gate = Arc::<Gate>::default();
        site.hive.settings().apply_also_to(vec![gate.clone()]);
        let reached = until("it is being applied", async || {
            gate.is_reached.load(Ordering::Relaxed)
        });
        tokio::select! {
            () = reached => {}
            done = site.set("secrets.max", json!(7)) => panic!("not held up: {done:?}"),
        }
        gate.opens.notify_one();
        until("it is in force", async || site.secrets_max() == 7).await;
        site.hive.settings().apply_also_to(Vec::new());
        let status = site.hive.settings().status().await.unwrap();
        assert_eq!(status.in_force.outcome, SettingsOutcome::Probation);
        let next = site.set("secrets.max", json!(8)).await.unwrap();
        assert_eq!(next.version, status.in_force.version + 1);
        site
    });
}

#[test]
fn lost_answers_leave_the_versions_in_step() {
    with_site(&limit(5), &[], async |site| {
        let faults = &site.hive.settings().0.faults;
        let before = site.hive.settings().version_in_force();
        // The answer about the version itself; and about the state of the next one, which follows
        // the record, the state of the first one, and the record of the next one.
        for lost in [1, 4] {
            faults.lose(lost);
            let refused = site.set("secrets.max", json!(7)).await.unwrap_err();
            assert!(
                refused.to_string().contains("may or may not"),
                "{refused:?}"
            );
            assert_eq!(site.secrets_max(), 5);
        }
        let done = site.set("secrets.max", json!(8)).await.unwrap();
        assert_eq!(done.version, before + 3);
        let outcomes = site.versions().await;
        let outcomes: Vec<_> = outcomes.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes[1..3], [SettingsOutcome::Failed; 2]);
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 8);
        assert_eq!(site.hive.settings().version_in_force(), done.version);
        site
    });
}

#[test]
fn versions_that_are_not_those_of_the_store_are_read_again() {
    with_site("", &[], async |site| {
        let done = site.set("secrets.max", json!(7)).await.unwrap();
        // A version that this hive does not know, and that was never applied.
        let ledger = site.hive.ledger();
        let mut other = ledger
            .settings_version(done.version)
            .await
            .unwrap()
            .unwrap();
        other.version.outcome = SettingsOutcome::Pending;
        let unknown = WriteSettings {
            expected: done.version,
            add: Some(other),
            keep: 50,
            ..WriteSettings::default()
        };
        ledger.apply(unknown).await.unwrap();
        let refused = site.set("secrets.max", json!(8)).await.unwrap_err();
        assert!(matches!(refused, HiveError::Refused(_)), "{refused:?}");
        let done = site.set("secrets.max", json!(8)).await.unwrap();
        let versions = site.versions().await;
        assert_eq!(versions[0].version, done.version);
        assert_eq!(versions[1].outcome, SettingsOutcome::Failed);
        site
    });
}

/// Takes a change back while the store answers nothing, and returns its number.
async fn taken_back_unheard(site: &Site, max: u32, lost: u32) -> u64 {
    site.write(&limit(max));
    let done = site.reload(ReloadSettings::default()).await.unwrap();
    site.hive.settings().0.faults.lose(lost);
    raise(site, 1, LevelSource::Signals, soon());
    until("it is taken back", async || site.secrets_max() == 5).await;
    done.version
}

#[test]
fn answer_lost_after_settings_were_taken_back_is_found_in_the_store() {
    with_site(&limit(5), &[], async |site| {
        let reverted = taken_back_unheard(&site, 6, 1).await;
        until("it is recorded", async || {
            site.hive
                .settings()
                .0
                .book
                .lock()
                .await
                .unrecorded
                .is_empty()
        })
        .await;
        let versions = site.versions().await;
        assert_eq!(versions.len(), 3, "it is recorded once: {versions:?}");
        assert_eq!(versions[0].origin, SettingsOrigin::TakenBack);
        assert_eq!(versions[1].version, reverted);
        assert_eq!(versions[1].outcome, SettingsOutcome::Reverted);
        assert_eq!(site.events(Action::ConfigReverted).await.len(), 1);
        site
    });
}

#[test]
fn settings_taken_back_twice_before_a_record_are_recorded_twice() {
    let settings = [("settings.look_every", "10s")];
    with_site(&limit(5), &settings, async |site| {
        let api = site.hive.settings();
        let first = site.set("secrets.max", json!(7)).await.unwrap();
        let second = site.set("secrets.max", json!(8)).await.unwrap();
        // Nothing is written: the store has no place for it.
        api.0.faults.refuse(true);
        let undone = api.undo(&site.admin, None, None).await.unwrap();
        assert!(undone.record_pending && undone.applied, "{undone:?}");
        assert_eq!(site.secrets_max(), 7);
        raise(&site, 1, LevelSource::Signals, soon());
        until("the other is taken back", async || site.secrets_max() == 5).await;
        let last = api.version_in_force();
        assert_eq!(
            (undone.version, last),
            (second.version + 1, second.version + 2)
        );
        api.0.faults.refuse(false);
        let next = site.set("tasks.max_batch", json!(9)).await.unwrap();
        assert_eq!(next.version, last + 1);
        let versions = site.versions().await;
        let outcome = |number| {
            let found = versions.iter().find(|it| it.version == number);
            found.unwrap().outcome
        };
        for number in [first.version, second.version, undone.version] {
            assert_eq!(outcome(number), SettingsOutcome::Reverted, "{number}");
        }
        assert_eq!(outcome(last), SettingsOutcome::Confirmed);
        let site = site.start_again().await;
        assert_eq!(
            (site.secrets_max(), site.hive.config().tasks.max_batch),
            (5, 9)
        );
        site
    });
}

#[test]
fn caller_without_access_undoes_nothing() {
    with_site("", &[], async |site| {
        let (admin, hive) = (&site.admin, &site.hive);
        let grant = KeyGrant::new("eve", Role::Admin);
        let issued = hive
            .access()
            .create_key(admin, grant, Some(true), None)
            .await;
        let issued = issued.unwrap();
        let eve = hive.access().authenticate(&issued.text, None).unwrap();
        site.set("secrets.max", json!(7)).await.unwrap();
        hive.access()
            .revoke_key(admin, issued.info.id)
            .await
            .unwrap();
        let refused = hive.settings().undo(&eve, None, None).await.unwrap_err();
        assert!(matches!(refused, HiveError::Refused(_)), "{refused:?}");
        assert_eq!(site.secrets_max(), 7);
        assert!(site.events(Action::ConfigReverted).await.is_empty());
        site
    });
}

#[test]
fn undone_content_of_the_file_is_rejected_in_the_same_write() {
    let settings = [("settings.probation", "0s")];
    with_site(&limit(5), &settings, async |site| {
        site.write(&limit(6));
        site.reload(ReloadSettings::default()).await.unwrap();
        let api = site.hive.settings();
        api.undo(&site.admin, None, None).await.unwrap();
        let record = site.hive.ledger().settings_record().await.unwrap();
        let book = api.0.book.lock().await;
        assert!(record.rejected.is_some() && record.rejected == book.rejected);
        drop(book);
        site
    });
}
