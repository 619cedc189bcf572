//! Lists and events, when one handle reads while the other writes.

use std::collections::BTreeSet;

use deia_model::{Event, EventFilter, Page, PageRequest, TaskFilter};

use super::*;
use crate::{Apply, Prune};

/// Number of tasks that exist before, and of those that are added or removed meanwhile.
const TASKS: usize = 60;

async fn task_page(ledger: &Ledger, cursor: Option<String>) -> Page<Task> {
    let page = PageRequest { limit: 7, cursor };
    let read = ledger.tasks(Visibility::All, TaskFilter::default(), page);
    read.await.unwrap()
}

async fn event_page(ledger: &Ledger, cursor: Option<String>) -> Page<Event> {
    let page = PageRequest { limit: 7, cursor };
    let read = ledger.events_page(Visibility::All, EventFilter::default(), page);
    read.await.unwrap()
}

/// Reads all pages, each through the next of the given handles.
async fn all_pages<T>(
    handles: impl IntoIterator<Item = &Ledger, IntoIter: Clone>,
    page: impl AsyncFn(&Ledger, Option<String>) -> Page<T>,
) -> Vec<T> {
    let (mut all, mut cursor) = (Vec::new(), None);
    for ledger in handles.into_iter().cycle() {
        let read = page(ledger, cursor).await;
        all.extend(read.items);
        cursor = read.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    all
}

async fn submit_singly(ledger: &Ledger) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        ids.push(submit_one(ledger).await);
    }
    ids
}

/// Asserts that the items are listed newest first and each once, and that those that
/// existed before are all among them.
fn are_whole<T: Ord + Copy + std::fmt::Debug>(listed: &[T], before: &[T]) {
    let descending = listed.is_sorted_by(|one, next| one > next);
    assert!(descending, "not the newest first, or repeated: {listed:?}");
    let listed: BTreeSet<_> = listed.iter().copied().collect();
    let missed: Vec<_> = before.iter().filter(|it| !listed.contains(it)).collect();
    assert!(missed.is_empty(), "not listed: {missed:?}");
}

pub(crate) async fn commit_of_one_handle_is_read_by_the_other(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let (writer, reader) = if round.is_multiple_of(2) {
            (&a, &b)
        } else {
            (&b, &a)
        };
        let id = submit_one(writer).await;
        assert_eq!(status(reader, id).await, TaskStatus::Queued);
        assert_eq!(task_page(reader, None).await.items[0].id, id);
        let newest = &event_page(reader, None).await.items[0];
        assert_eq!(newest.target.id, id.to_string());
        assert_eq!(newest.seq, writer.last_event_seq().await.unwrap());
        let claimed = claim(reader, id, "b").await.unwrap();
        finish(writer, report(&claimed, AttemptEnd::Succeeded)).await;
        assert!(reader.result(id).await.unwrap().unwrap().success);
    }
}

pub(crate) async fn task_pages_read_during_writes_miss_and_repeat_nothing(
    Handles { a, b }: Handles,
) {
    let before = submit_singly(&a).await;
    let (listed, _) = tokio::join!(all_pages([&b], task_page), submit_singly(&a));
    let listed: Vec<_> = listed.iter().map(|task| task.id).collect();
    are_whole(&listed, &before);
}

pub(crate) async fn task_pages_read_during_deletions_miss_nothing_that_stays(
    Handles { a, b }: Handles,
) {
    let ids = submit_singly(&a).await;
    let (stay, go): (Vec<_>, Vec<_>) = (0..TASKS).partition(|place| place % 2 == 0);
    let deletion = async {
        for place in go {
            end(&a, ids[place], AttemptEnd::Succeeded).await;
            let prune = Prune {
                tasks: vec![ids[place]],
            };
            a.apply(prune).await.unwrap();
        }
    };
    let (listed, ()) = tokio::join!(all_pages([&b], task_page), deletion);
    let listed: Vec<_> = listed.iter().map(|task| task.id).collect();
    let stay: Vec<_> = stay.into_iter().map(|place| ids[place]).collect();
    are_whole(&listed, &stay);
}

pub(crate) async fn event_pages_read_during_writes_miss_and_repeat_nothing(
    Handles { a, b }: Handles,
) {
    submit_singly(&a).await;
    let last = a.last_event_seq().await.unwrap();
    let (listed, _) = tokio::join!(all_pages([&b], event_page), submit_singly(&a));
    let listed: Vec<_> = listed.iter().map(|event| event.seq).collect();
    let before: Vec<_> = (1..=last).collect();
    are_whole(&listed, &before);
}

/// A follower of the log continues after the last event that it has seen: an event that
/// appeared later with a lower number would be lost to it.
pub(crate) async fn events_followed_during_writes_have_no_gap_and_no_late_arrival(
    Handles { a, b }: Handles,
) {
    let reader = b.clone();
    let following = async {
        let mut seen: Vec<u64> = Vec::new();
        while seen.len() < 2 * TASKS {
            let after = seen.last().copied().unwrap_or_default();
            let events = reader.events(after, 5).await.unwrap();
            seen.extend(events.iter().map(|event| event.seq));
        }
        seen
    };
    let deadline = Duration::from_secs(60);
    let following = tokio::time::timeout(deadline, following);
    let (seen, _, _) = tokio::join!(following, submit_singly(&a), submit_singly(&b));
    let seen = seen.expect("the follower misses events");
    let all: Vec<_> = a.events(0, 1_000).await.unwrap();
    assert_eq!(seen, all.iter().map(|event| event.seq).collect::<Vec<_>>());
}

pub(crate) async fn cursors_of_one_handle_are_taken_by_the_other(Handles { a, b }: Handles) {
    let before = submit_singly(&a).await;
    let both = [&a, &b];
    let (tasks, events, _) = tokio::join!(
        all_pages(both, task_page),
        all_pages(both, event_page),
        submit_singly(&b)
    );
    let tasks: Vec<_> = tasks.iter().map(|task| task.id).collect();
    are_whole(&tasks, &before);
    let events: Vec<_> = events.iter().map(|event| event.seq).collect();
    are_whole(&events, &(1..=TASKS as u64).collect::<Vec<_>>());
}
