//! One client of the live stream: its cursor, and what comes next for it.

use std::{borrow::Cow, num::NonZero, sync::Arc, time::Duration};

use deia_ledger::{EventsPage, Ledger, StoreError};
use deia_model::{Event, EventFilter, EventGap, Position, TargetType, Visibility};
use tokio::sync::{Semaphore, watch};

use super::{
    StreamCut,
    hub::{Hub, Membership, Pulse},
    ids::EventIds,
    presence::{Presence, ReaderState},
    reader::logged,
    ring::{Batch, Covered, LoggedEvent, json},
};
use crate::HiveError;

/// Maximum number of events that one client looks at before others get their turn. Fixed:
/// bounds one step, so that others get their turn; the whole has no limit here.
const BATCH_EVENTS: NonZero<u32> = NonZero::<u32>::MIN.saturating_add(499);
/// Approximate maximum size of these events, in bytes. Fixed: a buffer, whose size
/// changes nothing that can be seen.
const BATCH_BYTES: u64 = 256 << 10;
const BATCH: Batch = Batch {
    events: BATCH_EVENTS.get() as usize,
    bytes: BATCH_BYTES as usize,
};
/// Pause before the log is asked again when the store is busy. Fixed: a fault is not
/// tried in a loop, and its end is noticed soon.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The events that a caller follows.
pub struct EventSubscription {
    membership: Membership,
    pulse: watch::Receiver<Pulse>,
    shared: Arc<Shared>,
    visibility: Visibility,
    filter: EventFilter,
    cursor: Position,
    /// The gap to report first.
    gap: Option<Gap>,
}

/// A place of the log that a client cannot be led through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Number of events that are past retention.
    missed: u64,
    /// True if the client was in a history that a restore has cut off, or beyond the end of the
    /// log.
    forked: bool,
    /// Position after which the client goes on.
    next: Position,
}

/// The next thing for a client.
#[derive(Debug)]
pub enum StreamItem {
    /// Events, the oldest first; at least one.
    Events(Vec<StreamedEvent>),
    /// Events that were not for the client: [`EventSubscription::last_id`] has moved.
    Passed,
    /// Events are missing here.
    Gap(EventGap),
    /// The live stream is suspended.
    Suspended,
    /// The hive stops or restarts.
    Stopping,
}

/// An event as one caller sees it.
#[derive(Debug)]
pub struct StreamedEvent {
    id: String,
    logged: Arc<LoggedEvent>,
    /// True if the number of the event is that within its task.
    numbered_in_task: bool,
}

/// Resources that all clients share.
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    /// Permits for reads of the log by clients.
    pub(super) log_reads: Semaphore,
    pub(super) ids: EventIds,
    pub(super) presence: Presence,
}

impl EventSubscription {
    /// Follows the events after `start`, or from now on. `head` is the end of the log.
    pub(super) fn new(
        shared: Arc<Shared>,
        membership: Membership,
        (visibility, filter): (Visibility, EventFilter),
        start: Option<Position>,
        head: Position,
    ) -> Self {
        let gap = start.and_then(|start| beyond(start, head));
        if gap.is_some() {
            membership.hub().metrics.gaps.add(1);
        }
        let next = gap.map(|gap| gap.next).or(start).unwrap_or(head);
        Self {
            pulse: membership.hub().pulse(),
            membership,
            shared,
            visibility,
            filter,
            cursor: next,
            gap,
        }
    }

    /// Returns the id from which the client can go on: that of the last event that was looked
    /// at, whether it matched or not.
    ///
    /// # Errors
    /// The system provided no random numbers.
    pub fn last_id(&self) -> Result<String, HiveError> {
        self.id(self.cursor)
    }

    /// Counts events that were handed to the client.
    pub fn note_sent(&self, events: usize) {
        self.hub().metrics.sent.add(events as u64);
    }

    /// Counts the stream as ended by the hive.
    pub fn note_cut(&self, cut: StreamCut) {
        self.hub().metrics.note_cut(cut);
    }

