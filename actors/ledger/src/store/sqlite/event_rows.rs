//! Reads of every event of a busy log: without memory of its own for each text.

use deia_model::{
    Action, EventLevel, EventResult, EventRow, EventRows, Position, TargetType, TaskId, TaskStatus,
    Timestamp,
};
use rusqlite::{Connection, Row, params, types::ValueRef};

use super::{
    followers::{PageLimits, ROW_BYTES, read_after},
    positions::number,
    unreadable,
};
use crate::EventsPage;

const SELECT: &str =
    "SELECT seq, at, action, level, coalesce(actor, bot, owner), target, result, details, trace_id,
            target_type, owner, task_type, bot, tags, attempt, status, session_id, v, wait_ms, run_ms
     FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// Returns the events after a cursor: at least one if there is any. A row that cannot be decoded
/// becomes an event that says so, since its number must not be missing.
pub(super) fn page(
    db: &Connection,
    after: Position,
    limits: PageLimits,
) -> rusqlite::Result<EventsPage<EventRows>> {
    read_after(db, after, |from| {
        let timelines = Timelines::read(db)?;
        let mut statement = db.prepare_cached(SELECT)?;
        let mut found = statement.query(params![number(from), limits.events.get()])?;
        let mut rows = EventRows::default();
        let (mut last, mut bytes) = (None, 0);
        let mut before = Timestamp::from_millis(0);
        let mut id = String::new();
        while let Some(row) = found.next()? {
            let seq = row.get::<_, i64>(0)?.unsigned_abs();
            let timeline = timelines.of(seq);
            let decoded = unreadable::lenient("events", row, |row| {
                let event = decode(row, seq, timeline, &mut id)?;
                rows.push(&event);
                Ok((event.at, size(&event)))
            })?;
            match decoded {
                Some((at, size)) => {
                    before = at;
                    bytes += size;
                }
                None => rows.push(&unreadable_event(seq, timeline, before)),
            }
            last = Some(seq);
            if bytes > limits.bytes {
                break;
            }
        }
        Ok((rows, last))
    })
}

/// The histories of the event log.
struct Timelines(Vec<(u64, u64)>);

impl Timelines {
    fn read(db: &Connection) -> rusqlite::Result<Self> {
        let mut all =
            db.prepare_cached("SELECT timeline, first_seq FROM timelines ORDER BY timeline DESC")?;
        let all = all.query_map([], |row| {
            let (timeline, first): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((timeline.unsigned_abs(), first.unsigned_abs()))
        })?;
        Ok(Self(all.collect::<rusqlite::Result<_>>()?))
    }

    /// Returns the history that an event was recorded in.
    fn of(&self, seq: u64) -> u64 {
        let found = self.0.iter().find(|(_, first)| *first <= seq);
        found.map_or(1, |(timeline, _)| *timeline)
    }
}

fn size(event: &EventRow<'_>) -> u64 {
    let texts = [event.owner, event.tags, event.details];
    let texts: usize = texts.into_iter().flatten().map(str::len).sum();
    ROW_BYTES + (texts + event.target_id.len()) as u64
}

/// Stands for a row that cannot be decoded.
fn unreadable_event(seq: u64, timeline: u64, at: Timestamp) -> EventRow<'static> {
    EventRow {
        seq,
        timeline,
        at,
        action: "system.unreadable",
        level: EventLevel::Critical,
        actor: "deia",
        target_type: "row",
        target_id: "events",
        owner: None,
        result: EventResult::Failure,
        task_type: None,
        bot_id: None,
        tags: None,
        attempt: None,
        status: None,
        session_id: None,
        v: 1,
        details: None,
        wait_ms: None,
        run_ms: None,
        trace_id: None,
    }
}

fn decode<'r>(
    row: &'r Row<'_>,
    seq: u64,
    timeline: u64,
    id: &'r mut String,
) -> rusqlite::Result<EventRow<'r>> {
    let action = text(row, 2)?.unwrap_or_default();
    let count = |column| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(i64::unsigned_abs))
    };
    Ok(EventRow {
        seq,
        timeline,
        at: Timestamp::from_millis(row.get(1)?),
        action,
        level: match row.get::<_, i64>(3)? {
            0 => EventLevel::Info,
            1 => EventLevel::Warning,
            _ => EventLevel::Critical,
        },
        actor: text(row, 4)?.unwrap_or_default(),
        target_type: match text(row, 9)? {
            Some(stored) => stored,
            None => target_type(action),
        },
        target_id: target_id(row, id)?,
        owner: text(row, 10)?,
        result: match row.get::<_, i64>(6)? {
            0 => EventResult::Success,
            1 => EventResult::Failure,
            _ => EventResult::Partial,
        },
        task_type: text(row, 11)?,
        bot_id: text(row, 12)?,
        tags: text(row, 13)?,
        attempt: count(14)?.and_then(|n| n.try_into().ok()),
        status: count(15)?.and_then(status),
        session_id: text(row, 16)?,
        v: u32::try_from(row.get::<_, i64>(17)?).unwrap_or(u32::MAX),
        details: text(row, 7)?,
        wait_ms: count(18)?,
        run_ms: count(19)?,
        trace_id: text(row, 8)?,
    })
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r str>> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

fn status(code: u64) -> Option<TaskStatus> {
    TaskStatus::ALL.get(usize::try_from(code).ok()?).copied()
}

fn target_type(action: &str) -> &str {
    if action.starts_with("task.") {
        return TargetType::Task.as_str();
    }
    let kind = || action.split('.').next().unwrap_or(action);
    Action::parse(action).map_or_else(kind, |action| action.target_type().as_str())
}

fn target_id<'r>(row: &'r Row<'_>, id: &'r mut String) -> rusqlite::Result<&'r str> {
    use std::fmt::Write;
    match row.get_ref(5)? {
        ValueRef::Blob(bytes) if bytes.len() == 16 => {
            let mut array = [0; 16];
            array.copy_from_slice(bytes);
            id.clear();
            // Writing to a string does not fail.
            let _ = write!(id, "{}", TaskId::from_bytes(array));
            Ok(id)
        }
        other => Ok(other.as_str()?),
    }
}
