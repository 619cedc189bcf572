//! Limits of one submitter. The policy lets a submitter of role `external` have 4
//! waiting tasks, 1,000 bytes of them, 3 types, and 3 remembered answers.

use std::collections::BTreeSet;

use deia_model::{Dependency, Role, Timestamp};

use super::*;
use crate::{Apply, CancelTask, Idempotency, Prune, RetryTask, Submit};

fn by(role: Role, submitter: &str, tasks: Vec<NewTask>) -> Submit {
    Submit {
        tasks,
        submitter: submitter.into(),
        role,
        idempotency: None,
    }
}

async fn submit_as(
    ledger: &Ledger,
    submitter: &str,
    tasks: Vec<NewTask>,
) -> Result<Vec<TaskId>, StoreError> {
    let submission = ledger.apply(by(Role::External, submitter, tasks)).await?;
    Ok(submission.tasks.iter().map(|task| task.id).collect())
}

fn some(n: usize) -> Vec<NewTask> {
    vec![task_of("general", "x"); n]
}

/// Asserts that exactly `n` more tasks of eve may wait; none is left behind.
async fn admits_exactly(ledger: &Ledger, n: usize, when: &str) {
    if n > 0 {
        // All or none: a batch of one more than the limit is refused whole.
        let ids = submit_as(ledger, "eve", some(n)).await.unwrap();
        for id in ids {
            cancel(ledger, id).await;
        }
    }
    let beyond = submit_as(ledger, "eve", some(n + 1)).await;
    assert!(
        matches!(
            beyond,
            Err(StoreError::Refused(Rejection::QueueShareUsedUp { what: "tasks", waiting, limit: 4, .. }))
                if waiting == 4 - n as u64
        ),
        "{when}: {beyond:?}"
    );
}

async fn cancel(ledger: &Ledger, task: TaskId) {
    let command = CancelTask {
        task,
        actor: "eve".into(),
        only_waiting: false,
    };
    ledger.apply(command).await.unwrap();
}

pub(crate) async fn each_end_of_a_wait_admits_another_task(ledger: Ledger) {
    let mut later = task_of("general", "x");
    later.run_at = Some(Timestamp::now().plus_millis(3_600_000));
    let mut brief = task_of("brief", "x");
    brief.expires_at = Some(Timestamp::now().plus_millis(20));
    let ids = submit_as(&ledger, "eve", vec![later, brief, some(1).remove(0)]);
    let ids = ids.await.unwrap();
    admits_exactly(&ledger, 1, "three wait").await;
    cancel(&ledger, ids[0]).await;
    admits_exactly(&ledger, 2, "one is cancelled").await;
    while promote(&ledger).await == 0 {
        tokio::task::yield_now().await;
    }
    admits_exactly(&ledger, 3, "one has expired").await;
    let claimed = claim(&ledger, ids[2], "b").await.unwrap();
    admits_exactly(&ledger, 4, "one runs").await;
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    admits_exactly(&ledger, 4, "one is completed").await;
    let parent = submit_one(&ledger).await;
    let mut child = task_of("general", "x");
    child.depends_on = vec![Dependency::Task(parent)];
    ledger
        .apply(by(Role::Operator, "eve", vec![child]))
        .await
        .unwrap();
    admits_exactly(&ledger, 3, "one waits for another").await;
    cancel(&ledger, parent).await;
    promote(&ledger).await;
    admits_exactly(&ledger, 4, "the other was cancelled").await;
}

