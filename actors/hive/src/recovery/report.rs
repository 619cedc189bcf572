//! The report of a restore: a comparison of the restored store with a later one.

mod access;

use std::{collections::HashSet, num::NonZero, sync::Arc};

use deia_ledger::{EventScan, Ledger, StoreError};
use deia_model::{
    Action, ComparedWith, Event, LostWork, Page, PageRequest, Position, RepeatedEffects,
    RestoreReport, Task, TaskFilter, TaskId, TaskStatus, Timestamp, Visibility,
};
use serde_json::{Value, json};

/// Tasks, and pieces of access, that a report lists; it has their numbers as well. Fixed: more
/// would not help a person, and an answer has to stay small.
const LISTED_MAX: usize = 100;
/// Pieces of access that the event of a restore lists. Fixed: the details of an event stay small.
const IN_EVENT_MAX: usize = 20;
/// Events of lost work that are examined. Fixed: a bound of the time and of the memory, of some
/// ten MiB.
const EXAMINED_MAX: u64 = 1_000_000;
/// Events that are read at a time. Fixed: the memory of one read.
const PAGE: NonZero<u32> = NonZero::<u32>::MIN.saturating_add(999);
/// Size of the events that are read at a time, in bytes. Fixed: the memory of one read.
const PAGE_BYTES: u64 = 4 << 20;

/// A later state than the restored one.
pub(super) struct Later {
    pub(super) ledger: Ledger,
    pub(super) kind: ComparedWith,
}

/// Compares a restored store, whose newest event is at `head` and was recorded at `to`, with a
/// later state.
///
/// # Errors
/// [`StoreError`]: one of them cannot be read.
pub(super) async fn report(
    restored: &Ledger,
    later: &Later,
    (head, to): (Position, Timestamp),
) -> Result<RestoreReport, StoreError> {
    let now = Timestamp::now();
    let mut work = Work::default();
    let mut lost = work.read(&later.ledger, head).await?;
    work.add_running(restored).await?;
    lost.seconds = seconds_between(to, lost.until.unwrap_or(to));
    let access = access::compare(restored, &later.ledger, now).await?;
    lost.keys = access.keys_lost;
    let (again, total) = work.repeated();
    let valid_again_total = access.valid_again.len() as u64;
    let mut valid_again = access.valid_again;
    valid_again.truncate(LISTED_MAX);
    let webhooks = restored.all_webhooks().await?;
    let enabled = webhooks.iter().filter(|it| it.webhook.disabled.is_none());
    Ok(RestoreReport {
        compared_with: later.kind,
        lost,
        repeats: RepeatedEffects {
            tasks: again,
            tasks_total: total,
            deliveries: enabled.map(|it| it.webhook.waiting).sum(),
        },
        valid_again,
        valid_again_total,
    })
}

fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    let millis = to.as_millis().saturating_sub(from.as_millis());
    u64::try_from(millis).unwrap_or(0) / 1_000
}

/// Returns the details of the event of a restore that a report adds.
pub(super) fn details(report: &RestoreReport) -> Value {
    let (lost, repeats) = (&report.lost, &report.repeats);
    let listed = report.valid_again.iter().take(IN_EVENT_MAX);
    json!({
        "compared_with": report.compared_with,
        "lost_events": lost.events,
        "lost_seconds": lost.seconds,
        "tasks_submitted": lost.tasks_submitted,
        "tasks_ended": lost.tasks_ended,
        "keys_lost": lost.keys,
        "tasks_again": repeats.tasks_total,
        "deliveries_again": repeats.deliveries,
        "valid_again": listed.collect::<Vec<_>>(),
        "valid_again_total": report.valid_again_total,
    })
}

/// Tasks of the lost events.
#[derive(Default)]
struct Work {
    submitted: HashSet<TaskId>,
    started: HashSet<TaskId>,
    ended: u64,
}

impl Work {
    /// Reads the events after a position.
    async fn read(&mut self, ledger: &Ledger, after: Position) -> Result<LostWork, StoreError> {
        let actions: Arc<[String]> = [
            Action::TaskSubmitted,
            Action::TaskStarted,
            Action::TaskCompleted,
            Action::TaskFailed,
            Action::TaskCancelled,
            Action::TaskDead,
        ]
        .map(|action| action.as_str().to_owned())
        .into();
        let limits = EventScan {
            max_events: PAGE,
            max_bytes: PAGE_BYTES,
            max_examined: PAGE_BYTES / 64,
        };
        let (mut at, mut begin) = (after, after);
        let mut lost = LostWork {
            is_complete: true,
            ..LostWork::default()
        };
        loop {
            let page = ledger
                .events_of_actions(at, actions.clone(), limits)
                .await?;
            if page.forked {
                // The restored history was cut off before: it shares the events up to here.
                (at, begin) = (page.next, page.next);
                continue;
            }
            lost.is_complete &= page.missed == 0;
            for event in &page.events {
                self.note(event);
            }
            lost.events = page.head.seq.saturating_sub(begin.seq);
            lost.up_to = (lost.events > 0).then(|| page.head.to_string());
            let is_at_end = page.next.seq >= page.head.seq || page.next == at;
            at = page.next;
            if is_at_end {
                break;
            }
            if at.seq.saturating_sub(begin.seq) >= EXAMINED_MAX {
                lost.is_complete = false;
                break;
            }
        }
        lost.until = match lost.events {
            0 => None,
            _ => newest_at(ledger).await?,
        };
        lost.tasks_submitted = self.submitted.len() as u64;
        lost.tasks_ended = self.ended;
        Ok(lost)
    }

    fn note(&mut self, event: &Event) {
        let Ok(task) = event.target.id.parse::<TaskId>() else {
            return;
        };
        match event.action.known() {
            Some(Action::TaskSubmitted) => {
                self.submitted.insert(task);
            }
            Some(Action::TaskStarted) => {
                self.started.insert(task);
            }
            _ => self.ended += 1,
        }
    }

    /// Adds the tasks that ran at the restored moment: their attempts begin again.
    async fn add_running(&mut self, restored: &Ledger) -> Result<(), StoreError> {
        let filter = TaskFilter {
            status: Some(TaskStatus::Running),
            ..TaskFilter::default()
        };
        let mut cursor = None;
        loop {
            let page = PageRequest {
                limit: PAGE.get(),
                cursor,
            };
            let found: Page<Task> = restored
                .tasks(Visibility::All, filter.clone(), page)
                .await?;
            self.started.extend(found.items.iter().map(|task| task.id));
            cursor = found.next_cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Returns the first tasks that had begun and are in the restored store, and their number.
    fn repeated(&self) -> (Vec<TaskId>, u64) {
        let mut again: Vec<_> = self.started.difference(&self.submitted).copied().collect();
        again.sort_unstable();
        let total = again.len() as u64;
        again.truncate(LISTED_MAX);
        (again, total)
    }
}

/// Returns the time of the newest event of a store.
async fn newest_at(ledger: &Ledger) -> Result<Option<Timestamp>, StoreError> {
    let page = PageRequest {
        limit: 1,
        cursor: None,
    };
    let newest = ledger
        .events_page(Visibility::All, deia_model::EventFilter::default(), page)
        .await?;
    Ok(newest.items.first().map(|event| event.at))
}
