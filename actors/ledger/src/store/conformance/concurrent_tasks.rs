//! Tasks, when two handles act on them at the same time.

use std::collections::BTreeSet;

use deia_model::{Dependency, Role};

use super::{
    attempts::give_back,
    queue::{done, pause, resume},
    *,
};
use crate::{Apply, CancelTask, ClaimTasks, Claimed, Idempotency, RetryTask, Submit};

fn submission(submitter: &str, role: Role, tasks: Vec<NewTask>) -> Submit {
    Submit {
        tasks,
        submitter: submitter.into(),
        role,
        idempotency: None,
    }
}

fn keyed(key: usize, fingerprint: u8) -> Submit {
    Submit {
        tasks: vec![task_of("general", "x")],
        submitter: "ada".into(),
        role: Role::Operator,
        idempotency: Some(Idempotency {
            key: key.to_string(),
            fingerprint: [fingerprint; 32],
        }),
    }
}

fn cancel(task: TaskId, only_waiting: bool) -> CancelTask {
    CancelTask {
        task,
        actor: "ada".into(),
        only_waiting,
    }
}

/// Returns the sequence numbers of the events of that action about that target.
async fn places(ledger: &Ledger, action: Action, target: Option<TaskId>) -> Vec<u64> {
    let target = target.map(|id| id.to_string());
    let events = ledger.events(0, 10_000).await.unwrap().into_iter();
    let wanted = events.filter(|event| {
        event.action == action
            && target
                .as_ref()
                .is_none_or(|target| *target == event.target.id)
    });
    wanted.map(|event| event.seq).collect()
}

pub(crate) async fn two_claimers_never_get_the_same_task(Handles { a, b }: Handles) {
    const TASKS: usize = 200;
    const AT_ONCE: usize = 10;
    let tasks = submit(&a, vec![task_of("general", "x"); TASKS]).await;
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    // The two lists alternate.
    let take = async |ledger: &Ledger, bot: &str, ahead: usize| {
        let mut taken = Vec::new();
        for part in 0..TASKS / AT_ONCE {
            let from = (part ^ ahead) * AT_ONCE;
            let claim = |id: &TaskId| Claim {
                task: *id,
                bot: bot_name(bot),
                lease: LeaseToken::new(),
                incarnation: 1,
                expires_after: None,
                stands_in_for: None,
            };
            let claims = ids[from..from + AT_ONCE].iter().map(claim).collect();
            let Claimed { tasks, deferred } = ledger.apply(ClaimTasks(claims)).await.unwrap();
            assert_eq!(deferred, [], "nothing is paused");
            taken.extend(tasks.iter().map(|claimed| claimed.task.id));
        }
        taken
    };
    let (by_a, by_b) = tokio::join!(take(&a, "a", 0), take(&b, "b", 1));
    let all: BTreeSet<_> = by_a.iter().chain(&by_b).collect();
    assert_eq!((by_a.len() + by_b.len(), all.len()), (TASKS, TASKS));
    for (taken, bot) in [(by_a, "a"), (by_b, "b")] {
        for id in taken {
            let task = stored(&a, id).await;
            assert_eq!((task.attempt, task.assigned_bot), (1, Some(bot_name(bot))));
        }
    }
    let started = places(&b, Action::TaskStarted, None).await;
    assert_eq!(started.len(), TASKS);
}

pub(crate) async fn submission_repeated_at_once_is_accepted_once(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let (one, other) = race(round, a.apply(keyed(round, 1)), b.apply(keyed(round, 1))).await;
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.tasks[0].id, other.tasks[0].id);
        assert!(
            one.replayed != other.replayed,
            "exactly one was the repetition"
        );
    }
    assert_eq!(counted(&a, TaskStatus::Queued).await, ROUNDS as u64);
}

pub(crate) async fn idempotency_key_used_at_once_for_two_requests_is_refused_to_one(
    Handles { a, b }: Handles,
) {
    for round in 0..ROUNDS {
        let both = race(round, a.apply(keyed(round, 1)), b.apply(keyed(round, 2))).await;
        assert_eq!(one_refused(both), Rejection::IdempotencyMismatch);
    }
    assert_eq!(counted(&b, TaskStatus::Queued).await, ROUNDS as u64);
}

pub(crate) async fn dedup_key_used_at_once_makes_one_task(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let mut task = task_of("general", "x");
        task.dedup_key = Some(round.to_string());
        let (one, other) = race(
            round,
            submit(&a, vec![task.clone()]),
            submit(&b, vec![task.clone()]),
        )
        .await;
        assert_eq!(one[0].id, other[0].id);
        assert!(one[0].deduplicated != other[0].deduplicated);
    }
    assert_eq!(counted(&a, TaskStatus::Queued).await, ROUNDS as u64);
}

pub(crate) async fn last_places_of_a_submitter_go_to_one_of_two(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let submitter = format!("external-{round}");
        // Four may wait.
        let three = || {
            let tasks = vec![task_of("general", "x"); 3];
            submission(&submitter, Role::External, tasks)
        };
        let both = race(round, a.apply(three()), b.apply(three())).await;
        let rejection = one_refused(both);
        assert!(
            matches!(rejection, Rejection::QueueShareUsedUp { waiting: 3, .. }),
            "{rejection:?}"
        );
    }
}

