//! Reads of lists, page by page.

use deia_model::{
    BotName, EndReason, Event, EventAction, EventLevel, EventResult, EventTarget, Page, Task,
    TaskFilter, TaskId, TaskStatus, TaskType, Visibility,
};
use rusqlite::{
    Connection, OptionalExtension, Row, params,
    types::{ToSqlOutput, ValueRef},
};
use serde_json::{Map, Value};

use super::{read::is_visible, rows, unreadable::lenient};

/// Returns the task that a cursor of the list of tasks stands for; `None` if the cursor
/// is invalid. It is the id of a task: a row number would reveal how many tasks of
/// others there are.
pub fn cursor(text: &str) -> Option<TaskId> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?;
    let plain = std::str::from_utf8(&bytes).ok()?;
    let id = plain.strip_prefix("tasks:")?.parse().ok()?;
    // Only one of the ways to write an id is a valid cursor.
    (cursor_text(id) == text).then_some(id)
}

fn cursor_text(id: TaskId) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("tasks:{id}").as_bytes())
}

/// Returns the row number below which a list continues. Ids are in order of submission,
/// so the place of a task that was deleted meanwhile is known, too.
pub(super) fn below(db: &Connection, after: Option<TaskId>) -> rusqlite::Result<i64> {
    let Some(id) = after else {
        return Ok(i64::MAX);
    };
    let mut next_newer =
        db.prepare_cached("SELECT seq FROM tasks WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    let seq = next_newer.query_row([id.as_bytes()], |row| row.get(0));
    Ok(seq.optional()?.unwrap_or(i64::MAX))
}

/// Maximum number of rows that one page examines. A filter that matches little gives
/// short pages instead of slow ones. Fixed: bounds the time of one read; the next page
/// goes on.
const SCAN_LIMIT: usize = 50_000;

/// A query for tasks, among those visible to the caller.
pub(super) struct List {
    pub(super) visibility: Visibility,
    pub(super) filter: TaskFilter,
    pub(super) after: Option<TaskId>,
    pub(super) limit: u32,
}

/// Returns the source of the rows to examine, with its `?2`. Callers with restricted
/// visibility must not examine rows of others: the cursor of a short page, and the time
/// that it takes, would reveal them. Otherwise rare statuses have an index of their
/// own, in order of submission. A partial index needs its status as a literal.
fn source<'a>(
    visibility: &'a Visibility,
    filter: &'a TaskFilter,
) -> (&'static str, Option<ValueRef<'a>>) {
    let text = |text: &'a str| ValueRef::Text(text.as_bytes());
    let asked = (filter.submitter.as_deref(), filter.bot.as_ref());
    let (submitter, bot) = match visibility {
        Visibility::All | Visibility::Nothing => asked,
        Visibility::SubmittedBy(user) => (Some(&**user), None),
        Visibility::AssignedTo(bot) => (None, Some(bot)),
    };
    let sees_all = *visibility == Visibility::All;
    if let (true, Some(session)) = (sees_all, &filter.session) {
        let of_session =
            "tasks INDEXED BY tasks_of_session WHERE session IS NOT NULL AND session = ?2 AND";
        return (of_session, Some(ValueRef::Blob(session.as_bytes())));
    }
    let submitter = submitter.map(text);
    match (filter.status, submitter, bot.map(BotName::as_str).map(text)) {
        (Some(TaskStatus::Running), _, bot @ Some(_)) => (
            "tasks INDEXED BY tasks_running WHERE status = 2 AND bot = ?2 AND",
            bot,
        ),
        // Never more than the bots have slots.
        (Some(TaskStatus::Running), ..) => {
            ("tasks INDEXED BY tasks_running WHERE status = 2 AND", None)
        }
        (Some(TaskStatus::Failed), submitter @ Some(_), _) => (
            "tasks INDEXED BY tasks_failed_of WHERE status = 4 AND submitter = ?2 AND",
            submitter,
        ),
        (Some(TaskStatus::Cancelled), submitter @ Some(_), _) => (
            "tasks INDEXED BY tasks_cancelled_of WHERE status = 5 AND submitter = ?2 AND",
            submitter,
        ),
        (Some(TaskStatus::Failed), ..) if sees_all => (
            "tasks INDEXED BY tasks_list_failed WHERE status = 4 AND",
            None,
        ),
        (Some(TaskStatus::Cancelled), ..) if sees_all => (
            "tasks INDEXED BY tasks_list_cancelled WHERE status = 5 AND",
            None,
        ),
        (_, submitter @ Some(_), _) => (
            "tasks INDEXED BY tasks_submitter WHERE submitter = ?2 AND",
            submitter,
        ),
        (_, None, bot @ Some(_)) => ("tasks INDEXED BY tasks_of_bot WHERE bot = ?2 AND", bot),
        (_, None, None) => ("tasks NOT INDEXED WHERE", None),
    }
}

