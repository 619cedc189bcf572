use std::sync::LazyLock;

use deia_model::{BotFault, DisableReason, Disabled, Position, QueueStatus, WebhookId};

use super::*;

const LIMITS: Limits = Limits {
    disk_percent: 95,
    follower_lag: Duration::from_secs(60),
    oldest_queued: Duration::from_secs(60),
    archive_lag: Duration::from_secs(60),
    point_every: Duration::from_secs(600),
    drill_every: Duration::from_secs(86_400),
    webhook_failing: Duration::from_secs(60),
};

fn bot(status: BotStatus, faults: u32) -> Bot {
    let all = deia_model::entities().unwrap();
    let example = all.iter().find(|entity| entity.name == "Bot").unwrap();
    let mut bot: Bot = serde_json::from_str(&example.example).unwrap();
    bot.id = "b".parse().unwrap();
    bot.status = status;
    bot.last_exit = None;
    bot.fault = (faults > 0).then(|| BotFault {
        reason: "no such file".into(),
        since: Timestamp::from_millis(0),
        in_a_row: faults,
        next_try_at: None,
    });
    bot
}

fn follower(lag_ms: u64) -> FollowerState {
    FollowerState {
        name: "statistics".into(),
        at: Position {
            timeline: 1,
            seq: 7,
        },
        moved_at: Timestamp::from_millis(0),
        binding: false,
        lag_events: 12,
        lag_ms,
    }
}

fn found(observed: &Observed<'_>) -> Vec<(&'static str, String, String)> {
    conditions(observed, LIMITS)
        .into_iter()
        .map(|found| (found.name.as_str(), found.target, found.what))
        .collect()
}

fn at_level(level: Level, source: LevelSource) -> InForce {
    InForce {
        level,
        source,
        since: Timestamp::from_millis(0),
        why: "memory: 90 % is in use".into(),
    }
}

fn nothing() -> Observed<'static> {
    static NORMAL: LazyLock<InForce> =
        LazyLock::new(|| at_level(Level::NORMAL, LevelSource::Signals));
    Observed {
        mode: &NORMAL,
        bots: &[],
        troubled: &[],
        followers: &[],
        webhooks: &[],
        audit: TrailHealth::default(),
        archive: ArchiveHealth::default(),
        settings_taken_back: None,
        now: Timestamp::from_millis(100_000),
        disk_percent: 10.0,
        lanes: &[],
        hive: "hive-1",
    }
}

#[test]
fn hive_that_is_well_has_no_condition() {
    let bots = [bot(BotStatus::Healthy, 0), bot(BotStatus::Stopped, 3)];
    let followers = [follower(60_000)];
    let observed = Observed {
        bots: &bots,
        followers: &followers,
        disk_percent: 95.0,
        ..nothing()
    };
    assert_eq!(found(&observed), []);
}

#[test]
fn endpoint_needs_a_person_when_it_fails_for_long_or_was_disabled_by_the_hive() {
    let all = deia_model::entities().unwrap();
    let example = all.iter().find(|entity| entity.name == "Webhook").unwrap();
    let example: Webhook = serde_json::from_str(&example.example).unwrap();
    let webhook = |failing_since: Option<i64>, reason: Option<DisableReason>| Webhook {
        id: WebhookId::from_bytes([0; 16]),
        failing_since: failing_since.map(Timestamp::from_millis),
        disabled: reason.map(|reason| Disabled {
            at: Timestamp::from_millis(0),
            reason,
            detail: "why".into(),
            by: "deia".into(),
        }),
        ..example.clone()
    };
    for (webhook, expected) in [
        (webhook(None, None), None),
        (webhook(Some(50_000), None), None),
        (webhook(Some(40_000), None), Some("webhook_failing")),
        (
            webhook(Some(0), Some(DisableReason::Failing)),
            Some("webhook_disabled"),
        ),
        (
            webhook(None, Some(DisableReason::Gone)),
            Some("webhook_disabled"),
        ),
        (webhook(Some(0), Some(DisableReason::Requested)), None),
        (webhook(None, Some(DisableReason::OwnerLostRights)), None),
    ] {
        let observed = Observed {
            webhooks: std::slice::from_ref(&webhook),
            ..nothing()
        };
        let names: Vec<_> = found(&observed).into_iter().map(|it| it.0).collect();
        assert_eq!(names, Vec::from_iter(expected), "{webhook:?}");
    }
}

#[test]
fn level_of_the_signals_needs_a_person_and_one_of_an_operator_does_not() {
    let shed = at_level(Level::IMPORTANT_SHED, LevelSource::Signals);
    let drill = at_level(Level::READ_ONLY, LevelSource::Operator);
    let followers = [follower(600_000)];
    let with = |mode| Observed {
        mode,
        followers: &followers,
        ..nothing()
    };
    assert_eq!(found(&with(&drill)), []);
    assert_eq!(
        found(&with(&shed)),
        [(
            "features_shed",
            "hive-1".to_owned(),
            "the hive is at level 2 (important and optional features are shed): \
             memory: 90 % is in use"
                .to_owned()
        )]
    );
}

