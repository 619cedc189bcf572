//! Tasks that depend on others.

use deia_model::{Dependency, DependencyFailure, EndReason};

use super::*;
use crate::{Apply, CancelTask, RetryTask, RunDue, Submit};

fn depending(on: &[TaskId], policy: DependencyFailure) -> NewTask {
    let mut task = task_of("general", "child");
    task.depends_on = on.iter().copied().map(Dependency::Task).collect();
    task.on_dependency_failure = policy;
    task
}

pub(crate) async fn a_task_waits_for_its_dependencies(ledger: Ledger) {
    let (one, two) = (submit_one(&ledger).await, submit_one(&ledger).await);
    let notices = notices_of(&ledger);
    let child = depending(&[one, two], DependencyFailure::Fail);
    let child = submit(&ledger, vec![child]).await[0].clone();
    assert_eq!(child.status, TaskStatus::Pending);
    assert!(
        notices
            .lock()
            .unwrap()
            .iter()
            .all(|h| !matches!(h, CommitNotice::Ready(_) | CommitNotice::Due(_)))
    );
    let queue_position = ledger
        .queue_position(child.id, Visibility::All)
        .await
        .unwrap();
    assert_eq!(queue_position.waits_for.len(), 2);
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

pub(crate) async fn the_task_chooses_the_consequence_of_a_failed_dependency(ledger: Ledger) {
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

pub(crate) async fn a_failure_propagates_down_the_chain(ledger: Ledger) {
    let first = submit_one(&ledger).await;
    let mut last = first;
    let mut chain = Vec::new();
    for _ in 0..4 {
        let child = depending(&[last], DependencyFailure::Fail);
        last = submit(&ledger, vec![child]).await[0].id;
        chain.push(last);
    }
    let cancel = CancelTask {
        task: first,
        actor: "ada".into(),
        only_waiting: true,
    };
    ledger.apply(cancel).await.unwrap();
    assert!(ledger.next_due().await.unwrap().is_some(), "to be settled");
    while ledger.next_due().await.unwrap().is_some() {
        ledger.apply(RunDue { limit: 1 }).await.unwrap();
    }
    for id in chain {
        assert_eq!(status(&ledger, id).await, TaskStatus::Failed);
    }
    assert_eq!(counted(&ledger, TaskStatus::Pending).await, 0);
    assert_eq!(counted(&ledger, TaskStatus::Failed).await, 4);
}

pub(crate) async fn a_dependency_that_has_ended_already_counts(ledger: Ledger) {
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

pub(crate) async fn invalid_dependencies_are_refused(ledger: Ledger) {
    let parent = submit_one(&ledger).await;
    let by = |submitter: &str, role, on: TaskId| Submit {
        tasks: vec![
            task_of("general", "x"),
            depending(&[on], DependencyFailure::Fail),
        ],
        submitter: submitter.into(),
        role,
        idempotency: None,
    };
    let unknown = TaskId::new();
    for (command, on) in [
        (by("ada", deia_model::Role::Operator, unknown), unknown),
        (by("eve", deia_model::Role::External, parent), parent),
    ] {
        match refused(&ledger, command).await {
            Rejection::Invalid(found) => {
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
    ledger
        .apply(by("ada", deia_model::Role::External, parent))
        .await
        .unwrap();
    ledger
        .apply(by("eve", deia_model::Role::Operator, parent))
        .await
        .unwrap();
    for _ in 0..3 {
        submit(&ledger, vec![depending(&[parent], DependencyFailure::Fail)]).await;
    }
    match refused(&ledger, by("ada", deia_model::Role::Operator, parent)).await {
        Rejection::Invalid(found) => assert!(found[0].detail.contains("max_dependents")),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn tasks_of_a_batch_may_depend_on_each_other(ledger: Ledger) {
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

pub(crate) async fn duplicates_in_a_batch_are_one_dependency(ledger: Ledger) {
    let mut twin = task_of("general", "twin");
    twin.dedup_key = Some("nightly".into());
    let mut child = task_of("general", "child");
    child.depends_on = vec![Dependency::InBatch(0), Dependency::InBatch(1)];
    let batch = submit(&ledger, vec![twin.clone(), twin.clone(), child]).await;
    let (parent, child) = (batch[0].id, batch[2].id);
    let waits = stored(&ledger, child).await;
    assert_eq!((waits.waiting_for, waits.depends_on), (1, vec![parent]));

    // A task that existed before, by its id and by its key.
    let mut late = depending(&[parent], DependencyFailure::Fail);
    late.depends_on.push(Dependency::InBatch(0));
    let late = submit(&ledger, vec![twin, late]).await[1].id;
    assert_eq!(stored(&ledger, late).await.waiting_for, 1);

    end(&ledger, parent, AttemptEnd::Succeeded).await;
    for task in [child, late] {
        assert_eq!(status(&ledger, task).await, TaskStatus::Queued);
    }
}

pub(crate) async fn ended_dependents_do_not_count_towards_the_limit(ledger: Ledger) {
    let parent = submit_one(&ledger).await;
    let child = || depending(&[parent], DependencyFailure::Fail);
    for _ in 0..7 {
        let waiting = submit(&ledger, vec![child()]).await[0].id;
        let cancel = CancelTask {
            task: waiting,
            actor: "ada".into(),
            only_waiting: false,
        };
        ledger.apply(cancel).await.unwrap();
    }
    let all_at_once = |n| Submit {
        tasks: vec![child(); n],
        submitter: "ada".into(),
        role: deia_model::Role::Operator,
        idempotency: None,
    };
    match refused(&ledger, all_at_once(6)).await {
        Rejection::Invalid(found) => assert_eq!(
            (found.len(), found[0].pointer.as_str()),
            (1, "/tasks/5/depends_on/0")
        ),
        other => panic!("{other:?}"),
    }
    ledger.apply(all_at_once(5)).await.unwrap();
    end(&ledger, parent, AttemptEnd::Succeeded).await;
    assert_eq!(counted(&ledger, TaskStatus::Queued).await, 5);
}

pub(crate) async fn a_task_that_cannot_wait_again_is_not_put_back(ledger: Ledger) {
    let parent = submit_one(&ledger).await;
    let child = || depending(&[parent], DependencyFailure::Fail);
    let waiting = submit(&ledger, vec![child()]).await[0].id;
    let cancel = |task| CancelTask {
        task,
        actor: "ada".into(),
        only_waiting: false,
    };
    let retry = RetryTask {
        task: waiting,
        actor: "ada".into(),
        only_failed: false,
        role: deia_model::Role::Operator,
    };
    ledger.apply(cancel(waiting)).await.unwrap();
    let others = submit(&ledger, vec![child(); 5]).await;
    let full = Rejection::TooManyDependents { parent, limit: 5 };
    assert_eq!(refused(&ledger, retry.clone()).await, full);
    assert_eq!(status(&ledger, waiting).await, TaskStatus::Cancelled);

    ledger.apply(cancel(others[0].id)).await.unwrap();
    ledger.apply(retry).await.unwrap();
    assert_eq!(stored(&ledger, waiting).await.waiting_for, 1);
}

pub(crate) async fn settled_dependents_are_no_longer_due(ledger: Ledger) {
    let parent = submit_one(&ledger).await;
    submit(&ledger, vec![depending(&[parent], DependencyFailure::Fail)]).await;
    let claimed = claim(&ledger, parent, "b").await.unwrap();
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    assert_eq!(ledger.next_due().await.unwrap(), Some(0));
    promote(&ledger).await;
    assert_eq!(ledger.next_due().await.unwrap(), None);
}
