//! Events of one task, as callers who see only some tasks read them.

use deia_model::{Event, EventFilter, PageRequest, Role};

use super::*;
use crate::{EraseTask, PruneEvents, RetryTask};

fn ada() -> Visibility {
    Visibility::SubmittedBy("ada".into())
}

async fn cancel(ledger: &Ledger, id: TaskId) {
    let cancel = CancelTask {
        task: id,
        actor: "ada".into(),
        only_waiting: false,
    };
    ledger.apply(cancel).await.unwrap();
}

/// Creates a task with an event of each kind that tasks have after their submission.
async fn eventful_task(ledger: &Ledger) -> TaskId {
    let id = submit_one(ledger).await;
    let first = claim(ledger, id, "b").await.unwrap();
    finish(ledger, report(&first, AttemptEnd::GivenBack)).await;
    let second = claim(ledger, id, "b").await.unwrap();
    cancel(ledger, id).await;
    finish(ledger, report(&second, AttemptEnd::Cancelled)).await;
    let retry = RetryTask {
        task: id,
        actor: "ada".into(),
        only_failed: false,
        role: Role::Operator,
    };
    ledger.apply(retry).await.unwrap();
    cancel(ledger, id).await;
    let erase = EraseTask {
        task: id,
        actor: "ada".into(),
    };
    ledger.apply(erase).await.unwrap();
    id
}

fn numbered(events: &[Event]) -> Vec<(u64, &str)> {
    let numbered = events.iter();
    numbered.map(|it| (it.seq, it.action.as_str())).collect()
}

pub(crate) async fn events_of_a_task_are_numbered_from_one_without_gaps(ledger: Ledger) {
    submit_one(&ledger).await;
    let id = eventful_task(&ledger).await;
    let events = ledger.task_events(id, ada()).await.unwrap();
    let expected = [
        (1, "task.submitted"),
        (2, "task.started"),
        (3, "task.retrying"),
        (4, "task.started"),
        (5, "task.cancel_requested"),
        (6, "task.cancelled"),
        (7, "task.requeued"),
        (8, "task.cancelled"),
        (9, "task.erased"),
    ];
    assert_eq!(numbered(&events), expected);
    let in_log = ledger.task_events(id, Visibility::All).await.unwrap();
    let seqs: Vec<_> = in_log.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (2..=10).collect::<Vec<_>>());
    let eve = Visibility::SubmittedBy("eve".into());
    assert_eq!(ledger.task_events(id, eve).await.unwrap(), []);
}

pub(crate) async fn pruning_changes_no_number_or_cursor_of_a_tasks_events(ledger: Ledger) {
    let id = eventful_task(&ledger).await;
    let read = async |limit, cursor| {
        let page = PageRequest { limit, cursor };
        let page = ledger.events_page(ada(), EventFilter::default(), page);
        page.await.unwrap()
    };
    let seqs = |events: &[Event]| events.iter().map(|it| it.seq).collect::<Vec<_>>();
    let first = read(4, None).await;
    assert_eq!(seqs(&first.items), [9, 8, 7, 6]);
    let prune = PruneEvents { upto: 3, max: 100 };
    assert_eq!(ledger.apply(prune).await.unwrap(), 3);
    let second = read(100, first.next_cursor.clone()).await;
    assert_eq!(
        (seqs(&second.items), second.next_cursor),
        (vec![5, 4], None)
    );
    let left = ledger.task_events(id, ada()).await.unwrap();
    assert_eq!(seqs(&left), [4, 5, 6, 7, 8, 9]);
    // The events that the cursor stands for are gone.
    let prune = PruneEvents { upto: 7, max: 100 };
    ledger.apply(prune).await.unwrap();
    let rest = read(100, first.next_cursor).await;
    assert_eq!((seqs(&rest.items), rest.next_cursor), (vec![], None));
}