pub(crate) async fn lease_reported_by_both_ends_its_attempt_once(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let id = submit_one(&a).await;
        let claimed = claim(&a, id, "b").await.unwrap();
        let (good, bad) = race(
            round,
            finish(&a, report(&claimed, AttemptEnd::Succeeded)),
            finish(&b, report(&claimed, AttemptEnd::Failed)),
        )
        .await;
        let task = stored(&b, id).await;
        match (good, bad) {
            (ReportAck::Recorded(status), ReportAck::Stale) => {
                assert_eq!((status, task.failures), (TaskStatus::Completed, 0));
            }
            (ReportAck::Stale, ReportAck::Recorded(status)) => {
                assert!(!status.is_final(), "an attempt is left");
                assert_eq!(task.failures, 1);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn stale_lease_changes_nothing_while_the_new_one_is_reported(
    Handles { a, b }: Handles,
) {
    for round in 0..ROUNDS {
        let id = submit_one(&a).await;
        let old = claim(&a, id, "old").await.unwrap();
        give_back(&b, "old", AttemptEnd::GivenBack).await;
        let new = claim(&b, id, "new").await.unwrap();
        let (stale, recorded) = race(
            round,
            finish(&a, report(&old, AttemptEnd::Failed)),
            finish(&b, report(&new, AttemptEnd::Succeeded)),
        )
        .await;
        assert_eq!(stale, ReportAck::Stale);
        assert_eq!(recorded, ReportAck::Recorded(TaskStatus::Completed));
        let task = stored(&a, id).await;
        assert_eq!(
            (task.assigned_bot, task.failures),
            (Some(bot_name("new")), 0)
        );
    }
}

pub(crate) async fn attempt_given_back_while_it_is_reported_ends_once(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let id = submit_one(&a).await;
        let claimed = claim(&a, id, "b").await.unwrap();
        let (recorded, given_back) = race(
            round,
            finish(&a, report(&claimed, AttemptEnd::Succeeded)),
            give_back(&b, "b", AttemptEnd::BotDied),
        )
        .await;
        let task = stored(&b, id).await;
        match (recorded, given_back) {
            (ReportAck::Recorded(TaskStatus::Completed), 0) => {
                assert_eq!((task.status, task.bot_deaths), (TaskStatus::Completed, 0));
            }
            (ReportAck::Stale, 1) => {
                assert_eq!((task.status, task.bot_deaths), (TaskStatus::Queued, 1));
                assert_eq!(a.result(id).await.unwrap(), None);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn claim_during_a_pause_gets_the_task_before_it_or_not_at_all(
    Handles { a, b }: Handles,
) {
    for round in 0..ROUNDS {
        let (id, second) = (submit_one(&a).await, submit_one(&a).await);
        let (paused, claimed) = race(round, done(&a, pause(None)), claim(&b, id, "b")).await;
        assert!(paused);
        let started = places(&b, Action::TaskStarted, Some(id)).await;
        let pauses = places(&b, Action::QueuePaused, None).await;
        assert_eq!(started.len(), usize::from(claimed.is_some()));
        assert!(started.iter().all(|seq| seq < pauses.last().unwrap()));
        for ledger in [&a, &b] {
            assert!(claim(ledger, second, "b").await.is_none(), "it is paused");
        }
        assert!(done(&b, resume(None)).await);
    }
}

pub(crate) async fn task_cancelled_while_it_is_claimed_ends_cancelled_either_way(
    Handles { a, b }: Handles,
) {
    for round in 0..ROUNDS {
        let id = submit_one(&a).await;
        let (claimed, cancelled) =
            race(round, claim(&a, id, "b"), b.apply(cancel(id, false))).await;
        cancelled.unwrap();
        let task = stored(&b, id).await;
        match claimed {
            None => assert_eq!((task.status, task.attempt), (TaskStatus::Cancelled, 0)),
            Some(claimed) => {
                assert_eq!(task.status, TaskStatus::Running);
                assert!(task.cancel_requested_at.is_some());
                let asked_for = a.cancelling().await.unwrap();
                assert!(asked_for.iter().any(|cancelling| cancelling.task == id));
                let ended = finish(&a, report(&claimed, AttemptEnd::Cancelled)).await;
                assert_eq!(ended, ReportAck::Recorded(TaskStatus::Cancelled));
            }
        }
    }
    assert_eq!(counted(&a, TaskStatus::Cancelled).await, ROUNDS as u64);
}

pub(crate) async fn waiting_task_is_cancelled_or_claimed_but_not_both(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let id = submit_one(&a).await;
        let (claimed, cancelled) = race(round, claim(&a, id, "b"), b.apply(cancel(id, true))).await;
        let status = status(&b, id).await;
        match (claimed, cancelled) {
            (None, Ok(_)) => assert_eq!(status, TaskStatus::Cancelled),
            (Some(_), Err(StoreError::Refused(rejection))) => {
                assert_eq!(rejection, Rejection::TaskIsRunning(id));
                assert_eq!(status, TaskStatus::Running);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn failed_task_is_put_back_once(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let id = submit_one(&a).await;
        end(&a, id, AttemptEnd::Failed).await;
        let retry = || RetryTask {
            task: id,
            actor: "ada".into(),
            only_failed: true,
            role: Role::Operator,
        };
        one_refused(race(round, a.apply(retry()), b.apply(retry())).await);
        let requeued = places(&a, Action::TaskRequeued, Some(id)).await;
        assert_eq!(requeued.len(), 1);
        assert_eq!(status(&b, id).await, TaskStatus::Queued);
    }
}

pub(crate) async fn dependent_submitted_while_its_task_ends_is_settled(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let first = submit_one(&a).await;
        let claimed = claim(&a, first, "b").await.unwrap();
        let mut dependent = task_of("general", "x");
        dependent.depends_on = vec![Dependency::Task(first)];
        let (_, dependents) = race(
            round,
            finish(&a, report(&claimed, AttemptEnd::Succeeded)),
            submit(&b, vec![dependent]),
        )
        .await;
        promote(&a).await;
        assert_eq!(status(&b, dependents[0].id).await, TaskStatus::Queued);
    }
}
