//! Cursors of followers, the effects of the events that they process, and the log that
//! they follow.

use std::num::NonZero;

use deia_model::{Event, Position, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};

use super::{
    errors::ApplyError,
    lists::{SELECT_EVENT, event, ordinal},
    positions::{cursor, forked, head, newest, number, oldest, position, timeline, timeline_of},
    rows, statistics, trail,
    transaction::Tx,
    webhooks,
};
use crate::{
    Advance, Effect, EventCounts, EventLog, EventsPage, FollowerState, PruneEvents, Rejection,
    Reply,
};

/// Events from which the size of the log is estimated. Fixed: an estimate within some
/// percent, for one short read.
const SAMPLE: u64 = 400;
/// Bytes of a row beside its texts: numbers, headers, its share of the pages' slack.
/// Fact: the record format of SQLite, and the columns of the table.
pub(super) const ROW_BYTES: u64 = 64;

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
            Effect::Statistics { rows, keep_from } => statistics::add(tx.db, rows, *keep_from)?,
            Effect::WebhookCursors(cursors) => webhooks::set_cursors(tx, cursors)?,
            Effect::WebhooksMissed => webhooks::note_missed(tx)?,
            Effect::TrailSealed(sealed) => trail::note(tx, sealed)?,
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
    let mut ordinals = Vec::new();
    let mut page = read_after(db, after, |from| {
        let sql = format!("{SELECT_EVENT} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
        let mut statement = db.prepare_cached(&sql)?;
        let mut found = statement.query(params![number(from), limits.events.get()])?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let of_row = ROW_BYTES + text_bytes(row)?;
            if bytes + of_row > limits.bytes && !events.is_empty() {
                break;
            }
            bytes += of_row;
            ordinals.push(ordinal(row)?);
            events.push(event(row)?);
        }
        let last = events.last().map(|event: &Event| event.seq);
        Ok((events, last))
    })?;
    page.ordinals = ordinals;
    Ok(page)
}

/// Counts the events after a cursor, at most `max_events` of them.
pub(super) fn count(
    db: &Connection,
    after: Position,
    max_events: NonZero<u32>,
) -> rusqlite::Result<EventsPage<EventCounts>> {
    read_after(db, after, |from| statistics::count(db, from, max_events))
}

/// Reads events after a cursor. `read` gets the number after which they begin, and
/// returns the number of the last one that it has read.
pub(super) fn read_after<T: Default>(
    db: &Connection,
    after: Position,
    read: impl FnOnce(u64) -> rusqlite::Result<(T, Option<u64>)>,
) -> rusqlite::Result<EventsPage<T>> {
    let head = head(db)?;
    let floor = oldest(db)?;
    if let Some(fork) = forked(db, after)? {
        return Ok(EventsPage {
            events: T::default(),
            ordinals: Vec::new(),
            next: fork,
            missed: 0,
            forked: true,
            floor,
            head,
        });
    }
    let missed = floor.saturating_sub(1).saturating_sub(after.seq);
    let from = after.seq + missed;
    let (events, last) = read(from)?;
    let next = match last {
        Some(seq) => Position {
            timeline: timeline_of(db, seq)?,
            seq,
        },
        None if missed > 0 => Position {
            timeline: timeline_of(db, from)?,
            seq: from,
        },
        None => after,
    };
    Ok(EventsPage {
        events,
        ordinals: Vec::new(),
        next,
        missed,
        forked: false,
        floor,
        head,
    })
}

/// Returns the size of those texts of an event that can be long, in bytes.
pub(super) fn text_bytes(row: &Row<'_>) -> rusqlite::Result<u64> {
    /// Column of the target. Fact: the order of the columns in the statement.
    const TARGET: usize = 5;
    /// Column of the details. Fact: the order of the columns in the statement.
    const DETAILS: usize = 7;
    /// Column of the owner. Fact: the order of the columns in the statement.
    const OWNER: usize = 11;
    /// Column of the tags. Fact: the order of the columns in the statement.
    const TAGS: usize = 14;
    let mut bytes = 0;
    for column in [TARGET, DETAILS, OWNER, TAGS] {
        bytes += match row.get_ref(column)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            _ => 0,
        };
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
        "SELECT octet_length(action) + coalesce(octet_length(actor), 0) + octet_length(target)
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
