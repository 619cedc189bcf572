//! Reads of the event log, page by page, the newest first.
//!
//! Callers who see everything page through the log itself. Callers who see only some
//! tasks page through those, and through the events of each: neither a number, nor a
//! cursor, nor the length of a page reveals how much else happens (decision 12).

use deia_model::{Event, EventFilter, Page, TaskId, Visibility};
use rusqlite::{Connection, params};

use super::{
    lists::{SELECT_EVENT, below, chain, event},
    rows,
};

/// Maximum number of events, and of tasks that may have some, that one page examines. A
/// filter that matches little gives short pages instead of slow ones, and so do tasks
/// whose events were pruned. Fixed: bounds the time of one read; the next page goes on.
const SCAN_LIMIT: usize = 50_000;

/// The place where a page continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before this event of the log.
    Log(i64),
    /// Within this task, at its event with this number and before. The number stays
    /// that of the event, even when earlier ones are pruned meanwhile.
    Task(TaskId, u64),
}

impl Place {
    /// Returns the place that a cursor stands for, for a caller with that visibility.
    pub(super) fn parse(text: &str, visibility: &Visibility) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()?;
        let plain = std::str::from_utf8(&bytes).ok()?;
        let place = match plain.split(':').collect::<Vec<_>>()[..] {
            ["events", seq] => Self::Log(seq.parse().ok()?),
            ["events", task, upto] => Self::Task(task.parse().ok()?, upto.parse().ok()?),
            _ => return None,
        };
        let of_log = matches!(place, Self::Log(_));
        // Only the canonical encoding of a place is a cursor.
        (of_log == (*visibility == Visibility::All) && place.text() == text).then_some(place)
    }

    fn text(self) -> String {
        let plain = match self {
            Self::Log(seq) => format!("events:{seq}"),
            Self::Task(task, upto) => format!("events:{task}:{upto}"),
        };
        data_encoding::BASE64URL_NOPAD.encode(plain.as_bytes())
    }
}

/// A query for one page of events.
pub(super) struct List {
    pub(super) visibility: Visibility,
    pub(super) filter: EventFilter,
    pub(super) after: Option<Place>,
    pub(super) limit: u32,
}

/// Returns the matching events that are visible to the caller.
pub(super) fn events(db: &Connection, list: &List) -> rusqlite::Result<Page<Event>> {
    match &list.visibility {
        Visibility::All => of_log(db, list, SCAN_LIMIT),
        Visibility::SubmittedBy(user) => of_tasks(
            db,
            list,
            "tasks INDEXED BY tasks_submitter WHERE submitter",
            user,
            SCAN_LIMIT,
        ),
        Visibility::AssignedTo(bot) => of_tasks(
            db,
            list,
            "tasks INDEXED BY tasks_of_bot WHERE bot",
            bot.as_str(),
            SCAN_LIMIT,
        ),
        Visibility::Nothing => Ok(page(Vec::new(), None)),
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
        // Times follow the numbers, except when a clock was set back.
        last = Some(Place::Log(row.get(0)?));
        looked += 1;
        if list.filter.matches(&event) {
            items.push(event);
        }
    }
    Ok(page(items, None))
}

/// Returns the events of tasks, the newest task first. Each is numbered within its
/// task.
fn of_tasks(
    db: &Connection,
    list: &List,
    tasks: &str,
    whose: &str,
    look_at: usize,
) -> rusqlite::Result<Page<Event>> {
    let (from, upto) = match list.after {
        Some(Place::Task(id, upto)) => (Some(id), Some(upto)),
        _ => (None, None),
    };
    let before = match from {
        // The task itself again, unless it was deleted.
        Some(id) => below(db, Some(id))?.saturating_add(1),
        None => i64::MAX,
    };
    let sql = format!("SELECT id, last_event FROM {tasks} = ?2 AND seq < ?1 ORDER BY seq DESC");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params![before, whose])?;
    let (mut items, mut last, mut looked) = (Vec::new(), None, 0);
    while let Some(row) = found.next()? {
        let id = rows::task_id(row, 0)?;
        let upto = upto.filter(|_| from == Some(id));
        if from.is_some_and(|from| id > from) || upto == Some(0) {
            continue;
        }
        if looked >= look_at {
            return Ok(page(items, last));
        }
        looked += 1;
        let links = chain(db, row.get(1)?)?.into_iter().rev();
        for link in links.filter(|link| upto.is_none_or(|upto| link.ordinal <= upto)) {
            if items.len() == list.limit as usize || looked > look_at {
                return Ok(page(items, Some(Place::Task(id, link.ordinal))));
            }
            looked += 1;
            let event = link.numbered_in_task();
            if list.filter.matches(&event) {
                items.push(event);
            }
        }
        last = Some(Place::Task(id, 0));
    }
    Ok(page(items, None))
}

