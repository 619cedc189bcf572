//! Submissions.

use std::collections::BTreeSet;

use deia_model::{PageRequest, TaskFilter, Timestamp};

use super::*;
use crate::{Apply, Idempotency, Prune, Pruned, Submission, Submit};

pub(crate) async fn a_submission_is_stored_with_its_event(ledger: Ledger) {
    let notices = notices_of(&ledger);
    let mut new = task_of("general", "hello");
    new.tags = vec!["t".into()];
    new.metadata = [("k".to_owned(), serde_json::json!({"a": [1, null]}))].into();
    new.estimated_duration_seconds = Some(5);
    new.priority = Priority::P1;
    new.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    let submitted = submit(&ledger, vec![new.clone()]).await;
    let task = stored(&ledger, submitted[0].id).await;
    assert_eq!(
        (task.status, task.content.as_deref()),
        (TaskStatus::Queued, Some("hello"))
    );
    assert_eq!(
        (&task.tags, &task.metadata, task.priority),
        (&new.tags, &new.metadata, Priority::P1)
    );
    assert_eq!(
        (task.submitter.as_str(), task.attempt, task.max_attempts),
        ("ada", 0, 2)
    );
    assert_eq!(
        (task.timeout_seconds, task.estimated_duration_seconds),
        (60, Some(5))
    );
    assert_eq!(task.traceparent, new.traceparent);
    assert!(ledger.result(task.id).await.unwrap().is_none());
    let events = ledger.events(0, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].action.known(), events[0].actor.as_str()),
        (Some(Action::TaskSubmitted), "ada")
    );
    assert_eq!(events[0].target.id, task.id.to_string());
    assert_eq!(
        events[0].trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(ledger.last_event_seq().await.unwrap(), events[0].seq);
    assert!(
        matches!(&notices.lock().unwrap()[..], [CommitNotice::Ready(ready)] if ready.id == task.id)
    );
    assert!(ledger.task(TaskId::new()).await.unwrap().is_none());
}

pub(crate) async fn large_content_is_kept_whole(ledger: Ledger) {
    let content = "ä\u{0}\u{1F41D}".repeat(50_000);
    let id = submit(&ledger, vec![task_of("general", &content)]).await[0].id;
    assert_eq!(
        stored(&ledger, id).await.content.as_deref(),
        Some(content.as_str())
    );
    let claimed = claim(&ledger, id, "b").await.unwrap();
    assert_eq!(claimed.task.content.as_deref(), Some(content.as_str()));
}

pub(crate) async fn a_later_task_becomes_ready_when_due(ledger: Ledger) {
    let due = Timestamp::now().plus_millis(30);
    let mut later = task_of("general", "x");
    later.run_at = Some(due);
    let mut much_later = task_of("general", "y");
    much_later.run_at = Some(Timestamp::now().plus_millis(3_600_000));
    let submitted = submit(&ledger, vec![later, much_later]).await;
    assert!(
        submitted
            .iter()
            .all(|task| task.status == TaskStatus::Pending)
    );
    assert_eq!(ledger.next_due().await.unwrap(), Some(due.as_millis()));
    assert!(
        claim(&ledger, submitted[0].id, "b").await.is_none(),
        "a pending task is not to be had"
    );
    while promote(&ledger).await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(Timestamp::now() >= due);
    assert_eq!(
        ready_ids(&ledger, "general", Priority::P2).await,
        [submitted[0].id]
    );
    assert_eq!(counted(&ledger, TaskStatus::Pending).await, 1);
}

pub(crate) async fn ready_tasks_come_in_order_of_submission(ledger: Ledger) {
    let mut ids = Vec::new();
    for i in 0..20 {
        ids.push(
            submit(
                &ledger,
                vec![task_of(if i % 2 == 0 { "a" } else { "b" }, "")],
            )
            .await[0]
                .id,
        );
    }
    let even: Vec<_> = ids.iter().step_by(2).copied().collect();
    assert_eq!(ready_ids(&ledger, "a", Priority::P2).await, even);
    assert!(ready_ids(&ledger, "a", Priority::P1).await.is_empty());
    let lanes: BTreeSet<_> = ledger
        .ready_lanes()
        .await
        .unwrap()
        .into_iter()
        .map(|lane| (lane.demand.task_type.to_string(), lane.priority, lane.tasks))
        .collect();
    assert_eq!(
        lanes,
        [
            ("a".to_owned(), Priority::P2, 10),
            ("b".to_owned(), Priority::P2, 10)
        ]
        .into()
    );
    let query = |after, limit| ReadyQuery {
        demand: Demand::of_type("a".parse().unwrap()),
        priority: Priority::P2,
        after,
        limit,
    };
    let first = ledger.ready(query(i64::MIN, 3)).await.unwrap();
    let rest = ledger.ready(query(first[2].order, 100)).await.unwrap();
    assert_eq!((first.len(), rest.len()), (3, 7));
}

