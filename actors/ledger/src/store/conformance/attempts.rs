//! Beginnings and ends of attempts.

use deia_model::Timestamp;

use super::*;
use crate::{
    Apply, CancelTask, ClaimTasks, Claimed, DirectDispatch, ReleaseLeases, Slot, testing::until,
};

pub(crate) async fn a_task_is_claimed_once(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claims = ["a", "b"].map(|bot| Claim {
        task: id,
        bot: bot_name(bot),
        lease: LeaseToken::new(),
        incarnation: 1,
        expires_after: None,
        stands_in_for: None,
    });
    let Claimed { tasks: claimed, .. } = ledger.apply(ClaimTasks(claims.to_vec())).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(
        (claimed[0].task.attempt, claimed[0].lease),
        (1, claims[0].lease)
    );
    let task = stored(&ledger, id).await;
    assert_eq!(
        (task.status, task.assigned_bot),
        (TaskStatus::Running, Some(bot_name("a")))
    );
    assert!(task.started_at.is_some());
    assert!(claim(&ledger, id, "c").await.is_none());
    assert!(claim(&ledger, TaskId::new(), "c").await.is_none());
    assert!(ready_ids(&ledger, "general", Priority::P2).await.is_empty());
    assert_eq!(
        ledger.bots_with_running_tasks().await.unwrap(),
        [bot_name("a")]
    );
}

pub(crate) async fn a_completion_is_recorded_exactly_once(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let done = report(&claimed, AttemptEnd::Succeeded);
    assert_eq!(
        finish(&ledger, done.clone()).await,
        ReportAck::Recorded(TaskStatus::Completed)
    );
    assert_eq!(finish(&ledger, done).await, ReportAck::Stale);
    let result = ledger.result(id).await.unwrap().unwrap();
    assert_eq!(
        (result.success, result.output.as_deref(), result.exit_code),
        (true, Some("done"), Some(0))
    );
    assert_eq!(
        (result.bot_id, result.attempt, result.execution_time_ms),
        (Some(bot_name("b")), 1, 7)
    );
    assert_eq!(
        actions(&ledger).await,
        [
            Action::TaskSubmitted,
            Action::TaskStarted,
            Action::TaskCompleted
        ]
    );
    let task = stored(&ledger, id).await;
    assert!(task.completed_at.is_some());
    assert_eq!(task.actual_duration_seconds, Some(0.007));
}

pub(crate) async fn a_stale_lease_changes_nothing(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let good = report(&claimed, AttemptEnd::Succeeded);
    let wrong = [
        AttemptReport {
            lease: LeaseToken::new(),
            ..good.clone()
        },
        AttemptReport {
            attempt: 2,
            ..good.clone()
        },
        AttemptReport {
            task: TaskId::new(),
            ..good.clone()
        },
    ];
    let before = stored(&ledger, id).await;
    for report in wrong {
        assert_eq!(finish(&ledger, report).await, ReportAck::Stale);
    }
    assert_eq!(stored(&ledger, id).await, before);
    assert_eq!(
        finish(&ledger, good).await,
        ReportAck::Recorded(TaskStatus::Completed)
    );
}

pub(crate) async fn a_failure_is_retried_until_no_attempts_are_left(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let first = claim(&ledger, id, "b").await.unwrap();
    let notices = notices_of(&ledger);
    assert_eq!(
        finish(&ledger, report(&first, AttemptEnd::Failed)).await,
        ReportAck::Recorded(TaskStatus::Pending)
    );
    assert!(matches!(
        notices.lock().unwrap()[..],
        [CommitNotice::Due(_)]
    ));
    assert_eq!(promote(&ledger).await, 1);
    let second = claim(&ledger, id, "b").await.unwrap();
    assert_eq!((second.task.attempt, second.task.failures), (2, 1));
    assert_eq!(second.task.last_error.as_deref(), Some("broke"));
    assert_eq!(
        finish(&ledger, report(&first, AttemptEnd::Succeeded)).await,
        ReportAck::Stale
    );
    assert_eq!(
        finish(&ledger, report(&second, AttemptEnd::Failed)).await,
        ReportAck::Recorded(TaskStatus::Failed)
    );
    let result = ledger.result(id).await.unwrap().unwrap();
    assert_eq!(
        (result.success, result.error.as_deref(), result.attempt),
        (false, Some("broke"), 2)
    );
    assert_eq!(ledger.failures_24h().await.unwrap(), 1);
    assert!(actions(&ledger).await.ends_with(&[
        Action::TaskRetrying,
        Action::TaskStarted,
        Action::TaskFailed
    ]));
}