/// Returns tasks without their content, newest first, before `after`.
pub(super) fn tasks(db: &Connection, list: List) -> rusqlite::Result<Page<Task>> {
    page(db, list, SCAN_LIMIT)
}

fn page(db: &Connection, mut list: List, look_at: usize) -> rusqlite::Result<Page<Task>> {
    let mut items = Vec::new();
    if !list.visibility.restrict(&mut list.filter) {
        let next_cursor = None;
        return Ok(Page { items, next_cursor });
    }
    let (source, whose) = source(&list.visibility, &list.filter);
    let sql = format!(
        "SELECT {} FROM {source} seq < ?1 ORDER BY seq DESC",
        rows::TASK_COLUMNS
    );
    let mut statement = db.prepare_cached(&sql)?;
    let before = below(db, list.after)?;
    let mut found = match whose {
        Some(whose) => statement.query(params![before, ToSqlOutput::Borrowed(whose)])?,
        None => statement.query([before])?,
    };
    // Running tasks are few, and those of others must not be revealed.
    let only_wanted = list.filter.status == Some(TaskStatus::Running);
    let (mut looked, mut last) = (0, None);
    let mut more = false;
    while let Some(row) = found.next()? {
        let Some(wanted) = lenient("tasks", row, |row| matches(row, &list.filter))? else {
            continue;
        };
        if only_wanted && !wanted {
            continue;
        }
        if items.len() == list.limit as usize || looked == look_at {
            more = true;
            break;
        }
        (looked, last) = (looked + 1, Some(rows::task_id(row, 1)?));
        if wanted {
            items.extend(lenient("tasks", row, without_content)?);
        }
    }
    Ok(Page {
        items,
        next_cursor: last.filter(|_| more).map(cursor_text),
    })
}

fn without_content(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        content: None,
        ..rows::stored_task(row)?.task
    })
}

/// Returns whether the row, in the order of [`rows::TASK_COLUMNS`], matches.
fn matches(row: &Row<'_>, filter: &TaskFilter) -> rusqlite::Result<bool> {
    let text_is = |column: usize, wanted: Option<&str>| -> rusqlite::Result<bool> {
        Ok(match wanted {
            None => true,
            Some(wanted) => row
                .get_ref(column)?
                .as_str()
                .is_ok_and(|text| text == wanted),
        })
    };
    let created: i64 = row.get(9)?;
    let in_time = filter
        .created_after
        .is_none_or(|at| created >= at.as_millis())
        && filter
            .created_before
            .is_none_or(|at| created < at.as_millis());
    let plain = in_time
        && filter.status.map_or(Ok(true), |wanted| {
            rows::status(row, 4).map(|is| is == wanted)
        })?
        && filter.priority.map_or(Ok(true), |wanted| {
            rows::priority(row, 3).map(|is| is == wanted)
        })?
        && text_is(2, filter.task_type.as_ref().map(TaskType::as_str))?
        && text_is(5, filter.submitter.as_deref())?
        && text_is(18, filter.bot.as_ref().map(BotName::as_str))?
        && text_is(22, filter.end_reason.map(EndReason::as_str))?
        && text_is(24, filter.dedup_key.as_deref())?
        && filter.session.map_or(Ok(true), |wanted| {
            rows::session_id(row, rows::SESSION_COLUMN).map(|is| is == Some(wanted))
        })?;
    if !plain || (filter.tags.is_empty() && filter.metadata.is_empty()) {
        return Ok(plain);
    }
    let extra: Option<String> = row.get(7)?;
    match extra {
        None => Ok(false),
        Some(text) => Ok(rows::from_json::<rows::Extra>(7, &text)?.matches(filter)),
    }
}

/// Maximum number of events of one task that are shown, the newest. Fact: the API, whose
/// schema states it.
const TASK_EVENTS: usize = 1_000;