pub(crate) async fn a_repeated_submission_gives_the_same_answer(ledger: Ledger) {
    let command = |fingerprint: u8, submitter: &str| Submit {
        tasks: vec![task_of("general", "x")],
        submitter: submitter.into(),
        role: deia_model::Role::Operator,
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: [fingerprint; 32],
        }),
    };
    let ids = |submission: Submission| (submission.tasks[0].id, submission.replayed);
    let (first, replayed) = ids(ledger.apply(command(1, "ada")).await.unwrap());
    assert!(!replayed);
    assert_eq!(
        ids(ledger.apply(command(1, "ada")).await.unwrap()),
        (first, true)
    );
    assert_eq!(
        refused(&ledger, command(2, "ada")).await,
        Rejection::IdempotencyMismatch
    );
    let (other, replayed) = ids(ledger.apply(command(1, "bob")).await.unwrap());
    assert!(other != first && !replayed, "keys are each submitter's own");
    assert_eq!(counted(&ledger, TaskStatus::Queued).await, 2);
    assert_eq!(
        ledger.apply(Prune { tasks: vec![] }).await.unwrap(),
        Pruned {
            tasks: vec![],
            more_keys: false
        },
        "not past their time"
    );
}

pub(crate) async fn concurrent_submissions_all_land(ledger: Ledger) {
    let submissions = (0..200).map(|i| {
        let ledger = ledger.clone();
        async move { submit(&ledger, vec![task_of("general", &i.to_string())]).await[0].id }
    });
    let ids: BTreeSet<_> = futures_util::future::join_all(submissions)
        .await
        .into_iter()
        .collect();
    assert_eq!(ids.len(), 200);
    assert_eq!(counted(&ledger, TaskStatus::Queued).await, 200);
    let seqs: Vec<_> = ledger
        .events(0, 1_000)
        .await
        .unwrap()
        .iter()
        .map(|event| event.seq)
        .collect();
    assert_eq!(
        seqs,
        (1..=200).collect::<Vec<u64>>(),
        "one event each, without a gap"
    );
}

pub(crate) async fn lists_filter_and_page(ledger: Ledger) {
    for i in 0..10 {
        submit(
            &ledger,
            vec![task_of(if i < 5 { "a" } else { "b" }, "secret")],
        )
        .await;
    }
    let page = |cursor| PageRequest { limit: 3, cursor };
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let found = ledger
            .tasks(Visibility::All, TaskFilter::default(), page(cursor))
            .await
            .unwrap();
        assert!(found.items.iter().all(|task| task.content.is_none()));
        seen.extend(found.items.iter().map(|task| task.id));
        cursor = found.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
    let of = |filter| {
        ledger.tasks(
            Visibility::All,
            filter,
            PageRequest {
                limit: 100,
                cursor: None,
            },
        )
    };
    let filters = [
        (
            TaskFilter {
                task_type: Some("a".parse().unwrap()),
                ..Default::default()
            },
            5,
        ),
        (
            TaskFilter {
                status: Some(TaskStatus::Queued),
                ..Default::default()
            },
            10,
        ),
        (
            TaskFilter {
                status: Some(TaskStatus::Failed),
                ..Default::default()
            },
            0,
        ),
        (
            TaskFilter {
                submitter: Some("ada".into()),
                priority: Some(Priority::P2),
                ..Default::default()
            },
            10,
        ),
        (
            TaskFilter {
                submitter: Some("eve".into()),
                ..Default::default()
            },
            0,
        ),
        (
            TaskFilter {
                bot: Some(bot_name("b")),
                ..Default::default()
            },
            0,
        ),
    ];
    for (filter, expected) in filters {
        assert_eq!(
            of(filter.clone()).await.unwrap().items.len(),
            expected,
            "{filter:?}"
        );
    }
    let bad = ledger
        .tasks(
            Visibility::All,
            TaskFilter::default(),
            page(Some("nonsense".into())),
        )
        .await;
    assert!(matches!(bad, Err(StoreError::BadCursor)));
}

pub(crate) async fn commands_after_close_are_refused(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    ledger.close().await;
    assert!(matches!(
        ledger.apply(Prune { tasks: vec![] }).await,
        Err(StoreError::Closed)
    ));
    let _serving = ledger.serve().unwrap();
    assert_eq!(stored(&ledger, id).await.status, TaskStatus::Queued);
    submit_one(&ledger).await;
}
