use deia_model::{ModeChange, Timestamp};

use super::*;
use crate::{mode::LevelSource, testing::with_hive};

fn in_force(level: Level) -> InForce {
    InForce {
        level,
        source: LevelSource::Signals,
        since: Timestamp::now(),
        why: "a test demands it".into(),
    }
}

fn level(number: u8) -> Level {
    Level::new(number).unwrap()
}

#[test]
fn tasks_are_accepted_by_priority_and_level() {
    use Priority::{P0, P1, P2, P3};
    for (number, accepted) in [
        (0, &[P0, P1, P2, P3][..]),
        (1, &[P0, P1, P2, P3]),
        (2, &[P0, P1, P2, P3]),
        (3, &[P0, P1]),
        (4, &[]),
    ] {
        let of_level = Priority::ALL.iter().copied();
        let of_level: Vec<_> = of_level.filter(|it| accepts(level(number), *it)).collect();
        assert_eq!(of_level, accepted, "level {number}");
    }
}

#[test]
fn each_refused_task_is_named_by_a_pointer() {
    use Priority::{P0, P2, P3};
    for (priorities, pointers) in [
        (&[P2][..], &["/priority"][..]),
        (&[P0], &[]),
        (
            &[P0, P2, P0, P3],
            &["/tasks/1/priority", "/tasks/3/priority"],
        ),
    ] {
        let found = refused(level(3), priorities.iter().copied());
        let found: Vec<_> = found.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(found, pointers);
    }
    let [one] = refused(level(3), [P3].into_iter()).try_into().unwrap();
    assert_eq!(one.detail, "is P3; only P0 and P1 are accepted now");
}

#[test]
fn errors_name_the_level_and_its_reason() {
    let shedding = SheddingApi::new(CurrentLevel::default());
    assert!(shedding.needs(Feature::LiveStream).is_ok());
    assert!(shedding.admits_changes().is_ok());
    shedding.0.set(in_force(level(4)));
    for (refused, expected) in [
        (
            shedding.needs(Feature::WebhookDelivery),
            "the feature webhook_delivery is suspended; the level is 4: a test demands it",
        ),
        (
            shedding.admits_changes(),
            "the hive is read-only; the level is 4: a test demands it",
        ),
    ] {
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
    assert!(shedding.needs(Feature::MessageDelivery).is_ok());
}

#[tokio::test]
async fn whoever_waits_for_a_feature_to_be_shed_is_told() {
    let shedding = SheddingApi::new(CurrentLevel::default());
    let waits = shedding.until_shed(Feature::LiveStream);
    let rises = async {
        tokio::task::yield_now().await;
        shedding.0.set(in_force(level(1)));
    };
    tokio::join!(waits, rises);
}

#[test]
fn running_work_goes_on_in_read_only_mode_and_submissions_resume_after_it() {
    with_hive(async |hive| {
        hive.simulated("b").await;
        let before = hive.submit_one().await;
        let set = async |number| {
            let change = ModeChange {
                level: Some(level(number)),
                auto: false,
                reason: Some("a test demands it".into()),
                duration_seconds: None,
            };
            let status = hive.degradation().change(&hive.admin, change).await;
            assert_eq!(status.unwrap().level, level(number));
        };
        set(4).await;
        let submit = async || {
            let task = NewTask::new("general".parse().unwrap(), "x");
            hive.tasks().submit(&hive.admin, vec![task], None).await
        };
        let refused = submit().await.map(drop).unwrap_err();
        assert!(matches!(refused, HiveError::ReadOnly(_)), "{refused}");
        assert!(hive.result(before).await.success);
        set(3).await;
        let refused = submit().await.map(drop).unwrap_err();
        assert!(
            matches!(refused, HiveError::SubmissionsShed { .. }),
            "{refused}"
        );
        set(2).await;
        assert!(submit().await.is_ok());
    });
}