#[test]
fn tasks_that_wait_for_long_need_a_person_unless_their_type_is_paused() {
    let all = deia_model::entities().unwrap();
    let example = all.iter().find(|it| it.name == "QueueStatus").unwrap();
    let example: QueueStatus = serde_json::from_str(&example.example).unwrap();
    let example = &example.lanes[0];
    let lane = |task_type: &str, seconds: u64, paused| QueueLane {
        task_type: task_type.parse().unwrap(),
        oldest_queued_ms: Some(seconds * 1_000),
        paused,
        ..example.clone()
    };
    let of = |lanes: &[QueueLane]| found(&Observed { lanes, ..nothing() });
    let well = [lane("a", 60, false), lane("b", 900, true)];
    assert_eq!(of(&well), []);
    let waiting = [lane("a", 61, false), lane("b", 62, false), well[1].clone()];
    let what = "a task of type b has waited for a bot for 62 s";
    assert_eq!(
        of(&waiting),
        [("tasks_waiting", "hive-1".to_owned(), what.to_owned())]
    );
}

#[test]
fn each_condition_names_its_target() {
    let bots = [bot(BotStatus::Failing, 0), bot(BotStatus::Degraded, 1)];
    let troubled = [("b".parse().unwrap(), Trouble::Stalled { waiting: 7 })];
    let followers = [follower(61_500)];
    let observed = Observed {
        bots: &bots,
        troubled: &troubled,
        followers: &followers,
        disk_percent: 99.0,
        ..nothing()
    };
    let of =
        |name: &'static str, target: &str, what: &str| (name, target.to_owned(), what.to_owned());
    assert_eq!(
        found(&observed),
        [
            of("disk_filling", "hive-1", "the disk is 99 % full"),
            of(
                "follower_lagging",
                "hive/services/statistics",
                "the follower statistics is 12 events behind, the oldest of 61 s ago"
            ),
            of(
                "bot_failing",
                "b",
                "bot b is failing: quarantined after too many crashes, last exit: not known"
            ),
            of(
                "bot_failing",
                "b",
                "bot b cannot carry out its tasks: no such file"
            ),
            of(
                "bot_stalled",
                "b",
                "bot b has 7 messages waiting and handles none"
            ),
        ]
    );
}

#[test]
fn audit_trail_that_fails_lags_or_has_gaps() {
    let health = |failing: Option<&str>, lag, missed| TrailHealth {
        failing: failing.map(str::to_owned),
        lag: Duration::from_secs(lag),
        missed,
    };
    for (audit, expected) in [
        (health(None, 60, 0), vec![]),
        (health(None, 61, 0), vec!["audit_lagging"]),
        (health(Some("no space"), 61, 0), vec!["audit_failing"]),
        (
            health(Some("no space"), 0, 3),
            vec!["audit_failing", "audit_gap"],
        ),
    ] {
        let observed = Observed {
            audit: audit.clone(),
            ..nothing()
        };
        let names: Vec<_> = found(&observed).into_iter().map(|it| it.0).collect();
        assert_eq!(names, expected, "{audit:?}");
    }
}

#[test]
fn archive_that_fails_or_is_behind_needs_a_person() {
    for (failing, exposure_seconds, expected) in [
        (None, None, None),
        (None, Some(0.0), None),
        (None, Some(60.0), None),
        (None, Some(61.0), Some("archive_lagging")),
        (Some("full"), Some(0.5), Some("archive_failing")),
    ] {
        let observed = Observed {
            archive: ArchiveHealth {
                failing: failing.map(str::to_owned),
                exposure_seconds,
                ..ArchiveHealth::default()
            },
            ..nothing()
        };
        let names: Vec<_> = found(&observed).into_iter().map(|it| it.0).collect();
        assert_eq!(
            names,
            Vec::from_iter(expected),
            "{failing:?} {exposure_seconds:?}"
        );
    }
}

#[test]
fn archive_with_commits_that_the_disk_has_lost_names_their_point() {
    let observed = Observed {
        archive: ArchiveHealth {
            ahead: Some("point_x".to_owned()),
            ..ArchiveHealth::default()
        },
        ..nothing()
    };
    let all = conditions(&observed, LIMITS);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].name, AlertName::ArchiveAhead);
    assert!(all[0].what_to_do.contains("point_x"));
}

#[test]
fn archive_that_is_not_proven_needs_a_person() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let healthy = ArchiveHealth::default;
    for (archive, expected) in [
        (healthy(), vec![]),
        (
            ArchiveHealth {
                unproven_for: hours(30),
                ..healthy()
            },
            vec![],
        ),
        (
            ArchiveHealth {
                unproven_for: hours(31),
                ..healthy()
            },
            vec!["drill_overdue"],
        ),
        (
            ArchiveHealth {
                unproven_for: hours(31),
                drill_failed: Some("damaged".to_owned()),
                ..healthy()
            },
            vec!["drill_failed"],
        ),
        (
            ArchiveHealth {
                damaged: 2,
                first_damaged: Some("a".to_owned()),
                ..healthy()
            },
            vec!["archive_damaged"],
        ),
        (
            ArchiveHealth {
                newest_point_age: seconds(1_200),
                ..healthy()
            },
            vec![],
        ),
        (
            ArchiveHealth {
                newest_point_age: seconds(1_201),
                ..healthy()
            },
            vec!["restore_point_overdue"],
        ),
        (
            ArchiveHealth {
                newest_point_age: seconds(1_201),
                failing: Some("full".to_owned()),
                ..healthy()
            },
            vec!["archive_failing"],
        ),
    ] {
        let observed = Observed {
            archive: archive.clone(),
            ..nothing()
        };
        let names: Vec<_> = found(&observed).into_iter().map(|it| it.0).collect();
        assert_eq!(names, expected, "{archive:?}");
    }
}