#[cfg(test)]
mod tests {
    use super::{super::schema, *};

    fn id(i: u8) -> TaskId {
        TaskId::from_bytes(u128::from(i).to_be_bytes())
    }

    /// Inserts a task of ada, with that event as its newest.
    fn insert_task(db: &Connection, i: u8, last_event: i64) {
        db.execute(
            "INSERT INTO tasks (id, type, priority, status, submitter, content, created_at, run_at,
                                max_attempts, timeout_seconds, last_event)
             VALUES (?1, 'general', 2, 1, 'ada', 'x', 1, 1, 1, 1, ?2)",
            params![id(i).as_bytes(), last_event],
        )
        .unwrap();
    }

    fn insert_event(db: &Connection, seq: i64, task: u8, ordinal: i64) {
        let prev = (ordinal > 1).then(|| seq - 1);
        db.execute(
            "INSERT INTO events (seq, at, action, level, actor, target, result, prev, ordinal)
             VALUES (?1, 1, 'task.submitted', 0, 'ada', ?2, 0, ?3, ?4)",
            params![seq, id(task).to_string(), prev, ordinal],
        )
        .unwrap();
    }

    /// Returns the events that a caller who sees ada's tasks reads, page by page.
    fn pages(db: &Connection, limit: u32, look_at: usize) -> Vec<Vec<Event>> {
        let tasks = "tasks INDEXED BY tasks_submitter WHERE submitter";
        let visibility = Visibility::SubmittedBy("ada".into());
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let list = List {
                visibility: visibility.clone(),
                filter: EventFilter::default(),
                after,
                limit,
            };
            let page = of_tasks(db, &list, tasks, "ada", look_at).unwrap();
            pages.push(page.items);
            let Some(cursor) = page.next_cursor else {
                return pages;
            };
            after = Place::parse(&cursor, &visibility);
            assert!(after.is_some() && pages.len() < 50, "{cursor}");
        }
    }

    #[test]
    fn tasks_whose_events_are_forgotten_count_as_looked_at() {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        insert_task(&db, 1, 100);
        insert_event(&db, 100, 1, 1);
        (2..=8).for_each(|i| insert_task(&db, i, i64::from(i)));
        for (look_at, expected) in [(1, 8), (2, 4), (3, 3), (9, 1)] {
            let pages = pages(&db, 100, look_at);
            assert_eq!(pages.len(), expected, "{look_at}");
            let last = pages.last().unwrap();
            assert_eq!(last[0].target.id, id(1).to_string());
            assert_eq!(pages.concat().len(), 1);
        }
    }

    #[test]
    fn a_cursor_is_of_one_kind_of_visibility() {
        let id = TaskId::new();
        let own = Visibility::SubmittedBy("ada".into());
        for place in [Place::Log(7), Place::Task(id, 3)] {
            let text = place.text();
            let of_log = matches!(place, Place::Log(_));
            let found = |visibility| Place::parse(&text, visibility);
            assert_eq!(found(&Visibility::All), of_log.then_some(place));
            assert_eq!(found(&own), (!of_log).then_some(place));
        }
        for plain in ["", "x", "events", "events:07", "tasks:1", "events:1:2:3"] {
            let text = data_encoding::BASE64URL_NOPAD.encode(plain.as_bytes());
            assert_eq!(Place::parse(&text, &Visibility::All), None, "{plain}");
        }
    }
}
