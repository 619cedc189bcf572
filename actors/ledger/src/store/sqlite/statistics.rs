//! The stored statistics, and the events that they are counted from.

use std::num::NonZero;

use deia_model::{Action, AttemptOutcomeKind};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;

use super::rows;
use crate::{CountedEvent, EventCounts, Histogram, Statistics, StatisticsRow};

/// The columns that counting needs, and no others: every event passes here.
const SELECT_COUNTED: &str = "SELECT seq, at, action, task_type, bot, wait_ms, run_ms, details
     FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// The part of the details of an event that is counted.
#[derive(Deserialize)]
struct Details<'a> {
    outcome: Option<&'a str>,
}

/// Counts at most `max_events` events after `from`. Returns the number of the last one,
/// too.
pub(super) fn count(
    db: &Connection,
    from: u64,
    max_events: NonZero<u32>,
) -> rusqlite::Result<(EventCounts, Option<u64>)> {
    let mut statement = db.prepare_cached(SELECT_COUNTED)?;
    let mut found = statement.query(params![number(from), max_events.get()])?;
    let (mut counts, mut last) = (EventCounts::default(), None);
    while let Some(row) = found.next()? {
        last = Some(row.get::<_, i64>(0)?.unsigned_abs());
        counts.passed(rows::time(row, 1)?);
        if let Some(event) = counted(row)? {
            counts.add(&event);
        }
    }
    Ok((counts, last))
}

/// Decodes an event of a task; `None` for others, and for actions of a newer version.
fn counted<'r>(row: &'r Row<'_>) -> rusqlite::Result<Option<CountedEvent<'r>>> {
    let text = |at: usize| {
        let text = row.get_ref(at)?.as_str_or_null();
        Ok::<_, rusqlite::Error>(text.ok().flatten())
    };
    let action = text(2)?.and_then(Action::parse);
    let Some((action, task_type)) = action.zip(text(3)?) else {
        return Ok(None);
    };
    let details = text(7)?.and_then(|text| serde_json::from_str::<Details<'_>>(text).ok());
    let outcome = details.and_then(|details| details.outcome?.parse::<AttemptOutcomeKind>().ok());
    let duration = |at: usize| row.get::<_, Option<i64>>(at).map(Option::unwrap_or_default);
    Ok(Some(CountedEvent {
        at: rows::time(row, 1)?,
        action,
        task_type,
        bot: text(4)?.unwrap_or_default(),
        wait_ms: duration(5)?.unsigned_abs(),
        run_ms: duration(6)?.unsigned_abs(),
        outcome,
    }))
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Adds rows to the stored statistics, and deletes those of the hours before `keep_from`.
pub(super) fn add(
    db: &Connection,
    added: &[StatisticsRow],
    keep_from: u32,
) -> rusqlite::Result<()> {
    let sql = format!("{SELECT_STATISTICS} WHERE hour = ?1 AND type = ?2 AND bot = ?3");
    let mut find = db.prepare_cached(&sql)?;
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO statistics
             (hour, type, bot, submitted, started, completed, failed, cancelled, retried, returned, waits,
              runs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for more in added {
        let found = find.query_row(params![more.hour, more.task_type, more.bot], statistics_row);
        let mut row = found.optional()?.unwrap_or_else(|| StatisticsRow {
            hour: more.hour,
            task_type: more.task_type.clone(),
            bot: more.bot.clone(),
            ..StatisticsRow::default()
        });
        row.merge(more);
        put.execute(params![
            row.hour,
            row.task_type,
            row.bot,
            number(row.submitted),
            number(row.started),
            number(row.completed),
            number(row.failed),
            number(row.cancelled),
            number(row.retried),
            number(row.returned),
            row.waits.to_bytes(),
            row.runs.to_bytes(),
        ])?;
    }
    db.prepare_cached("DELETE FROM statistics WHERE hour < ?1")?
        .execute([keep_from])?;
    Ok(())
}

const SELECT_STATISTICS: &str =
    "SELECT hour, type, bot, submitted, started, completed, failed, cancelled, retried, returned, waits, runs
     FROM statistics";

fn statistics_row(row: &Row<'_>) -> rusqlite::Result<StatisticsRow> {
    let count = |at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
    let histogram = |at: usize| {
        let bytes: Vec<u8> = row.get(at)?;
        Ok::<_, rusqlite::Error>(Histogram::from_bytes(&bytes).unwrap_or_default())
    };
    Ok(StatisticsRow {
        hour: row.get(0)?,
        task_type: row.get(1)?,
        bot: row.get(2)?,
        submitted: count(3)?,
        started: count(4)?,
        completed: count(5)?,
        failed: count(6)?,
        cancelled: count(7)?,
        retried: count(8)?,
        returned: count(9)?,
        waits: histogram(10)?,
        runs: histogram(11)?,
    })
}

/// Adds up the statistics of that hour and later, by type and by bot.
pub(super) fn sums(db: &Connection, from: u32) -> rusqlite::Result<Statistics> {
    let sql = format!("{SELECT_STATISTICS} WHERE hour >= ?1");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([from])?;
    let mut sums = Statistics::default();
    while let Some(row) = found.next()? {
        sums.add(&statistics_row(row)?);
    }
    Ok(sums)
}