pub(crate) async fn requeued_tasks_count_again(ledger: Ledger) {
    let ids = submit_as(&ledger, "eve", some(3)).await.unwrap();
    let claimed = claim(&ledger, ids[0], "b").await.unwrap();
    admits_exactly(&ledger, 2, "one runs").await;
    finish(&ledger, report(&claimed, AttemptEnd::Failed)).await;
    admits_exactly(&ledger, 1, "it waits to be tried again").await;
    promote(&ledger).await;
    admits_exactly(&ledger, 1, "it is queued").await;
    let claimed = claim(&ledger, ids[0], "b").await.unwrap();
    finish(&ledger, report(&claimed, AttemptEnd::GivenBack)).await;
    admits_exactly(&ledger, 1, "it was given back").await;
    let claimed = claim(&ledger, ids[0], "b").await.unwrap();
    finish(&ledger, report(&claimed, AttemptEnd::Failed)).await;
    admits_exactly(&ledger, 2, "it has failed").await;
    let retry = |task| RetryTask {
        task,
        actor: "eve".into(),
        only_failed: true,
        role: Role::External,
    };
    ledger.apply(retry(ids[0])).await.unwrap();
    admits_exactly(&ledger, 1, "it was put back").await;
    cancel(&ledger, ids[0]).await;
    submit_as(&ledger, "eve", some(2)).await.unwrap();
    let again = RetryTask {
        task: ids[0],
        actor: "eve".into(),
        only_failed: false,
        role: Role::External,
    };
    let refused = ledger.apply(again).await;
    assert!(
        matches!(
            refused,
            Err(StoreError::Refused(Rejection::QueueShareUsedUp { .. }))
        ),
        "{refused:?}"
    );
}

pub(crate) async fn waiting_bytes_are_limited(ledger: Ledger) {
    let mut with_metadata = task_of("general", &"x".repeat(500));
    with_metadata.metadata = [("k".to_owned(), serde_json::json!("x".repeat(400)))].into();
    let ids = submit_as(&ledger, "eve", vec![with_metadata]).await;
    let id = ids.unwrap()[0];
    let more = || submit_as(&ledger, "eve", vec![task_of("general", &"y".repeat(100))]);
    let refused = more().await;
    assert!(
        matches!(
            refused,
            Err(StoreError::Refused(Rejection::QueueShareUsedUp {
                what: "bytes",
                waiting: 908,
                limit: 1_000,
                ..
            }))
        ),
        "{refused:?}"
    );
    claim(&ledger, id, "b").await.unwrap();
    more().await.unwrap();
}

pub(crate) async fn limits_are_per_submitter(ledger: Ledger) {
    submit_as(&ledger, "eve", some(4)).await.unwrap();
    admits_exactly(&ledger, 0, "all is used up").await;
    submit_as(&ledger, "bob", some(4)).await.unwrap();
    // The same user, in a role with higher limits.
    let more = by(Role::Operator, "eve", some(10));
    ledger.apply(more).await.unwrap();
}

pub(crate) async fn the_whole_queue_has_a_limit(ledger: Ledger) {
    for submitter in ["ada", "bob"] {
        let command = by(Role::Operator, submitter, some(1_000));
        ledger.apply(command).await.unwrap();
    }
    let one_more = || by(Role::Admin, "root", some(1));
    let refused = refused(&ledger, one_more()).await;
    assert_eq!(refused, Rejection::QueueFull { limit: 2_000 });
    let first = ready_ids(&ledger, "general", Priority::P2).await[0];
    claim(&ledger, first, "b").await.unwrap();
    ledger.apply(one_more()).await.unwrap();
}

fn of_types(types: &[&str]) -> Vec<NewTask> {
    types.iter().map(|name| task_of(name, "x")).collect()
}

