//! Trouble within a probation, and after it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use deia_ledger::BoxFuture;
use deia_model::{Action, Level, SettingsOrigin, Timestamp};
use serde_json::json;

use super::{HiveError, ReloadSettings, limit, raise, soon, with_site};
use crate::{
    config::Config,
    mode::{InForce, LevelSource},
    subsystem::Subsystem,
    testing::until,
};

#[test]
fn level_that_signals_raise_takes_the_change_back() {
    with_site(&limit(5), &[], async |site| {
        site.write(&limit(6));
        let done = site.reload(ReloadSettings::default()).await.unwrap();
        raise(&site, 1, LevelSource::Signals, soon());
        until("it is taken back", async || site.secrets_max() == 5).await;
        let reverted = until("it is recorded", async || {
            site.events(Action::ConfigReverted).await.pop()
        });
        let reverted = reverted.await;
        assert_eq!(reverted["taken_back"], json!([done.version]));
        assert!(
            reverted["reason"]
                .as_str()
                .unwrap()
                .contains("memory is short")
        );
        let status = site.hive.settings().status().await.unwrap();
        assert_eq!(status.in_force.origin, SettingsOrigin::TakenBack);
        assert!(status.file.unwrap().rejected);
        let alerts = site.hive.alerts().conditions().await.unwrap();
        let names: Vec<_> = alerts.iter().map(|it| it.name.as_str()).collect();
        assert!(names.contains(&"settings_taken_back"), "{names:?}");
        // A person accepts them as they are.
        let settings = site.hive.settings();
        settings.confirm(&site.admin, None).await.unwrap();
        assert_eq!(settings.taken_back(), None);
        site
    });
}

#[test]
fn trouble_that_is_none_of_the_change_takes_nothing_back() {
    with_site("", &[], async |site| {
        let before = Timestamp::now();
        site.set("secrets.max", json!(7)).await.unwrap();
        raise(&site, 1, LevelSource::Operator, soon());
        // The signals had begun to be short before the change.
        site.hive.level().note_trip(before);
        raise(&site, 2, LevelSource::Signals, soon());
        // Levels are seen in order: this one is trouble of the change.
        until("it is trouble", async || {
            let now = Timestamp::now();
            site.hive.level().note_trip(now);
            raise(&site, 2, LevelSource::Signals, now);
            raise(&site, 3, LevelSource::Signals, now);
            site.secrets_max() == 1_000
        })
        .await;
        let reason = site.hive.settings().taken_back().unwrap();
        assert!(reason.contains("raised to 3"), "{reason}");
        site
    });
}

#[test]
fn trouble_after_the_probation_takes_nothing_back() {
    let settings = [
        ("settings.probation", "100ms"),
        ("settings.look_every", "50ms"),
    ];
    with_site("", &settings, async |site| {
        let done = site.set("secrets.max", json!(7)).await.unwrap();
        let settings = site.hive.settings();
        until("it is confirmed", async || {
            settings.status().await.unwrap().confirmed == done.version
        })
        .await;
        raise(&site, 1, LevelSource::Signals, soon());
        let broken = site.set("secrets.max", json!(8)).await.unwrap();
        until("both are confirmed", async || {
            settings.status().await.unwrap().confirmed == broken.version
        })
        .await;
        assert_eq!(site.secrets_max(), 8);
        site
    });
}

#[test]
fn trouble_that_a_drill_hides_takes_the_change_back() {
    with_site("", &[], async |site| {
        site.set("secrets.max", json!(7)).await.unwrap();
        raise(&site, 3, LevelSource::Operator, soon());
        let demanded = InForce {
            level: Level::IMPORTANT_SHED,
            source: LevelSource::Signals,
            since: soon(),
            why: "memory is short".into(),
        };
        site.hive.level().demand(demanded);
        until("it is taken back", async || site.secrets_max() == 1_000).await;
        assert_eq!(site.hive.level().get().source, LevelSource::Operator);
        site
    });
}

#[test]
fn trouble_of_a_probation_that_is_known_after_it_takes_the_change_back() {
    let settings = [
        ("settings.probation", "100ms"),
        ("settings.look_every", "10s"),
    ];
    with_site("", &settings, async |site| {
        site.set("secrets.max", json!(7)).await.unwrap();
        let status = site.hive.settings().status().await.unwrap();
        let end = status.in_force.probation_until.unwrap();
        until("the probation is over", async || {
            Timestamp::now() > end.plus_millis(100)
        })
        .await;
        // The signals were over their trips within it, and had to be for a while.
        site.hive.level().note_trip(end);
        raise(&site, 1, LevelSource::Signals, soon());
        until("it is taken back", async || site.secrets_max() == 1_000).await;
        site
    });
}

