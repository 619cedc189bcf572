//! Reads of lists, page by page.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows;
use crate::model::{
    Action, BotName, EndReason, Event, EventLevel, EventResult, Page, Task, TaskFilter, TaskId,
    TaskStatus, TaskType,
};

/// What a cursor of the list of tasks stands for; `None` when it is none. It is the id of
/// a task: a number of the row would tell how many tasks of others there are.
pub fn cursor(text: &str) -> Option<TaskId> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?;
    let plain = std::str::from_utf8(&bytes).ok()?;
    let id = plain.strip_prefix("tasks:")?.parse().ok()?;
    // Of the ways to write an id one is that of a cursor.
    (cursor_text(id) == text).then_some(id)
}

fn cursor_text(id: TaskId) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("tasks:{id}").as_bytes())
}

/// The rows from which a list goes on are below this number. Ids are in order of
/// submission, so the place of a task that was forgotten meanwhile is known, too.
fn below(db: &Connection, after: Option<TaskId>) -> rusqlite::Result<i64> {
    let Some(id) = after else {
        return Ok(i64::MAX);
    };
    let mut next_newer =
        db.prepare_cached("SELECT seq FROM tasks WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    let seq = next_newer.query_row([id.as_bytes()], |row| row.get(0));
    Ok(seq.optional()?.unwrap_or(i64::MAX))
}

/// Rows that one page looks at. A filter that matches little gives short pages
/// instead of slow ones.
const LOOK_AT: usize = 50_000;

/// Which rows are looked at: what is rare has an index of its own, in order of
/// submission. A partial index needs its status as a literal.
fn source(filter: &TaskFilter) -> &'static str {
    match (filter.status, &filter.submitter) {
        // How much of the others there is makes no difference to who sees only
        // their own.
        (Some(TaskStatus::Failed), Some(_)) => {
            "tasks INDEXED BY tasks_failed_of WHERE status = 4 AND submitter = ?2 AND"
        }
        (Some(TaskStatus::Cancelled), Some(_)) => {
            "tasks INDEXED BY tasks_cancelled_of WHERE status = 5 AND submitter = ?2 AND"
        }
        (Some(TaskStatus::Failed), _) => "tasks INDEXED BY tasks_list_failed WHERE status = 4 AND",
        (Some(TaskStatus::Cancelled), _) => {
            "tasks INDEXED BY tasks_list_cancelled WHERE status = 5 AND"
        }
        (_, Some(_)) => "tasks INDEXED BY tasks_submitter WHERE submitter = ?2 AND",
        _ => "tasks NOT INDEXED WHERE",
    }
}

/// Tasks without their content, newest first, before `after`.
pub(super) fn tasks(
    db: &Connection,
    filter: &TaskFilter,
    after: Option<TaskId>,
    limit: u32,
) -> rusqlite::Result<Page<Task>> {
    if filter.status == Some(TaskStatus::Running) {
        return running(db, filter, after, limit);
    }
    let source = source(filter);
    let sql = format!(
        "SELECT {} FROM {source} seq < ?1 ORDER BY seq DESC",
        rows::TASK_COLUMNS
    );
    let mut statement = db.prepare_cached(&sql)?;
    let before = below(db, after)?;
    let mut found = match source.contains("?2") {
        true => statement.query(params![before, filter.submitter])?,
        false => statement.query([before])?,
    };
    let mut items = Vec::new();
    let (mut looked, mut last) = (0, None);
    let mut more = false;
    while let Some(row) = found.next()? {
        if items.len() == limit as usize || looked == LOOK_AT {
            more = true;
            break;
        }
        (looked, last) = (looked + 1, Some(rows::task_id(row, 1)?));
        if matches(row, filter)? {
            items.push(without_content(row)?);
        }
    }
    Ok(Page {
        items,
        next_cursor: last.filter(|_| more).map(cursor_text),
    })
}

