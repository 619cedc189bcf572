//! Constraints on the start of tasks: expiry, deduplication, manual retries, types.

use deia_model::{Dependency, EndReason, Timestamp};

use super::*;
use crate::{Apply, CancelTask, Prune, RetryTask, Submit};

pub(crate) async fn an_equal_unfinished_task_is_not_accepted_twice(ledger: Ledger) {
    let mut task = task_of("general", "x");
    task.dedup_key = Some("nightly".into());
    let both = submit(&ledger, vec![task.clone(), task.clone()]).await;
    assert_eq!(both[0].id, both[1].id);
    assert_eq!((both[0].deduplicated, both[1].deduplicated), (false, true));
    let other = Submit {
        tasks: vec![task.clone()],
        submitter: "bob".into(),
        role: deia_model::Role::Operator,
        idempotency: None,
    };
    let submission = ledger.apply(other).await.unwrap();
    assert!(!submission.tasks[0].deduplicated, "bob's own");
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
    let retry = RetryTask {
        task: both[0].id,
        actor: "ada".into(),
        only_failed: false,
        role: deia_model::Role::Operator,
    };
    assert_eq!(
        refused(&ledger, retry).await,
        Rejection::DedupKeyInUse(fresh.id)
    );
    assert_eq!(counted(&ledger, TaskStatus::Queued).await, 2);
}

pub(crate) async fn a_task_that_waits_too_long_expires(ledger: Ledger) {
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
    // A task that has started in time does not expire.
    if let Some(claimed) = claimed {
        finish(&ledger, report(&claimed, AttemptEnd::GivenBack)).await;
        assert!(claim(&ledger, ids[2], "b").await.is_some());
    }
}

pub(crate) async fn a_finished_task_can_be_put_back(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let retry_if = |only_failed| RetryTask {
        task: id,
        actor: "ada".into(),
        only_failed,
        role: deia_model::Role::Operator,
    };
    let retry = || retry_if(false);
    assert_eq!(
        refused(&ledger, retry()).await,
        Rejection::TaskIsUnfinished {
            task: id,
            status: TaskStatus::Queued
        }
    );
    end(&ledger, id, AttemptEnd::Failed).await;
    let failed = stored(&ledger, id).await;
    assert_eq!(failed.end_reason, Some(EndReason::Attempts));
    assert_eq!(failed.failed_attempts.len(), 2, "the evidence");
    assert_eq!(failed.failed_attempts[0].error.as_deref(), Some("broke"));
    let notices = notices_of(&ledger);
    let task = ledger.apply(retry()).await.unwrap();
    assert_eq!(
        (task.status, task.failures, task.end_reason),
        (TaskStatus::Queued, 0, None)
    );
    assert!(matches!(&notices.lock().unwrap()[..], [CommitNotice::Ready(ready)] if ready.id == id));
    assert!(ledger.result(id).await.unwrap().is_none());
    let claimed = claim(&ledger, id, "b").await.unwrap();
    assert_eq!(claimed.task.attempt, 3, "attempts are counted on");
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    assert!(ledger.result(id).await.unwrap().unwrap().success);
    let status = TaskStatus::Completed;
    assert_eq!(
        refused(&ledger, retry_if(true)).await,
        Rejection::TaskIsFinal { task: id, status }
    );
    let told: Vec<_> = ledger
        .task_events(id, Visibility::All)
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
            RetryTask {
                task: TaskId::from_bytes([7; 16]),
                actor: "ada".into(),
                only_failed: true,
                role: deia_model::Role::Operator,
            }
        )
        .await,
        Rejection::NoSuchTask(TaskId::from_bytes([7; 16]))
    );
}

pub(crate) async fn a_type_has_its_own_defaults(ledger: Ledger) {
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

pub(crate) async fn task_types_are_limited(ledger: Ledger) {
    let new_types = || (0..20).map(|i| task_of(&format!("never-{i}"), ""));
    let mut orphan = task_of("never-0", "");
    orphan.depends_on = vec![Dependency::Task(TaskId::new())];
    for last in [orphan, task_of("never-20", "")] {
        let refused_whole = Submit {
            tasks: new_types().chain([last]).collect(),
            submitter: "ada".into(),
            role: deia_model::Role::Operator,
            idempotency: None,
        };
        refused(&ledger, refused_whole).await;
    }
    for i in 0..20 {
        submit(&ledger, vec![task_of(&format!("type-{i}"), "")]).await;
    }
    let one_more = || Submit {
        tasks: vec![task_of("type-0", ""), task_of("one-more", "")],
        submitter: "ada".into(),
        role: deia_model::Role::Operator,
        idempotency: None,
    };
    match refused(&ledger, one_more()).await {
        Rejection::Invalid(found) => assert_eq!(found[0].pointer, "/tasks/1/type"),
        other => panic!("{other:?}"),
    }
    let page = deia_model::PageRequest {
        limit: 1,
        cursor: None,
    };
    let first_page = ledger
        .tasks(Visibility::All, Default::default(), page)
        .await
        .unwrap();
    let newest = first_page.items;
    let cancel = CancelTask {
        task: newest[0].id,
        actor: "ada".into(),
        only_waiting: false,
    };
    ledger.apply(cancel).await.unwrap();
    let tasks = vec![newest[0].id];
    loop {
        let tasks = tasks.clone();
        let pruned = ledger.apply(Prune { tasks }).await.unwrap();
        if !pruned.tasks.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    // The page continues after a task that no longer exists.
    let page = deia_model::PageRequest {
        limit: 20,
        cursor: first_page.next_cursor,
    };
    let rest = ledger
        .tasks(Visibility::All, Default::default(), page)
        .await
        .unwrap();
    assert_eq!(rest.items.len(), 19);
    // The transaction that emptied a type leaves its row to the next one.
    ledger.apply(Prune { tasks: vec![] }).await.unwrap();
    ledger.apply(one_more()).await.unwrap();
}
