//! When tasks may start: dependencies, expiry, deduplication, retries by hand.

use super::*;
use crate::model::{Dependency, DependencyFailure, EndReason, Timestamp};

pub(super) async fn run<F, Fut>(make: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Ledger>,
{
    cases!(make;
        a_task_waits_for_those_it_depends_on,
        what_a_failed_dependency_means_is_chosen,
        a_failure_goes_down_the_chain,
        a_dependency_that_has_ended_already_counts,
        what_cannot_be_depended_on_is_refused,
        a_batch_may_depend_on_itself,
        an_equal_unfinished_task_is_not_accepted_twice,
        a_task_that_waits_too_long_expires,
        a_finished_task_can_be_put_back,
        a_type_has_its_own_defaults,
        no_more_types_than_allowed,
    );
}

fn depending(on: &[TaskId], policy: DependencyFailure) -> NewTask {
    let mut task = task_of("general", "child");
    task.depends_on = on.iter().copied().map(Dependency::Task).collect();
    task.on_dependency_failure = policy;
    task
}

async fn end(ledger: &Ledger, id: TaskId, end: AttemptEnd) {
    loop {
        let claimed = claim(ledger, id, "b").await.unwrap();
        finish(ledger, report(&claimed, end)).await;
        promote(ledger).await;
        if stored(ledger, id).await.status.is_final() {
            return;
        }
    }
}

async fn status(ledger: &Ledger, id: TaskId) -> TaskStatus {
    stored(ledger, id).await.status
}

async fn a_task_waits_for_those_it_depends_on(ledger: Ledger) {
    let (one, two) = (submit_one(&ledger).await, submit_one(&ledger).await);
    let hints = hints_of(&ledger);
    let child = depending(&[one, two], DependencyFailure::Fail);
    let child = submit(&ledger, vec![child]).await[0].clone();
    assert_eq!(child.status, TaskStatus::Pending);
    assert!(
        hints
            .lock()
            .unwrap()
            .iter()
            .all(|h| !matches!(h, Hint::Ready(_) | Hint::Due(_)))
    );
    let standing = ledger.standing(child.id).await.unwrap();
    assert_eq!(standing.waits_for.len(), 2);
    assert_eq!(ledger.next_due().await.unwrap(), None, "it is not due");
    end(&ledger, one, AttemptEnd::Succeeded).await;
    let waiting = stored(&ledger, child.id).await;
    assert_eq!(
        (waiting.status, waiting.waiting_for),
        (TaskStatus::Pending, 1)
    );
    end(&ledger, two, AttemptEnd::Succeeded).await;
    let ready = stored(&ledger, child.id).await;
    assert_eq!((ready.status, ready.waiting_for), (TaskStatus::Queued, 0));
    assert_eq!(ready.depends_on, [one, two]);
    assert!(ready.run_at >= stored(&ledger, two).await.completed_at.unwrap());
    assert_eq!(ledger.next_due().await.unwrap(), None, "all is settled");
    assert!(claim(&ledger, child.id, "b").await.is_some());
}

async fn what_a_failed_dependency_means_is_chosen(ledger: Ledger) {
    for (policy, parent_end, expected, reason) in [
        (
            DependencyFailure::Fail,
            AttemptEnd::Failed,
            TaskStatus::Failed,
            Some(EndReason::Dependency),
        ),
        (
            DependencyFailure::Cancel,
            AttemptEnd::Failed,
            TaskStatus::Cancelled,
            Some(EndReason::Dependency),
        ),
        (
            DependencyFailure::Start,
            AttemptEnd::Failed,
            TaskStatus::Queued,
            None,
        ),
        (
            DependencyFailure::Fail,
            AttemptEnd::Cancelled,
            TaskStatus::Failed,
            Some(EndReason::Dependency),
        ),
    ] {
        let parent = submit_one(&ledger).await;
        let child = submit(&ledger, vec![depending(&[parent], policy)]).await[0].id;
        end(&ledger, parent, parent_end).await;
        let task = stored(&ledger, child).await;
        assert_eq!(
            (task.status, task.end_reason),
            (expected, reason),
            "{policy:?}"
        );
        let result = ledger.result(child).await.unwrap();
        assert_eq!(result.is_some(), expected.is_final());
        if let Some(result) = result {
            assert!(result.error.unwrap().contains(&parent.to_string()));
        }
    }
}

async fn a_failure_goes_down_the_chain(ledger: Ledger) {
    let first = submit_one(&ledger).await;
    let mut last = first;
    let mut chain = Vec::new();
    for _ in 0..4 {
        let child = depending(&[last], DependencyFailure::Fail);
        last = submit(&ledger, vec![child]).await[0].id;
        chain.push(last);
    }
    let cancel = Command::Cancel {
        task: first,
        actor: "ada".into(),
        only_waiting: true,
    };
    ledger.apply(cancel).await.unwrap();
    assert!(ledger.next_due().await.unwrap().is_some(), "to be settled");
    while ledger.next_due().await.unwrap().is_some() {
        ledger.apply(Command::Promote { limit: 1 }).await.unwrap();
    }
    for id in chain {
        assert_eq!(status(&ledger, id).await, TaskStatus::Failed);
    }
    assert_eq!(counted(&ledger, TaskStatus::Pending).await, 0);
    assert_eq!(counted(&ledger, TaskStatus::Failed).await, 4);
}

async fn a_dependency_that_has_ended_already_counts(ledger: Ledger) {
    let (good, bad) = (submit_one(&ledger).await, submit_one(&ledger).await);
    end(&ledger, good, AttemptEnd::Succeeded).await;
    end(&ledger, bad, AttemptEnd::Failed).await;
    let submitted = submit(
        &ledger,
        vec![
            depending(&[good], DependencyFailure::Fail),
            depending(&[good, bad], DependencyFailure::Start),
            depending(&[good, bad], DependencyFailure::Fail),
        ],
    )
    .await;
    let statuses: Vec<_> = submitted.iter().map(|task| task.status).collect();
    assert_eq!(
        statuses,
        [TaskStatus::Queued, TaskStatus::Queued, TaskStatus::Pending]
    );
    promote(&ledger).await;
    assert_eq!(status(&ledger, submitted[2].id).await, TaskStatus::Failed);
}

async fn what_cannot_be_depended_on_is_refused(ledger: Ledger) {
    let parent = submit_one(&ledger).await;
    let by = |submitter: &str, confined, on: TaskId| Command::Submit {
        tasks: vec![
            task_of("general", "x"),
            depending(&[on], DependencyFailure::Fail),
        ],
        submitter: submitter.into(),
        confined,
        dedup: None,
    };
    let unknown = TaskId::new();
    for (command, on) in [
        (by("ada", false, unknown), unknown),
        (by("eve", true, parent), parent),
    ] {
        match refused(&ledger, command).await {
            Refusal::Invalid(found) => {
                assert_eq!(found[0].pointer, "/tasks/1/depends_on/0");
                assert_eq!(found[0].detail, format!("there is no task {on}"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        counted(&ledger, TaskStatus::Queued).await,
        1,
        "all or nothing"
    );
    ledger.apply(by("ada", true, parent)).await.unwrap();
    ledger.apply(by("eve", false, parent)).await.unwrap();
    for _ in 0..3 {
        submit(&ledger, vec![depending(&[parent], DependencyFailure::Fail)]).await;
    }
    match refused(&ledger, by("ada", false, parent)).await {
        Refusal::Invalid(found) => assert!(found[0].detail.contains("max_dependents")),
        other => panic!("{other:?}"),
    }
}

async fn a_batch_may_depend_on_itself(ledger: Ledger) {
    let mut second = task_of("general", "second");
    second.depends_on = vec![Dependency::InBatch(0)];
    let mut third = task_of("general", "third");
    third.depends_on = vec![Dependency::InBatch(0), Dependency::InBatch(1)];
    let batch = submit(&ledger, vec![task_of("general", "first"), second, third]).await;
    let ids: Vec<_> = batch.iter().map(|task| task.id).collect();
    assert_eq!(stored(&ledger, ids[2]).await.depends_on, ids[..2]);
    for (ended, next) in [(0, 1), (1, 2)] {
        assert_eq!(status(&ledger, ids[next]).await, TaskStatus::Pending);
        end(&ledger, ids[ended], AttemptEnd::Succeeded).await;
        assert_eq!(status(&ledger, ids[next]).await, TaskStatus::Queued);
    }
}

async fn an_equal_unfinished_task_is_not_accepted_twice(ledger: Ledger) {
    let mut task = task_of("general", "x");
    task.dedup_key = Some("nightly".into());
    let both = submit(&ledger, vec![task.clone(), task.clone()]).await;
    assert_eq!(both[0].id, both[1].id);
    assert_eq!((both[0].deduplicated, both[1].deduplicated), (false, true));
    let other = Command::Submit {
        tasks: vec![task.clone()],
        submitter: "bob".into(),
        confined: false,
        dedup: None,
    };
    match ledger.apply(other).await.unwrap() {
        Outcome::Submitted { tasks, .. } => assert!(!tasks[0].deduplicated, "bob's own"),
        other => panic!("{other:?}"),
    }
    let claimed = claim(&ledger, both[0].id, "b").await.unwrap();
    let again = submit(&ledger, vec![task.clone()]).await[0].clone();
    assert_eq!(
        (again.id, again.status),
        (both[0].id, TaskStatus::Running),
        "also while it runs"
    );
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    let fresh = submit(&ledger, vec![task]).await[0].clone();
    assert!(fresh.id != both[0].id && !fresh.deduplicated);
    let retry = Command::Retry {
        task: both[0].id,
        actor: "ada".into(),
    };
    assert_eq!(
        refused(&ledger, retry).await,
        Refusal::DedupKeyInUse(fresh.id)
    );
    assert_eq!(counted(&ledger, TaskStatus::Queued).await, 2);
}

async fn a_task_that_waits_too_long_expires(ledger: Ledger) {
    let soon = Timestamp::now().plus_millis(20);
    let mut expiring = task_of("general", "x");
    expiring.expires_at = Some(soon);
    let mut later = expiring.clone();
    later.run_at = Some(Timestamp::now().plus_millis(3_600_000));
    let ids: Vec<_> = submit(&ledger, vec![expiring.clone(), later, expiring])
        .await
        .iter()
        .map(|task| task.id)
        .collect();
    let claimed = claim(&ledger, ids[2], "b").await;
    assert_eq!(ledger.next_due().await.unwrap(), Some(soon.as_millis()));
    while Timestamp::now() <= soon {
        tokio::task::yield_now().await;
    }
    assert!(claim(&ledger, ids[0], "b").await.is_none(), "too late");
    promote(&ledger).await;
    for id in &ids[..2] {
        let task = stored(&ledger, *id).await;
        assert_eq!(
            (task.status, task.end_reason),
            (TaskStatus::Failed, Some(EndReason::Expired))
        );
        assert!(ledger.result(*id).await.unwrap().is_some());
    }
    // What has started does not expire, should it have been in time.
    if let Some(claimed) = claimed {
        finish(&ledger, report(&claimed, AttemptEnd::GivenBack)).await;
        assert!(claim(&ledger, ids[2], "b").await.is_some());
    }
}

async fn a_finished_task_can_be_put_back(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let retry = || Command::Retry {
        task: id,
        actor: "ada".into(),
    };
    assert_eq!(
        refused(&ledger, retry()).await,
        Refusal::TaskIsUnfinished {
            task: id,
            status: TaskStatus::Queued
        }
    );
    end(&ledger, id, AttemptEnd::Failed).await;
    let failed = stored(&ledger, id).await;
    assert_eq!(failed.end_reason, Some(EndReason::Attempts));
    assert_eq!(failed.failed_attempts.len(), 2, "the evidence");
    assert_eq!(failed.failed_attempts[0].error.as_deref(), Some("broke"));
    let hints = hints_of(&ledger);
    match ledger.apply(retry()).await.unwrap() {
        Outcome::Task(task) => assert_eq!(
            (task.status, task.failures, task.end_reason),
            (TaskStatus::Queued, 0, None)
        ),
        other => panic!("{other:?}"),
    }
    assert!(matches!(&hints.lock().unwrap()[..], [Hint::Ready(ready)] if ready.id == id));
    assert!(ledger.result(id).await.unwrap().is_none());
    let claimed = claim(&ledger, id, "b").await.unwrap();
    assert_eq!(claimed.task.attempt, 3, "attempts are counted on");
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    assert!(ledger.result(id).await.unwrap().unwrap().success);
    let told: Vec<_> = ledger
        .task_events(id)
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.action)
        .collect();
    assert_eq!(
        told,
        [
            Action::TaskSubmitted,
            Action::TaskStarted,
            Action::TaskRetrying,
            Action::TaskStarted,
            Action::TaskFailed,
            Action::TaskRequeued,
            Action::TaskStarted,
            Action::TaskCompleted,
        ]
    );
    assert_eq!(
        refused(
            &ledger,
            Command::Retry {
                task: TaskId::from_bytes([7; 16]),
                actor: "ada".into()
            }
        )
        .await,
        Refusal::NoSuchTask(TaskId::from_bytes([7; 16]))
    );
}

async fn a_type_has_its_own_defaults(ledger: Ledger) {
    let plain = submit(&ledger, vec![task_of("brief", "x")]).await[0].id;
    let task = stored(&ledger, plain).await;
    assert_eq!((task.max_attempts, task.timeout_seconds), (7, 9));
    assert_eq!(task.expires_at, Some(task.created_at.plus_millis(20)));
    let mut own = task_of("brief", "x");
    own.max_attempts = Some(1);
    own.retry = Some(RetryOverride {
        min_ms: Some(3_600_000),
        max_ms: None,
        factor: None,
        jitter: Some(0.0),
    });
    own.max_attempts = Some(5);
    own.expires_at = Some(Timestamp::now().plus_millis(3_600_000));
    let own = submit(&ledger, vec![own]).await[0].id;
    assert_eq!(stored(&ledger, own).await.max_attempts, 5);
    let claimed = claim(&ledger, own, "b").await.unwrap();
    finish(&ledger, report(&claimed, AttemptEnd::Failed)).await;
    let waits = stored(&ledger, own).await;
    assert_eq!(waits.status, TaskStatus::Pending);
    assert!(
        waits.run_at.millis_since(Timestamp::now()) > 3_500_000,
        "as the task has it"
    );
}

async fn no_more_types_than_allowed(ledger: Ledger) {
    for i in 0..20 {
        submit(&ledger, vec![task_of(&format!("type-{i}"), "")]).await;
    }
    let one_more = || Command::Submit {
        tasks: vec![task_of("type-0", ""), task_of("one-more", "")],
        submitter: "ada".into(),
        confined: false,
        dedup: None,
    };
    match refused(&ledger, one_more()).await {
        Refusal::Invalid(found) => assert_eq!(found[0].pointer, "/tasks/1/type"),
        other => panic!("{other:?}"),
    }
    let page = crate::model::PageRequest {
        limit: 1,
        cursor: None,
    };
    let newest = ledger.tasks(Default::default(), page).await.unwrap().items;
    let cancel = Command::Cancel {
        task: newest[0].id,
        actor: "ada".into(),
        only_waiting: false,
    };
    ledger.apply(cancel).await.unwrap();
    let tasks = vec![newest[0].id];
    loop {
        let tasks = tasks.clone();
        match ledger.apply(Command::Prune { tasks }).await.unwrap() {
            Outcome::Pruned(gone) if gone.is_empty() => tokio::task::yield_now().await,
            Outcome::Pruned(_) => break,
            other => panic!("{other:?}"),
        }
    }
    // The transaction that emptied a type leaves its row to the next one.
    ledger
        .apply(Command::Prune { tasks: vec![] })
        .await
        .unwrap();
    ledger.apply(one_more()).await.unwrap();
}