pub(super) async fn give_back(ledger: &Ledger, bot: &str, end: AttemptEnd) -> u64 {
    let command = ReleaseLeases {
        bots: vec![bot_name(bot)],
        started_before: None,
        end,
        reason: "bot went down".into(),
    };
    ledger.apply(command).await.unwrap()
}

pub(crate) async fn tasks_of_a_dead_bot_are_requeued_and_poison_fails(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    claim(&ledger, id, "b").await.unwrap();
    assert_eq!(give_back(&ledger, "other", AttemptEnd::BotDied).await, 0);
    assert_eq!(give_back(&ledger, "b", AttemptEnd::BotDied).await, 1);
    let task = stored(&ledger, id).await;
    assert_eq!(
        (task.status, task.bot_deaths, task.failures),
        (TaskStatus::Queued, 1, 0)
    );
    let again = claim(&ledger, id, "b").await.unwrap();
    assert_eq!(again.task.attempt, 2);
    give_back(&ledger, "b", AttemptEnd::BotDied).await;
    assert_eq!(stored(&ledger, id).await.status, TaskStatus::Failed);
    assert_eq!(actions(&ledger).await.last(), Some(&Action::TaskDead));
    let result = ledger.result(id).await.unwrap().unwrap();
    assert_eq!(
        (result.success, result.error.as_deref()),
        (false, Some("bot went down"))
    );
}

pub(crate) async fn a_task_given_back_loses_no_attempt(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    for attempt in 1..=5 {
        assert_eq!(claim(&ledger, id, "b").await.unwrap().task.attempt, attempt);
        give_back(&ledger, "b", AttemptEnd::GivenBack).await;
    }
    let task = stored(&ledger, id).await;
    assert_eq!(
        (task.status, task.failures, task.bot_deaths),
        (TaskStatus::Queued, 0, 0)
    );
}

async fn cancel(ledger: &Ledger, id: TaskId) -> Task {
    let cancel = CancelTask {
        task: id,
        actor: "ada".into(),
        only_waiting: false,
    };
    ledger.apply(cancel).await.unwrap()
}

pub(crate) async fn waiting_tasks_are_cancelled_at_once(ledger: Ledger) {
    let notices = notices_of(&ledger);
    let id = submit_one(&ledger).await;
    let task = cancel(&ledger, id).await;
    assert_eq!(task.status, TaskStatus::Cancelled);
    assert_eq!(stored(&ledger, id).await.status, TaskStatus::Cancelled);
    assert!(!ledger.result(id).await.unwrap().unwrap().success);
    assert!(
        notices
            .lock()
            .unwrap()
            .contains(&CommitNotice::Finished(id))
    );
    assert!(ready_ids(&ledger, "general", Priority::P2).await.is_empty());
    let again = refused(
        &ledger,
        CancelTask {
            task: id,
            actor: "ada".into(),
            only_waiting: false,
        },
    )
    .await;
    assert_eq!(
        again,
        Rejection::TaskIsFinal {
            task: id,
            status: TaskStatus::Cancelled
        }
    );
    let unknown = TaskId::new();
    let rejection = refused(
        &ledger,
        CancelTask {
            task: unknown,
            actor: "ada".into(),
            only_waiting: false,
        },
    )
    .await;
    assert_eq!(rejection, Rejection::NoSuchTask(unknown));
}

pub(crate) async fn running_tasks_are_cancelled_through_their_bot(ledger: Ledger) {
    let notices = notices_of(&ledger);
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let task = cancel(&ledger, id).await;
    assert_eq!(task.status, TaskStatus::Running);
    assert!(task.cancel_requested_at.is_some());
    cancel(&ledger, id).await;
    let requested = [Action::TaskStarted, Action::TaskCancelRequested];
    assert!(actions(&ledger).await.ends_with(&requested), "told once");
    let cancelling = Cancelling {
        task: id,
        attempt: 1,
        bot: bot_name("b"),
        words: "cancelled by ada".into(),
    };
    let told = CommitNotice::CancelRequested(cancelling.clone());
    assert!(notices.lock().unwrap().contains(&told));
    assert_eq!(ledger.cancelling().await.unwrap(), [cancelling]);
    let outcome = finish(&ledger, report(&claimed, AttemptEnd::Cancelled)).await;
    assert_eq!(outcome, ReportAck::Recorded(TaskStatus::Cancelled));
    assert_eq!(actions(&ledger).await.last(), Some(&Action::TaskCancelled));
    let result = ledger.result(id).await.unwrap().unwrap();
    assert_eq!(
        (result.success, result.error.as_deref()),
        (false, Some("cancelled by ada"))
    );
}