async fn is_refused_at(ledger: &Ledger, submitter: &str, types: &[&str]) -> Option<String> {
    match submit_as(ledger, submitter, of_types(types)).await {
        Ok(ids) => {
            for id in ids {
                cancel(ledger, id).await;
            }
            None
        }
        Err(StoreError::Refused(Rejection::Invalid(found))) => {
            Some(format!("{} {}", found[0].pointer, found[0].detail))
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn types_of_a_submitter_are_limited_until_they_are_deleted(ledger: Ledger) {
    let refused = is_refused_at(&ledger, "eve", &["a", "b", "c", "d"]).await;
    assert!(refused.unwrap().starts_with("/tasks/3/type "));
    let ids = submit_as(&ledger, "eve", of_types(&["a", "b", "c"])).await;
    let ids = ids.unwrap();
    assert!(is_refused_at(&ledger, "eve", &["d"]).await.is_some());
    assert_eq!(is_refused_at(&ledger, "eve", &["a"]).await, None);
    assert_eq!(is_refused_at(&ledger, "bob", &["d"]).await, None);
    cancel(&ledger, ids[0]).await;
    // Cancelled tasks are kept, and so are the counters of their type.
    assert!(is_refused_at(&ledger, "eve", &["d"]).await.is_some());
    while is_refused_at(&ledger, "eve", &["d"]).await.is_some() {
        let prunable = ledger.prunable(0).await.unwrap();
        let prune = Prune {
            tasks: prunable.tasks,
        };
        ledger.apply(prune).await.unwrap();
    }
}

pub(crate) async fn refusals_do_not_reveal_types_of_others(ledger: Ledger) {
    let types: Vec<String> = (0..20).map(|n| format!("of-ada-{n}")).collect();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    submit(&ledger, of_types(&types)).await;
    let known = is_refused_at(&ledger, "eve", &["of-ada-1"]).await;
    let unknown = is_refused_at(&ledger, "eve", &["of-nobody"]).await;
    assert!(known.is_some());
    assert_eq!(known, unknown);
    // A submitter who sees all tasks may use every known type.
    submit(&ledger, of_types(&["of-ada-1"])).await;
}

pub(crate) async fn duplicates_count_towards_no_limit(ledger: Ledger) {
    let keyed = |task_type: &str| {
        let mut task = task_of(task_type, "x");
        task.dedup_key = Some("k".into());
        task
    };
    submit_as(&ledger, "eve", vec![keyed("a")]).await.unwrap();
    for task_type in ["b", "c", "d", "e"] {
        let twin = submit_as(&ledger, "eve", vec![keyed(task_type)]).await;
        twin.unwrap();
    }
    // In one batch, too.
    let again = vec![keyed("f"), keyed("g"), keyed("h"), keyed("i"), keyed("j")];
    submit_as(&ledger, "eve", again).await.unwrap();
    admits_exactly(&ledger, 3, "one waits").await;
    assert_eq!(is_refused_at(&ledger, "eve", &["y"]).await, None);
    let lanes = ledger.queue().await.unwrap().lanes.into_iter();
    let types: BTreeSet<_> = lanes.map(|lane| lane.task_type.to_string()).collect();
    assert_eq!(types, ["a".to_owned()].into());
}

pub(crate) async fn the_oldest_answers_of_a_submitter_are_deleted(ledger: Ledger) {
    let keyed = |submitter: &str, key: &str, tasks: usize| Submit {
        tasks: some(tasks),
        submitter: submitter.into(),
        role: Role::Operator,
        idempotency: Some(Idempotency {
            key: key.into(),
            fingerprint: [tasks as u8; 32],
        }),
    };
    let replayed = async |command: Submit| ledger.apply(command).await.unwrap().replayed;
    assert!(!replayed(keyed("bob", "k", 1)).await);
    for key in ["1", "2", "3", "4"] {
        assert!(!replayed(keyed("eve", key, 1)).await, "{key}");
        // The order of answers is that of their times.
        let now = Timestamp::now();
        while Timestamp::now() == now {
            tokio::task::yield_now().await;
        }
    }
    for key in ["2", "3", "4"] {
        assert!(replayed(keyed("eve", key, 1)).await, "{key}");
    }
    assert!(!replayed(keyed("eve", "1", 1)).await, "it was forgotten");
    assert!(replayed(keyed("bob", "k", 1)).await, "that of another");
    // An answer larger than the limit is stored alone.
    assert!(!replayed(keyed("eve", "large", 20)).await);
    assert!(replayed(keyed("eve", "large", 20)).await);
    assert!(!replayed(keyed("eve", "4", 1)).await, "it was forgotten");
    assert!(!replayed(keyed("eve", "large", 20)).await, "so was this");
}
