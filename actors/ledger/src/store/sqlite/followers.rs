//! Cursors of followers, the effects of the events that they process, and the log that
//! they follow.

use std::num::NonZero;

use deia_model::{Event, Position, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    errors::ApplyError,
    lists::{SELECT_EVENT, event},
    rows,
    transaction::Tx,
};
use crate::{
    Advance, Effect, EventLog, EventsPage, FollowerState, Histogram, PruneEvents, Rejection, Reply,
    Statistics, StatisticsRow,
};

/// Events from which the size of the log is estimated.
const SAMPLE: u64 = 400;
/// Bytes of a row beside its texts: numbers, headers, its share of the pages' slack.
const ROW_BYTES: u64 = 64;

/// Returns the history that new events belong to.
fn timeline(db: &Connection) -> rusqlite::Result<u64> {
    let newest: i64 = db
        .prepare_cached("SELECT max(timeline) FROM timelines")?
        .query_row([], |row| row.get(0))?;
    Ok(newest.unsigned_abs())
}

/// Returns the last event that a history shares with the one after it; `None` for the
/// newest history.
fn fork_after(db: &Connection, timeline: u64) -> rusqlite::Result<Option<Position>> {
    db.prepare_cached(
        "SELECT timeline, first_seq - 1 FROM timelines WHERE timeline > ?1 ORDER BY timeline LIMIT 1",
    )?
    .query_row([number(timeline)], |row| position(row, 0))
    .optional()
}

/// Returns where a cursor must continue, if that is elsewhere: its history was cut off
/// earlier, by a restore.
fn forked(db: &Connection, at: Position) -> rusqlite::Result<Option<Position>> {
    let fork = fork_after(db, at.timeline)?;
    Ok(fork.filter(|fork| at.seq > fork.seq))
}

fn newest(db: &Connection) -> rusqlite::Result<u64> {
    let newest: i64 = db
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(newest.unsigned_abs())
}