pub(crate) async fn cancellation_survives_a_give_back(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    claim(&ledger, id, "b").await.unwrap();
    cancel(&ledger, id).await;
    give_back(&ledger, "b", AttemptEnd::BotDied).await;
    assert_eq!(stored(&ledger, id).await.status, TaskStatus::Cancelled);
}

pub(crate) async fn counters_of_the_queue_are_exact(ledger: Ledger) {
    let ids: Vec<_> = submit(&ledger, vec![task_of("general", ""); 6])
        .await
        .into_iter()
        .map(|task| task.id)
        .collect();
    let done = claim(&ledger, ids[0], "b").await.unwrap();
    finish(&ledger, report(&done, AttemptEnd::Succeeded)).await;
    let failing = claim(&ledger, ids[1], "b").await.unwrap();
    finish(&ledger, report(&failing, AttemptEnd::Failed)).await;
    claim(&ledger, ids[2], "b").await.unwrap();
    cancel(&ledger, ids[3]).await;
    let queue = ledger.queue().await.unwrap();
    let totals = queue.totals;
    assert_eq!((totals.pending, totals.queued, totals.running), (1, 2, 1));
    assert_eq!(
        (totals.completed, totals.failed, totals.cancelled),
        (1, 0, 1)
    );
    assert_eq!(queue.running_by_bot, [("b".to_owned(), 1)].into());
    let lane = &queue.lanes[..];
    assert!(
        matches!(lane, [lane] if (lane.pending, lane.queued, lane.running) == (1, 2, 1)),
        "{lane:?}"
    );
    assert!(queue.oldest_queued_ms.is_some());
    assert_eq!(ledger.counts().await.unwrap(), totals);
}

pub(crate) async fn the_wait_of_a_task_given_back_continues(ledger: Ledger) {
    let age = async || ledger.queue().await.unwrap().oldest_queued_ms;
    let id = submit_one(&ledger).await;
    until("it has waited for 100 ms", async || {
        age().await.unwrap() >= 100
    })
    .await;
    for _ in 0..2 {
        claim(&ledger, id, "b").await.unwrap();
        assert_eq!(age().await, None);
        give_back(&ledger, "b", AttemptEnd::GivenBack).await;
        assert!(age().await.unwrap() >= 100);
    }
    // An attempt that counts ends the wait.
    claim(&ledger, id, "b").await.unwrap();
    let before = Timestamp::now();
    give_back(&ledger, "b", AttemptEnd::BotDied).await;
    let waiting = age().await.unwrap();
    assert!(waiting <= Timestamp::now().millis_since(before));
}

/// A dispatch that offers no slots, and withholds tasks from one bot.
struct Withheld(BotName);

impl DirectDispatch for Withheld {
    fn take(&self, _: &Demand) -> Option<Slot> {
        None
    }

    fn withholds(&self, bot: &BotName) -> bool {
        self.0 == *bot
    }

    fn claimed(&self, _: Vec<ClaimedTask>) {}

    fn release(&self, _: Vec<Slot>) {}
}

pub(crate) async fn claim_for_a_bot_that_was_stopped_meanwhile_leaves_the_task(ledger: Ledger) {
    ledger.dispatch_to(Arc::new(Withheld(bot_name("b"))));
    let id = submit(&ledger, vec![task_of("a", "x")]).await[0].id;
    let claims = ["b", "c"].map(|bot| Claim {
        task: id,
        bot: bot_name(bot),
        lease: LeaseToken::new(),
        incarnation: 1,
        expires_after: None,
        stands_in_for: None,
    });
    let [withheld, other] = claims.map(|claim| ClaimTasks(vec![claim]));
    let left = Claimed {
        tasks: vec![],
        deferred: vec![id],
    };
    assert_eq!(ledger.apply(withheld).await.unwrap(), left);
    let task = stored(&ledger, id).await;
    assert_eq!((task.status, task.attempt), (TaskStatus::Queued, 0));
    ledger.apply(other).await.unwrap();
    assert_eq!(stored(&ledger, id).await.assigned_bot, Some(bot_name("c")));
}
