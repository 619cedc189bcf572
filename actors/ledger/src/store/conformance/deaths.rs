//! The cause to which the end of an attempt is attributed: the task, its bot, or the
//! hive.

use super::{attempts::give_back, *};
use crate::{Apply, ReleaseLeases, RetryTask};

pub(crate) async fn each_death_is_charged_to_its_own_count(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    for (end, expected) in [
        (AttemptEnd::Suspected, (0, 1, 0)),
        (AttemptEnd::Suspected, (0, 2, 0)),
        (AttemptEnd::HiveDied, (0, 2, 1)),
        (AttemptEnd::BotDied, (1, 2, 1)),
    ] {
        claim(&ledger, id, "b").await.unwrap();
        give_back(&ledger, "b", end).await;
        let task = stored(&ledger, id).await;
        assert_eq!(task.status, TaskStatus::Queued, "{end:?}");
        let counts = (task.bot_deaths, task.suspicions, task.hive_deaths);
        assert_eq!(counts, expected, "{end:?}");
        let evidence = task.failed_attempts.last().unwrap();
        assert_eq!(Some(evidence.outcome), AttemptOutcomeKind::of(end));
    }
    let claimed = claim(&ledger, id, "b").await.unwrap();
    assert!(claimed.task.toll().runs_alone(), "its executor is told");
}

pub(crate) async fn a_task_that_takes_down_the_hive_fails(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    for _ in 0..3 {
        claim(&ledger, id, "b").await.unwrap();
        give_back(&ledger, "b", AttemptEnd::HiveDied).await;
    }
    let task = stored(&ledger, id).await;
    let end = (task.status, task.end_reason);
    assert_eq!(end, (TaskStatus::Failed, Some(EndReason::Poison)));
    let retry = RetryTask {
        task: id,
        actor: "ada".into(),
        only_failed: true,
        role: deia_model::Role::Operator,
    };
    ledger.apply(retry).await.unwrap();
    assert_eq!(stored(&ledger, id).await.toll(), Toll::default());
}

pub(crate) async fn a_fault_of_the_bot_only_delays_the_task(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let outcome = finish(&ledger, report(&claimed, AttemptEnd::BotFault)).await;
    assert_eq!(outcome, ReportAck::Recorded(TaskStatus::Pending));
    let task = stored(&ledger, id).await;
    assert_eq!(task.toll(), Toll::default());
    assert!(task.run_at.as_millis() > claimed.task.started_at.unwrap().as_millis());
    let bots = ledger.bots().await.unwrap();
    let failed: u64 = bots.iter().map(|bot| bot.tasks_failed).sum();
    assert_eq!(failed, 0);
}

pub(crate) async fn a_cancelled_end_without_a_cancellation_is_given_back(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let outcome = finish(&ledger, report(&claimed, AttemptEnd::Cancelled)).await;
    assert_eq!(outcome, ReportAck::Recorded(TaskStatus::Queued));
    let evidence = &stored(&ledger, id).await.failed_attempts[0];
    assert_eq!(evidence.outcome, AttemptOutcomeKind::GivenBack);
}

pub(crate) async fn a_release_leaves_attempts_that_started_later(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let started = claimed.task.started_at.unwrap();
    let give_back_before = |before| ReleaseLeases {
        bots: vec![bot_name("b")],
        started_before: Some(before),
        end: AttemptEnd::GivenBack,
        reason: "bot went down".into(),
    };
    let given = ledger.apply(give_back_before(started)).await.unwrap();
    assert_eq!(given, 0);
    let later = started.plus_millis(1);
    let given = ledger.apply(give_back_before(later)).await.unwrap();
    assert_eq!(given, 1);
}

pub(crate) async fn a_task_that_is_ready_again_names_the_bot_of_its_last_attempt(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let last_bot = async || {
        let query = ReadyQuery {
            demand: Demand::of_type("general".parse().unwrap()),
            priority: Priority::P2,
            after: i64::MIN,
            limit: 1,
        };
        ledger.ready(query).await.unwrap().remove(0).last_bot
    };
    assert_eq!(last_bot().await, None);
    for (bot, how) in [
        ("a", AttemptEnd::Failed),
        ("b", AttemptEnd::Refused),
        ("c", AttemptEnd::BotDied),
        ("d", AttemptEnd::BotFault),
    ] {
        let claimed = claim(&ledger, id, bot).await.unwrap();
        let notices = notices_of(&ledger);
        finish(&ledger, report(&claimed, how)).await;
        while stored(&ledger, id).await.status == TaskStatus::Pending {
            promote(&ledger).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(last_bot().await, Some(bot_name(bot)), "{how:?}");
        let notices = notices.lock().unwrap();
        let told = notices.iter().find_map(|notice| match notice {
            CommitNotice::Ready(ready) => Some(ready.last_bot.clone()),
            _ => None,
        });
        assert_eq!(told, Some(Some(bot_name(bot))), "{how:?}");
    }
}