fn oldest(db: &Connection) -> rusqlite::Result<u64> {
    let oldest: i64 = db
        .prepare_cached("SELECT coalesce(min(seq), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(oldest.unsigned_abs())
}

/// Returns the cursor of that name; before the oldest stored event if it was never
/// moved.
pub(super) fn cursor(db: &Connection, name: &str) -> rusqlite::Result<Position> {
    let stored = db
        .prepare_cached("SELECT timeline, seq FROM followers WHERE name = ?1")?
        .query_row([name], |row| position(row, 0))
        .optional()?;
    match stored {
        Some(at) => Ok(at),
        // A new follower starts with the stored events, and has missed nothing.
        None => Ok(Position {
            timeline: timeline(db)?,
            seq: oldest(db)?.saturating_sub(1),
        }),
    }
}

fn position(row: &Row<'_>, at: usize) -> rusqlite::Result<Position> {
    Ok(Position {
        timeline: row.get::<_, i64>(at)?.unsigned_abs(),
        seq: row.get::<_, i64>(at + 1)?.unsigned_abs(),
    })
}

/// Moves a cursor and writes the effects of the events on the way.
pub(super) fn advance(tx: &mut Tx<'_>, advance: &Advance) -> Result<Reply, ApplyError> {
    let name = advance.follower.0;
    let at = cursor(tx.db, name)?;
    let head = Position {
        timeline: timeline(tx.db)?,
        seq: tx.newest_event(),
    };
    let to = advance.to;
    let is_on = match forked(tx.db, at)? {
        Some(fork) => to == fork,
        None => to.seq >= at.seq && to.timeline >= at.timeline,
    };
    let is_there =
        to.seq <= head.seq && to.timeline <= head.timeline && forked(tx.db, to)?.is_none();
    if at != advance.from || !is_on || !is_there {
        return Err(Rejection::CursorMoved { at }.into());
    }
    for effect in &advance.effects {
        match effect {
            Effect::Statistics { rows, keep_from } => add_statistics(tx.db, rows, *keep_from)?,
        }
    }
    tx.db
        .prepare_cached(
            "INSERT INTO followers (name, timeline, seq, moved_at, binding) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET timeline = excluded.timeline, seq = excluded.seq,
                 moved_at = excluded.moved_at, binding = excluded.binding",
        )?
        .execute(params![
            name,
            number(advance.to.timeline),
            number(advance.to.seq),
            tx.now.as_millis(),
            advance.binding,
        ])?;
    Ok(Reply::Done(advance.effects.len() as u64))
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn add_statistics(
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
pub(super) fn statistics(db: &Connection, from: u32) -> rusqlite::Result<Statistics> {
    let sql = format!("{SELECT_STATISTICS} WHERE hour >= ?1");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([from])?;
    let mut sums = Statistics::default();
    while let Some(row) = found.next()? {
        sums.add(&statistics_row(row)?);
    }
    Ok(sums)
}

/// Limits of one page of events.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLimits {
    pub(super) events: NonZero<u32>,
    pub(super) bytes: u64,
}

/// Returns the events after a cursor. A page has at least one event if there is any.
pub(super) fn page(
    db: &Connection,
    after: Position,
    limits: PageLimits,
) -> rusqlite::Result<EventsPage> {
    let head = Position {
        timeline: timeline(db)?,
        seq: newest(db)?,
    };
    let floor = oldest(db)?;
    if let Some(fork) = forked(db, after)? {
        return Ok(EventsPage {
            events: Vec::new(),
            next: fork,
            missed: 0,
            forked: true,
            floor,
            head,
        });
    }
    let missed = floor.saturating_sub(1).saturating_sub(after.seq);
    let mut next = Position {
        seq: after.seq + missed,
        ..after
    };
    let sql = format!("{SELECT_EVENT} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params![number(next.seq), limits.events.get()])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let of_row = ROW_BYTES + text_bytes(row)?;
        if bytes + of_row > limits.bytes && !events.is_empty() {
            break;
        }
        bytes += of_row;
        let event: Event = event(row)?;
        next = Position {
            timeline: event.timeline,
            seq: event.seq,
        };
        events.push(event);
    }
    Ok(EventsPage {
        events,
        next,
        missed,
        forked: false,
        floor,
        head,
    })
}

/// Returns the size of those texts of an event that can be long, in bytes.
fn text_bytes(row: &Row<'_>) -> rusqlite::Result<u64> {
    const TARGET: usize = 5;
    const DETAILS: usize = 7;
    const OWNER: usize = 11;
    const TAGS: usize = 14;
    let mut bytes = 0;
    for column in [TARGET, DETAILS, OWNER, TAGS] {
        let text = row.get_ref(column)?.as_str_or_null().unwrap_or_default();
        bytes += text.map_or(0, str::len);
    }
    Ok(bytes as u64)
}

/// Returns the progress of each follower, by name.
pub(super) fn followers(db: &Connection) -> rusqlite::Result<Vec<FollowerState>> {
    let (head, now) = (newest(db)?, Timestamp::now());
    let mut next_at =
        db.prepare_cached("SELECT at FROM events WHERE seq > ?1 ORDER BY seq LIMIT 1")?;
    let mut all = db.prepare_cached(
        "SELECT name, timeline, seq, moved_at, binding FROM followers ORDER BY name",
    )?;
    let mut found = all.query([])?;
    let mut states = Vec::new();
    while let Some(row) = found.next()? {
        let at = position(row, 1)?;
        let oldest: Option<i64> = next_at
            .query_row([number(at.seq)], |row| row.get(0))
            .optional()?;
        states.push(FollowerState {
            name: row.get(0)?,
            at,
            moved_at: rows::time(row, 3)?,
            binding: row.get(4)?,
            lag_events: head.saturating_sub(at.seq),
            lag_ms: oldest.map_or(0, |at| now.millis_since(Timestamp::from_millis(at))),
        });
    }
    Ok(states)
}

/// Returns the extent of the log.
pub(super) fn log(db: &Connection) -> rusqlite::Result<EventLog> {
    let (floor, head) = (oldest(db)?, newest(db)?);
    if head == 0 {
        return Ok(EventLog::default());
    }
    let oldest_at: i64 = db
        .prepare_cached("SELECT at FROM events WHERE seq = ?1")?
        .query_row([number(floor)], |row| row.get(0))?;
    let of_row = ROW_BYTES + sampled_bytes(db, floor, head)?;
    Ok(EventLog {
        floor,
        head,
        oldest_at: Some(Timestamp::from_millis(oldest_at)),
        bytes: (head + 1 - floor).saturating_mul(of_row),
    })
}

/// Returns the mean size of the texts of an event, from a sample that is spread evenly
/// over the log, so that a run of long events anywhere is weighted correctly.
fn sampled_bytes(db: &Connection, floor: u64, head: u64) -> rusqlite::Result<u64> {
    let mut bytes = db.prepare_cached(
        "SELECT octet_length(action) + octet_length(actor) + octet_length(target)
             + coalesce(octet_length(target_type), 0) + coalesce(octet_length(owner), 0)
             + coalesce(octet_length(task_type), 0) + coalesce(octet_length(bot), 0)
             + coalesce(octet_length(tags), 0) + coalesce(octet_length(session_id), 0)
             + coalesce(octet_length(details), 0) + coalesce(octet_length(trace_id), 0)
         FROM events WHERE seq = ?1",
    )?;
    let rows = head + 1 - floor;
    let step = rows.div_ceil(SAMPLE).max(1);
    let (mut sum, mut count) = (0, 0);
    let mut seq = floor;
    while seq <= head {
        let found: Option<i64> = bytes
            .query_row([number(seq)], |row| row.get(0))
            .optional()?;
        sum += found.unwrap_or_default().unsigned_abs();
        count += u64::from(found.is_some());
        seq += step;
    }
    Ok(sum.checked_div(count).unwrap_or(0))
}

/// Returns the newest event that was recorded before that time; 0: none. Times follow
/// the numbers, except when a clock was set back.
pub(super) fn last_before(db: &Connection, time: Timestamp) -> rusqlite::Result<u64> {
    let (mut below, mut above) = (oldest(db)?.saturating_sub(1), newest(db)? + 1);
    let mut at = db.prepare_cached("SELECT at FROM events WHERE seq = ?1")?;
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        let is_older = at.query_row([number(middle)], |row| {
            Ok(row.get::<_, i64>(0)? < time.as_millis())
        });
        match is_older.optional()? {
            Some(false) => above = middle,
            // Numbers below the floor are past retention.
            Some(true) | None => below = middle,
        }
    }
    Ok(below)
}

/// Deletes events up to the given one, at most `max` of them: never the newest, so that
/// its number is not reused, and none that a binding follower has not processed.
pub(super) fn prune(tx: &Tx<'_>, command: &PruneEvents) -> rusqlite::Result<Reply> {
    let held: Option<i64> = tx
        .db
        .prepare_cached("SELECT min(seq) FROM followers WHERE binding")?
        .query_row([], |row| row.get(0))?;
    let upto =
        number(command.upto.min(tx.newest_event().saturating_sub(1))).min(held.unwrap_or(i64::MAX));
    let forgotten = tx
        .db
        .prepare_cached(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= ?1 ORDER BY seq LIMIT ?2)",
        )?
        .execute(params![upto, command.max])?;
    Ok(Reply::Done(forgotten as u64))
}