/// Running tasks: never more than the bots have places for, so they are sorted.
fn running(
    db: &Connection,
    filter: &TaskFilter,
    after: Option<TaskId>,
    limit: u32,
) -> rusqlite::Result<Page<Task>> {
    let sql = format!(
        "SELECT {} FROM tasks INDEXED BY tasks_running WHERE status = 2 AND seq < ?1 ORDER BY seq DESC",
        rows::TASK_COLUMNS
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([below(db, after)?])?;
    let mut items = Vec::new();
    let mut last = None;
    while let Some(row) = found.next()? {
        if !matches(row, filter)? {
            continue;
        }
        if items.len() == limit as usize {
            let next_cursor = last.map(cursor_text);
            return Ok(Page { items, next_cursor });
        }
        last = Some(rows::task_id(row, 1)?);
        items.push(without_content(row)?);
    }
    Ok(Page {
        items,
        next_cursor: None,
    })
}

fn without_content(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        content: None,
        ..rows::stored_task(row)?.task
    })
}

/// Whether the row, in the order of [`rows::TASK_COLUMNS`], is wanted.
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
        && text_is(24, filter.dedup_key.as_deref())?;
    if !plain || (filter.tags.is_empty() && filter.metadata.is_empty()) {
        return Ok(plain);
    }
    let extra: Option<String> = row.get(7)?;
    match extra {
        None => Ok(false),
        Some(text) => Ok(rows::from_json::<rows::Extra>(7, &text)?.matches(filter)),
    }
}

/// The newest events of one task that are shown.
const TASK_EVENTS: usize = 1_000;

/// The events of one task, oldest first: each names the one before.
pub(super) fn task_events(db: &Connection, id: TaskId) -> rusqlite::Result<Vec<Event>> {
    let mut next: Option<i64> = db
        .prepare_cached("SELECT last_event FROM tasks WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?
        .flatten();
    let sql = format!("{SELECT_EVENT} WHERE seq = ?1");
    let mut find = db.prepare_cached(&sql)?;
    let mut events = Vec::new();
    while let Some(seq) = next.take().filter(|_| events.len() < TASK_EVENTS) {
        let found = find.query_row([seq], |row| {
            Ok((event(row)?, row.get::<_, Option<i64>>(9)?))
        });
        if let Some((event, prev)) = found.optional()? {
            events.push(event);
            next = prev;
        }
    }
    events.reverse();
    Ok(events)
}

const SELECT_EVENT: &str =
    "SELECT seq, at, action, level, actor, target, result, details, trace_id, prev FROM events";

/// Events after that sequence number, in order.
pub(super) fn events(db: &Connection, after: u64, limit: u32) -> rusqlite::Result<Vec<Event>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let sql = format!("{SELECT_EVENT} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    db.prepare_cached(&sql)?
        .query_map([after, i64::from(limit)], event)?
        .collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let action: String = row.get(2)?;
    let details: Option<String> = row.get(7)?;
    Ok(Event {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        at: rows::time(row, 1)?,
        action: Action::parse(&action)
            .ok_or_else(|| rows::broken(2, format!("{action} is no action")))?,
        level: match row.get::<_, u8>(3)? {
            0 => EventLevel::Info,
            1 => EventLevel::Warning,
            _ => EventLevel::Critical,
        },
        actor: row.get(4)?,
        target: row.get(5)?,
        result: match row.get::<_, u8>(6)? {
            0 => EventResult::Success,
            1 => EventResult::Failure,
            _ => EventResult::Partial,
        },
        details: details
            .map(|text| rows::from_json(7, &text))
            .transpose()?
            .unwrap_or_default(),
        trace_id: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_cursor_is_refused() {
        let id = TaskId::from_bytes([7; 16]);
        let encoded = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
        assert_eq!(cursor(&encoded(&format!("tasks:{id}"))), Some(id));
        for text in ["", "42", "tasks:", "tasks:42", "tasks:task_", "users:ada"] {
            assert_eq!(cursor(text), None, "{text}");
            assert_eq!(cursor(&encoded(text)), None, "{text}");
        }
        let shouted = format!("tasks:{}", id.to_string().to_uppercase());
        assert_eq!(cursor(&encoded(&shouted)), None);
        assert_eq!(cursor("\u{fc}nlaut"), None);
    }

    proptest! {
        #[test]
        fn every_cursor_reads_back(bytes in proptest::array::uniform16(0u8..)) {
            let id = TaskId::from_bytes(bytes);
            prop_assert_eq!(cursor(&cursor_text(id)), Some(id));
        }

        #[test]
        fn what_is_read_was_given_out(text in "\\PC{0,40}|dGFza3M6[A-Za-z0-9_-]{0,48}") {
            if let Some(id) = cursor(&text) {
                prop_assert_eq!(cursor_text(id), text);
            }
        }
    }
}