/// Returns the events of one task, oldest first, for a caller with that visibility.
pub(super) fn task_events(
    db: &Connection,
    id: TaskId,
    visibility: &Visibility,
) -> rusqlite::Result<Vec<Event>> {
    if !is_visible(db, id, visibility)? {
        return Ok(Vec::new());
    }
    let newest = db
        .prepare_cached("SELECT last_event FROM tasks WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?;
    let links = chain(db, newest.flatten())?.into_iter();
    Ok(match visibility {
        Visibility::All => links.map(|link| link.event).collect(),
        _ => links.map(Link::numbered_in_task).collect(),
    })
}

/// An event of a task.
pub(super) struct Link {
    /// The number of the event among all events of the task, from 1.
    pub(super) ordinal: u64,
    pub(super) event: Event,
}

impl Link {
    /// Returns the event for callers who may not learn how much happened to other
    /// tasks.
    pub(super) fn numbered_in_task(self) -> Event {
        Event {
            seq: self.ordinal,
            ..self.event
        }
    }
}

/// Returns the stored events that lead to the given one, oldest first: each refers to
/// the previous one of the same task.
pub(super) fn chain(db: &Connection, newest: Option<i64>) -> rusqlite::Result<Vec<Link>> {
    let mut next = newest;
    let sql = format!("{SELECT_EVENT} WHERE seq = ?1");
    let mut find = db.prepare_cached(&sql)?;
    let mut links = Vec::new();
    while let Some(seq) = next.take().filter(|_| links.len() < TASK_EVENTS) {
        let found = find.query_row([seq], |row| {
            let ordinal = ordinal(row)?;
            let event = event(row)?;
            Ok((Link { ordinal, event }, row.get::<_, Option<i64>>(9)?))
        });
        if let Some((link, prev)) = found.optional()? {
            links.push(link);
            next = prev;
        }
    }
    links.reverse();
    Ok(links)
}

pub(super) const SELECT_EVENT: &str =
    "SELECT seq, at, action, level, coalesce(actor, bot, owner), target, result, details, trace_id, prev,
            target_type, owner, task_type, bot, tags, attempt, status, session_id, v,
            (SELECT max(timeline) FROM timelines WHERE first_seq <= seq), ordinal, wait_ms, run_ms
     FROM events";

/// Returns events after a sequence number, in order.
#[cfg(any(test, feature = "testing"))]
pub(super) fn events(db: &Connection, after: u64, limit: u32) -> rusqlite::Result<Vec<Event>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let sql = format!("{SELECT_EVENT} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    db.prepare_cached(&sql)?
        .query_map([after, i64::from(limit)], event)?
        .collect()
}

/// Returns the number of an event among those of its task, from 1; 0 for others.
pub(super) fn ordinal(row: &Row<'_>) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Option<i64>>(20)?.unwrap_or(0).unsigned_abs())
}

pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let action: EventAction = row.get::<_, String>(2)?.into();
    let tags: Option<String> = row.get(14)?;
    Ok(Event {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        at: rows::time(row, 1)?,
        timeline: row.get::<_, Option<i64>>(19)?.unwrap_or(1).unsigned_abs(),
        level: match row.get::<_, i64>(3)? {
            0 => EventLevel::Info,
            1 => EventLevel::Warning,
            _ => EventLevel::Critical,
        },
        actor: row.get(4)?,
        target: EventTarget {
            r#type: target_type(row.get(10)?, &action),
            id: target_id(row)?,
        },
        owner: row.get(11)?,
        // An unknown value of a newer version must not hide the event.
        task_type: row
            .get::<_, Option<String>>(12)?
            .and_then(|text| text.parse().ok()),
        bot_id: row
            .get::<_, Option<String>>(13)?
            .and_then(|text| text.parse().ok()),
        tags: tags
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        attempt: row
            .get::<_, Option<i64>>(15)?
            .and_then(|n| n.try_into().ok()),
        status: rows::status(row, 16).ok(),
        session_id: row.get(17)?,
        v: u32::try_from(row.get::<_, i64>(18)?).unwrap_or(u32::MAX),
        result: match row.get::<_, i64>(6)? {
            0 => EventResult::Success,
            1 => EventResult::Failure,
            _ => EventResult::Partial,
        },
        details: details(row)?,
        trace_id: row.get(8)?,
        action,
    })
}

fn target_id(row: &Row<'_>) -> rusqlite::Result<String> {
    match row.get_ref(5)? {
        ValueRef::Blob(_) => Ok(rows::task_id(row, 5)?.to_string()),
        _ => row.get(5),
    }
}

/// Returns the details: the stored ones, and the times that have columns of their own.
fn details(row: &Row<'_>) -> rusqlite::Result<Value> {
    let stored: Option<String> = row.get(7)?;
    // Text that is not JSON is better than a gap in the log.
    let mut details = stored.map_or(Value::Null, |text| {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    });
    for (name, column) in [("wait_ms", 21), ("run_ms", 22)] {
        let Some(ms) = row.get::<_, Option<i64>>(column)? else {
            continue;
        };
        if details.is_null() {
            details = Value::Object(Map::new());
        }
        if let Value::Object(details) = &mut details {
            details.insert(name.to_owned(), ms.into());
        }
    }
    Ok(details)
}

/// Returns the type of a target: the stored one, or that of the action.
fn target_type(stored: Option<String>, action: &EventAction) -> String {
    let of_action = || match action {
        EventAction::Known(action) => action.target_type().as_str().to_owned(),
        EventAction::Other(name) => name.split('.').next().unwrap_or(name).to_owned(),
    };
    stored.unwrap_or_else(of_action)
}

#[cfg(test)]
mod tests;
