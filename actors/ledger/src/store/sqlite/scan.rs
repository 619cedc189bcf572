//! Reads of the events of some actions: for followers that want few of the events of a
//! busy log, so that the others are passed over without being decoded.

use deia_model::{Event, Position};
use rusqlite::{Connection, params};

use super::{
    followers::{ROW_BYTES, text_bytes},
    lists::{SELECT_EVENT, event, ordinal},
    positions::{forked, head, number, oldest, position},
};
use crate::{EventScan, EventsPage};

/// Returns events after a cursor that have one of these actions, or an action of one of
/// these kinds; all events if there are none.
pub(super) fn events(
    db: &Connection,
    after: Position,
    actions: &[String],
    limits: EventScan,
) -> rusqlite::Result<EventsPage> {
    let head = head(db)?;
    let floor = oldest(db)?;
    let empty = |next| EventsPage {
        events: Vec::new(),
        ordinals: Vec::new(),
        next,
        missed: 0,
        forked: false,
        floor,
        head,
    };
    if let Some(fork) = forked(db, after)? {
        return Ok(EventsPage {
            forked: true,
            ..empty(fork)
        });
    }
    let missed = floor.saturating_sub(1).saturating_sub(after.seq);
    let first = after.seq + missed;
    let end = head.seq.min(first.saturating_add(limits.max_examined));
    let wanted = Wanted::new(actions);
    let sql = format!(
        "{SELECT_EVENT} WHERE seq > ?1 AND seq <= ?2 {} ORDER BY seq LIMIT ?5",
        wanted.condition()
    );
    let mut statement = db.prepare_cached(&sql)?;
    let (exact, kinds) = (wanted.exact, wanted.kinds);
    let mut found = statement.query(params![
        number(first),
        number(end),
        exact,
        kinds,
        limits.max_events.get()
    ])?;
    let (mut events, mut ordinals) = (Vec::new(), Vec::new());
    let (mut bytes, mut is_cut) = (0, false);
    while let Some(row) = found.next()? {
        let of_row = ROW_BYTES + text_bytes(row)?;
        if bytes + of_row > limits.max_bytes && !events.is_empty() {
            is_cut = true;
            break;
        }
        bytes += of_row;
        ordinals.push(ordinal(row)?);
        events.push(event(row)?);
    }
    is_cut |= events.len() == limits.max_events.get() as usize;
    let last = events.last().map(|event: &Event| Position {
        timeline: event.timeline,
        seq: event.seq,
    });
    let next = match last.filter(|_| is_cut) {
        Some(last) => last,
        None if end <= after.seq => after,
        None => at(db, end)?,
    };
    Ok(EventsPage {
        events,
        ordinals,
        missed,
        ..empty(next)
    })
}

/// Returns the position of the event with that number.
fn at(db: &Connection, seq: u64) -> rusqlite::Result<Position> {
    db.prepare_cached(
        "SELECT timeline, ?1 FROM timelines WHERE first_seq <= ?1 OR timeline = 1
         ORDER BY timeline DESC LIMIT 1",
    )?
    .query_row([number(seq)], |row| position(row, 0))
}

/// The actions that are asked for, as JSON lists.
struct Wanted {
    exact: Option<String>,
    kinds: Option<String>,
}

impl Wanted {
    fn new(actions: &[String]) -> Self {
        let list = |with_dot: bool| {
            let some = actions.iter().filter(|it| it.contains('.') == with_dot);
            let some: Vec<_> = some.collect();
            (!some.is_empty()).then(|| serde_json::json!(some).to_string())
        };
        Self {
            exact: list(true),
            kinds: list(false),
        }
    }

    /// Returns the condition, with its `?3` and `?4`.
    fn condition(&self) -> &'static str {
        match (&self.exact, &self.kinds) {
            (None, None) => "AND ?3 IS NULL AND ?4 IS NULL",
            (Some(_), None) => "AND action IN (SELECT value FROM json_each(?3)) AND ?4 IS NULL",
            _ => {
                "AND (action IN (SELECT value FROM json_each(?3))
                      OR substr(action, 1, instr(action, '.') - 1) IN (SELECT value FROM json_each(?4)))"
            }
        }
    }
}