    /// Waits for what comes next. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> Result<StreamItem, HiveError> {
        if let Some(gap) = self.gap {
            let told = self.told(gap)?;
            self.gap = None;
            return Ok(StreamItem::Gap(told));
        }
        loop {
            if !self.pulse.borrow_and_update().running {
                match self.shared.presence.settled().await {
                    ReaderState::Running => continue,
                    ReaderState::Suspended => return Ok(StreamItem::Suspended),
                    ReaderState::Stopping => return Ok(StreamItem::Stopping),
                }
            }
            match self.hub().after(self.cursor, BATCH) {
                Covered::CaughtUp => self.changed().await,
                Covered::Events(events) => {
                    // Others get their turn, however much there is to look at.
                    tokio::task::yield_now().await;
                    return self.pass(events);
                }
                Covered::Outside => {
                    if let Some(item) = self.pass_from_log().await? {
                        return Ok(item);
                    }
                }
            }
        }
    }

    /// Passes the events of the log after the cursor. `None`: there are none now.
    async fn pass_from_log(&mut self) -> Result<Option<StreamItem>, HiveError> {
        let Some(page) = self.read_log().await? else {
            tokio::time::sleep(BUSY_PAUSE).await;
            return Ok(None);
        };
        if let Some(gap) = gap_in(self.cursor, &page) {
            let told = self.told(gap)?;
            self.cursor = gap.next;
            self.hub().metrics.gaps.add(1);
            return Ok(Some(StreamItem::Gap(told)));
        }
        if page.events.is_empty() {
            // The reader of the log has yet to begin.
            self.changed().await;
            return Ok(None);
        }
        self.pass(logged(page).collect()).map(Some)
    }

    /// Reads a page of the log, one client at a time: followers of the log use the same readers.
    /// `None`: the store is busy.
    async fn read_log(&self) -> Result<Option<EventsPage>, HiveError> {
        // The semaphore is never closed.
        let _permit = self.shared.log_reads.acquire().await;
        self.hub().metrics.log_reads.add(1);
        let ledger = &self.shared.ledger;
        let page = ledger.events_after(self.cursor, BATCH_EVENTS, BATCH_BYTES);
        match page.await {
            Ok(page) => Ok(Some(page)),
            Err(StoreError::Busy) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves the cursor past these events, and returns those for the client.
    fn pass(&mut self, events: Vec<Arc<LoggedEvent>>) -> Result<StreamItem, HiveError> {
        let next = events.last().map(|last| last.event.position());
        let numbered_in_task = self.visibility != Visibility::All;
        let for_client = events
            .into_iter()
            .filter(|logged| self.is_for(&logged.event));
        let for_client = for_client.map(|logged| {
            Ok::<_, HiveError>(StreamedEvent {
                id: self.id(logged.event.position())?,
                logged,
                numbered_in_task,
            })
        });
        let for_client = for_client.collect::<Result<Vec<_>, _>>()?;
        self.cursor = next.unwrap_or(self.cursor);
        Ok(match for_client.is_empty() {
            true => StreamItem::Passed,
            false => StreamItem::Events(for_client),
        })
    }

    fn is_for(&self, event: &Event) -> bool {
        sees(&self.visibility, event) && self.filter.matches(event)
    }

    async fn changed(&mut self) {
        // The sender lives as long as the hub, which this holds.
        let _ = self.pulse.changed().await;
    }

    fn told(&self, gap: Gap) -> Result<EventGap, HiveError> {
        let sees_all = self.visibility == Visibility::All;
        Ok(EventGap {
            missed: sees_all.then_some(gap.missed),
            forked: gap.forked,
            next: self.id(gap.next)?,
        })
    }

    fn id(&self, at: Position) -> Result<String, HiveError> {
        let id = self.shared.ids.text(&self.visibility, at);
        id.map_err(|error| HiveError::Internal(format!("ids of events: {error}")))
    }

    fn hub(&self) -> &Arc<Hub> {
        self.membership.hub()
    }
}

impl StreamedEvent {
    /// Returns the id with which to continue after the event.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of the action.
    pub fn action(&self) -> &str {
        self.logged.event.action.as_str()
    }

    /// Returns the event as JSON on one line.
    pub fn json(&self) -> Cow<'_, str> {
        match self.numbered_in_task {
            false => self.logged.json().into(),
            true => json(&Event {
                seq: self.logged.ordinal,
                ..self.logged.event.clone()
            })
            .into(),
        }
    }
}

