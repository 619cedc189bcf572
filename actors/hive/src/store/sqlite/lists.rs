//! Reads of lists, page by page.

use rusqlite::{Connection, params_from_iter, types::Value};

use super::rows;
use crate::model::{Action, Event, EventLevel, EventResult, Page, Task, TaskFilter};

/// What a cursor of [`tasks`] stands for; `None` when it is none.
pub(super) fn cursor(text: &str) -> Option<i64> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    text.strip_prefix("tasks:")?
        .parse()
        .ok()
        .filter(|seq| *seq > 0)
}

fn cursor_text(seq: i64) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("tasks:{seq}").as_bytes())
}

/// Tasks without their content, newest first, before `after`.
pub(super) fn tasks(
    db: &Connection,
    filter: &TaskFilter,
    after: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Page<Task>> {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |sql: &'static str, value: Value| {
        conditions.push(sql);
        values.push(value);
    };
    // A partial index needs its status as a literal.
    if let Some(status) = filter.status {
        condition("status = ?", i64::from(rows::status_code(status)).into());
    }
    if let Some(task_type) = &filter.task_type {
        condition("type = ?", task_type.to_string().into());
    }
    if let Some(priority) = filter.priority {
        condition("priority = ?", i64::from(priority.rank()).into());
    }
    if let Some(bot) = &filter.bot {
        condition("bot = ?", bot.to_string().into());
    }
    if let Some(submitter) = &filter.submitter {
        condition("submitter = ?", submitter.clone().into());
    }
    if let Some(after) = after {
        condition("seq < ?", after.into());
    }
    let filter_sql = if conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.join(" AND "))
    };
    values.push((i64::from(limit) + 1).into());
    let sql = format!(
        "SELECT {} FROM tasks {filter_sql} ORDER BY seq DESC LIMIT ?",
        rows::TASK_COLUMNS
    );
    let mut found = db
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), rows::task_with_seq)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found
        .last()
        .filter(|_| more)
        .map(|(seq, _)| cursor_text(*seq));
    let items = found
        .into_iter()
        .map(|(_, task)| Task {
            content: None,
            ..task
        })
        .collect();
    Ok(Page { items, next_cursor })
}

/// Events after that sequence number, in order.
pub(super) fn events(db: &Connection, after: u64, limit: u32) -> rusqlite::Result<Vec<Event>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    db.prepare_cached(
        "SELECT seq, at, action, level, actor, target, result, details, trace_id FROM events
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?
    .query_map([after, i64::from(limit)], |row| {
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
    })?
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_others_are_refused() {
        assert_eq!(cursor(&cursor_text(42)), Some(42));
        for text in ["", "42", "dGFza3M6", "dGFza3M6LTE", "ünlaut"] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