#[test]
fn hive_that_was_not_ready_before_a_change_does_not_take_it_back() {
    with_site("", &[("settings.look_every", "50ms")], async |site| {
        let faults = &site.hive.settings().0.faults;
        faults.unready(true);
        site.set("secrets.max", json!(7)).await.unwrap();
        faults.looked(5).await;
        assert_eq!(site.secrets_max(), 7);
        faults.unready(false);
        faults.looked(2).await;
        faults.unready(true);
        until("it is taken back", async || site.secrets_max() == 1_000).await;
        let reason = site.hive.settings().taken_back().unwrap();
        assert!(reason.contains("not ready"), "{reason}");
        site
    });
}

#[test]
fn part_that_crashes_too_often_takes_the_change_back() {
    with_site("", &[], async |site| {
        site.set("secrets.max", json!(7)).await.unwrap();
        let tree = site.hive.tree().unwrap().clone();
        let before = Timestamp::now();
        until("the part stays down", async || {
            let _ = tree.fail_path("hive/services/statistics").await;
            let status = tree.status_of("hive/services/statistics").unwrap();
            status.state == deia_supervision::ChildState::Quarantined
        })
        .await;
        let down = Timestamp::now();
        // A reader that has missed the event finds the part.
        let found = crate::settings::trips::down(&tree.status());
        assert_eq!(found, ["hive/services/statistics"]);
        // The report of a hive that gives up has the same.
        let began = site.hive.operations().crashes_began().unwrap();
        assert!(before <= began && began < down, "{before} {began} {down}");
        until("it is taken back", async || site.secrets_max() == 1_000).await;
        let reason = site.hive.settings().taken_back().unwrap();
        assert!(reason.contains("hive/services/statistics"), "{reason}");
        site
    });
}

#[test]
fn unconfirmed_change_is_taken_back_when_its_time_is_over() {
    with_site("", &[], async |site| {
        let change = super::ChangeSetting {
            key: "secrets.max".to_owned(),
            value: json!(7),
            version: None,
            confirm_within: Some(std::time::Duration::from_millis(50)),
        };
        site.hive
            .settings()
            .change(&site.admin, change)
            .await
            .unwrap();
        until("it is taken back", async || site.secrets_max() == 1_000).await;
        until("it is recorded", async || {
            !site.events(Action::ConfigReverted).await.is_empty()
        })
        .await;
        site
    });
}

/// Notes what it is told, and refuses on demand.
#[derive(Default)]
struct Part {
    told: Mutex<Vec<(u32, u32)>>,
    refuses: AtomicBool,
}

impl Subsystem for Part {
    fn reconfigure<'a>(
        &'a self,
        from: &'a Config,
        to: &'a Config,
    ) -> BoxFuture<'a, Result<(), String>> {
        let told = (from.secrets.max, to.secrets.max);
        Box::pin(async move {
            if self.refuses.load(Ordering::Relaxed) {
                return Err("it has no room for that".to_owned());
            }
            self.told.lock().unwrap().push(told);
            Ok(())
        })
    }
}

#[test]
fn part_that_refuses_has_the_others_go_back() {
    with_site("", &[], async |site| {
        let (first, second) = (Arc::<Part>::default(), Arc::<Part>::default());
        second.refuses.store(true, Ordering::Relaxed);
        let api = site.hive.settings();
        api.apply_also_to(vec![first.clone(), second.clone()]);
        let refused = site.set("secrets.max", json!(7)).await.unwrap_err();
        assert!(matches!(&refused, HiveError::SettingsRefused(why) if why.contains("no room")));
        assert_eq!(site.secrets_max(), 1_000);
        assert_eq!(*first.told.lock().unwrap(), [(1_000, 7), (7, 1_000)]);
        assert_eq!(site.events(Action::ConfigReverted).await.len(), 1);
        second.refuses.store(false, Ordering::Relaxed);
        let done = site.set("secrets.max", json!(8)).await.unwrap();
        assert_eq!((site.secrets_max(), done.applied), (8, true));
        let site = site.start_again().await;
        assert_eq!(site.secrets_max(), 8);
        site
    });
}