/// Returns whether a caller with that visibility may see the event. As in the pages of the log,
/// callers who do not see everything see events of tasks alone.
fn sees(visibility: &Visibility, event: &Event) -> bool {
    let is_of_task = event.target.r#type == TargetType::Task.as_str();
    match visibility {
        Visibility::All => true,
        Visibility::SubmittedBy(user) => is_of_task && event.owner.as_deref() == Some(&**user),
        Visibility::AssignedTo(bot) => is_of_task && event.bot_id.as_ref() == Some(bot),
        Visibility::Nothing => false,
    }
}

/// Returns the gap for a client that starts beyond the end of the log: its id is of another
/// hive, or of a copy of this one that had more events.
fn beyond(start: Position, head: Position) -> Option<Gap> {
    let is_beyond =
        start.timeline > head.timeline || (start.timeline == head.timeline && start.seq > head.seq);
    is_beyond.then_some(Gap {
        missed: 0,
        forked: true,
        next: head,
    })
}

/// Returns the gap between a cursor and the page that was read after it.
fn gap_in(cursor: Position, page: &EventsPage) -> Option<Gap> {
    let gap = |next| Gap {
        missed: page.missed,
        forked: page.forked,
        next,
    };
    if page.forked {
        return Some(gap(page.next));
    }
    let next = Position {
        seq: cursor.seq + page.missed,
        ..cursor
    };
    (page.missed > 0).then(|| gap(next))
}

#[cfg(test)]
mod tests {
    use deia_model::Action;

    use super::{super::ring::tests::event, *};

    fn at(timeline: u64, seq: u64) -> Position {
        Position { timeline, seq }
    }

    #[test]
    fn start_beyond_the_end_of_the_log_is_told() {
        let head = at(2, 100);
        for (start, expected) in [
            (at(2, 100), false),
            (at(2, 1), false),
            // The store knows where older histories were cut off.
            (at(1, 500), false),
            (at(2, 101), true),
            (at(3, 1), true),
        ] {
            let gap = beyond(start, head);
            assert_eq!(gap.is_some(), expected, "{start}");
            assert!(gap.is_none_or(|gap| gap.forked && gap.next == head));
        }
    }

    #[test]
    fn gaps_say_where_the_client_goes_on() {
        let page = |missed, forked, next| EventsPage {
            events: Vec::new(),
            ordinals: Vec::new(),
            next,
            missed,
            forked,
            floor: 1,
            head: at(2, 90),
        };
        let cursor = at(1, 10);
        for (page, expected) in [
            (page(0, false, at(1, 20)), None),
            (page(5, false, at(1, 20)), Some((5, false, at(1, 15)))),
            (page(0, true, at(1, 7)), Some((0, true, at(1, 7)))),
        ] {
            let gap = gap_in(cursor, &page).map(|gap| (gap.missed, gap.forked, gap.next));
            assert_eq!(gap, expected, "{page:?}");
        }
    }

    #[test]
    fn callers_see_what_is_theirs() {
        let of_task = |owner: &str, bot: Option<&str>| Event {
            action: Action::TaskStarted.into(),
            target: deia_model::EventTarget {
                r#type: "task".into(),
                id: "task_x".into(),
            },
            owner: Some(owner.into()),
            bot_id: bot.map(|bot| bot.parse().unwrap()),
            ..event(1, 1)
        };
        // The caller's own, but about no task.
        let login = Event {
            owner: Some("ada".into()),
            ..event(1, 1)
        };
        let ada = Visibility::SubmittedBy("ada".into());
        let bot = Visibility::AssignedTo("b".parse().unwrap());
        for (event, expected) in [
            (of_task("ada", None), [true, true, false, false]),
            (of_task("bob", None), [true, false, false, false]),
            (of_task("bob", Some("b")), [true, false, true, false]),
            (of_task("ada", Some("c")), [true, true, false, false]),
            (login, [true, false, false, false]),
            (event(1, 1), [true, false, false, false]),
        ] {
            let seen = [&Visibility::All, &ada, &bot, &Visibility::Nothing];
            let seen = seen.map(|visibility| sees(visibility, &event));
            assert_eq!(seen, expected, "{event:?}");
        }
    }
}
