//! Reads of the event log, page by page, the newest first.
//!
//! Callers who see everything page through the log itself. Callers who see only some
//! tasks page through those, and through the events of each: neither a number, nor a
//! cursor, nor the length of a page tells how much else happens (decision 12).

use deia_model::{Event, EventFilter, Page, Sight, TaskId};
use rusqlite::{Connection, params};

use super::{
    lists::{SELECT_EVENT, below, event, task_events},
    rows,
};

/// Events that one page looks at. A filter that matches little gives short pages
/// instead of slow ones.
const LOOK_AT: usize = 50_000;

/// The place where a page continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before this event of the log.
    Log(i64),
    /// Within this task, with that number of its oldest events left.
    Task(TaskId, usize),
}

impl Place {
    /// Returns the place that a cursor stands for, for a caller of that sight.
    pub(super) fn parse(text: &str, sight: &Sight) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()?;
        let plain = std::str::from_utf8(&bytes).ok()?;
        let place = match plain.split(':').collect::<Vec<_>>()[..] {
            ["events", seq] => Self::Log(seq.parse().ok()?),
            ["events", task, left] => Self::Task(task.parse().ok()?, left.parse().ok()?),
            _ => return None,
        };
        let of_log = matches!(place, Self::Log(_));
        // Only the canonical encoding of a place is a cursor.
        (of_log == (*sight == Sight::All) && place.text() == text).then_some(place)
    }

    fn text(self) -> String {
        let plain = match self {
            Self::Log(seq) => format!("events:{seq}"),
            Self::Task(task, left) => format!("events:{task}:{left}"),
        };
        data_encoding::BASE64URL_NOPAD.encode(plain.as_bytes())
    }
}

/// A query for one page of events.
pub(super) struct List {
    pub(super) sight: Sight,
    pub(super) filter: EventFilter,
    pub(super) after: Option<Place>,
    pub(super) limit: u32,
}

/// Returns the wanted events that somebody sees.
pub(super) fn events(db: &Connection, list: &List) -> rusqlite::Result<Page<Event>> {
    match &list.sight {
        Sight::All => of_log(db, list, LOOK_AT),
        Sight::SubmittedBy(user) => of_tasks(
            db,
            list,
            "tasks INDEXED BY tasks_submitter WHERE submitter",
            user,
        ),
        Sight::AssignedTo(bot) => of_tasks(
            db,
            list,
            "tasks INDEXED BY tasks_of_bot WHERE bot",
            bot.as_str(),
        ),
        Sight::Nothing => Ok(page(Vec::new(), None)),
    }
}

fn page(items: Vec<Event>, place: Option<Place>) -> Page<Event> {
    Page {
        items,
        next_cursor: place.map(Place::text),
    }
}

fn of_log(db: &Connection, list: &List, look_at: usize) -> rusqlite::Result<Page<Event>> {
    let before = match list.after {
        Some(Place::Log(seq)) => seq,
        _ => i64::MAX,
    };
    let sql = format!("{SELECT_EVENT} WHERE seq < ?1 ORDER BY seq DESC");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([before])?;
    let (mut items, mut last, mut looked) = (Vec::new(), None, 0);
    while let Some(row) = found.next()? {
        if items.len() == list.limit as usize || looked == look_at {
            return Ok(page(items, last));
        }
        let event = event(row)?;
        // Times follow the numbers, up to a clock that was set back.
        last = Some(Place::Log(row.get(0)?));
        looked += 1;
        if list.filter.matches(&event) {
            items.push(event);
        }
    }
    Ok(page(items, None))
}

/// The events of tasks, the newest task first. Each is numbered within its task.
fn of_tasks(
    db: &Connection,
    list: &List,
    tasks: &str,
    whose: &str,
) -> rusqlite::Result<Page<Event>> {
    let (from, mut left) = match list.after {
        Some(Place::Task(id, left)) => (Some(id), Some(left)),
        _ => (None, None),
    };
    let before = match from {
        // The task itself again, unless it is forgotten.
        Some(id) => below(db, Some(id))?.saturating_add(1),
        None => i64::MAX,
    };
    let sql = format!("SELECT id FROM {tasks} = ?2 AND seq < ?1 ORDER BY seq DESC");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params![before, whose])?;
    let (mut items, mut looked) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let id = rows::task_id(row, 0)?;
        if from.is_some_and(|from| id > from) {
            continue;
        }
        let mut events = task_events(db, id)?;
        if from == Some(id) {
            events.truncate(left.take().unwrap_or_default());
        }
        while let Some(mut event) = events.pop() {
            if items.len() == list.limit as usize || looked >= LOOK_AT {
                return Ok(page(items, Some(Place::Task(id, events.len() + 1))));
            }
            looked += 1;
            event.seq = events.len() as u64 + 1;
            if list.filter.matches(&event) {
                items.push(event);
            }
        }
    }
    Ok(page(items, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_one_kind_of_sight() {
        let id = TaskId::new();
        let own = Sight::SubmittedBy("ada".into());
        for place in [Place::Log(7), Place::Task(id, 3)] {
            let text = place.text();
            let of_log = matches!(place, Place::Log(_));
            let found = |sight| Place::parse(&text, sight);
            assert_eq!(found(&Sight::All), of_log.then_some(place));
            assert_eq!(found(&own), (!of_log).then_some(place));
        }
        for plain in ["", "x", "events", "events:07", "tasks:1", "events:1:2:3"] {
            let text = data_encoding::BASE64URL_NOPAD.encode(plain.as_bytes());
            assert_eq!(Place::parse(&text, &Sight::All), None, "{plain}");
        }
    }
}
