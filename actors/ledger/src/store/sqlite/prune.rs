//! Deletion of tasks and idempotency keys past their retention.

use std::time::Duration;

use deia_model::{Priority, TaskId, TaskStatus, TaskType, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{idempotency, rows, shares::Counted, transaction::Tx, unreadable};
use crate::{Prunable, Pruned, Reply, Retention};

/// Maximum number of rows that one search for prunable tasks reads. Fixed: bounds the
/// time of one read; the next page goes on.
const SCAN_LIMIT: u32 = 5_000;
/// Maximum number of idempotency keys that one command deletes. Fixed: bounds one step,
/// so that others get their turn; the whole has no limit here.
const KEYS_MAX: usize = 1_000;

/// Returns the time before which a finished task may be deleted; `None` while it has
/// not ended.
fn forget_before(status: TaskStatus, retention: &Retention, now: Timestamp) -> Option<i64> {
    let kept = match status {
        TaskStatus::Completed => retention.completed,
        TaskStatus::Failed => retention.failed,
        TaskStatus::Cancelled => retention.cancelled,
        TaskStatus::Pending | TaskStatus::Queued | TaskStatus::Running => return None,
    };
    Some(now.as_millis() - millis(kept))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns tasks past their retention among the next rows after `from`.
pub(super) fn prunable(
    db: &Connection,
    retention: &Retention,
    from: i64,
) -> rusqlite::Result<Prunable> {
    let now = Timestamp::now();
    let mut found = Prunable::default();
    let mut look = Look::new(now, retention);
    let mut all = db.prepare_cached(
        "SELECT seq, id, status, completed_at, created_at FROM tasks WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = all.query(params![from, SCAN_LIMIT])?;
    while let Some(row) = rows.next()? {
        look.saw(row.get(0)?, row.get(4)?);
        let Some(status) = unreadable::lenient("tasks", row, |row| rows::status(row, 2))? else {
            continue;
        };
        let before = forget_before(status, retention, now);
        let ended: Option<i64> = row.get(3)?;
        if before
            .zip(ended)
            .is_some_and(|(before, ended)| ended < before)
        {
            found.tasks.push(rows::task_id(row, 1)?);
        }
    }
    found.next = look.next();
    Ok(found)
}

/// Progress of one scan of tasks in order of submission.
struct Look {
    now: i64,
    too_young: i64,
    looked: u32,
    last: i64,
    goes_on: bool,
}

impl Look {
    fn new(now: Timestamp, retention: &Retention) -> Self {
        let Retention {
            completed,
            failed,
            cancelled,
        } = *retention;
        let shortest = completed.min(failed).min(cancelled);
        Self {
            now: now.as_millis(),
            too_young: now.as_millis() - millis(shortest),
            looked: 0,
            last: 0,
            goes_on: false,
        }
    }

    /// A young task does not mean that those after it are younger: the clock may have
    /// been ahead when it was submitted. A scan of young tasks only does.
    fn saw(&mut self, seq: i64, created_at: i64) {
        self.looked += 1;
        self.last = seq;
        self.goes_on |= created_at < self.too_young || created_at > self.now;
    }

    /// Returns the place where the next scan continues; `None` at the end of tasks old
    /// enough.
    fn next(&self) -> Option<i64> {
        (self.looked == SCAN_LIMIT && self.goes_on).then_some(self.last)
    }
}

/// Deletes those of the tasks that are past their retention and that no task waits for,
/// and idempotency keys past their time.
pub(super) fn prune(tx: &mut Tx<'_>, tasks: &[TaskId]) -> rusqlite::Result<Reply> {
    let mut gone = Vec::new();
    for id in tasks {
        if forget(tx, *id)? {
            gone.push(*id);
        }
    }
    let oldest = tx.now.as_millis() - millis(tx.policy.idempotency_retention);
    let keys = idempotency::forget_before(tx, oldest, KEYS_MAX)?;
    tx.forget_empty_types()?;
    Ok(Reply::Pruned(Pruned {
        tasks: gone,
        more_keys: keys == KEYS_MAX,
    }))
}

fn forget(tx: &mut Tx<'_>, id: TaskId) -> rusqlite::Result<bool> {
    type Found = (i64, TaskType, Priority, TaskStatus, Option<i64>, String);
    let found: Option<Found> = tx
        .db
        .prepare_cached(
            "SELECT seq, type, priority, status, completed_at, submitter FROM tasks t WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM dependencies WHERE parent = t.seq)
             AND NOT EXISTS (SELECT 1 FROM dependency_outbox WHERE parent = t.seq)",
        )?
        .query_row([id.as_bytes()], |row| {
            Ok((
                row.get(0)?,
                rows::parsed(row, 1)?,
                rows::priority(row, 2)?,
                rows::status(row, 3)?,
                row.get(4)?,
                row.get(5)?,
            ))
        })
        .optional()?;
    let Some((seq, task_type, priority, status, ended, submitter)) = found else {
        return Ok(false);
    };
    let before = forget_before(status, &tx.policy.retention, tx.now);
    let kept = before
        .zip(ended)
        .is_none_or(|(before, ended)| ended >= before);
    if kept {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM tasks WHERE seq = ?1",
        "DELETE FROM contents WHERE seq = ?1",
        "DELETE FROM results WHERE seq = ?1",
        "DELETE FROM failed_attempts WHERE seq = ?1",
        "DELETE FROM unreadable WHERE seq = ?1",
    ] {
        tx.db.prepare_cached(sql)?.execute([seq])?;
    }
    let counted = Counted {
        task_type: &task_type,
        priority,
        submitter: &submitter,
        // The task has ended: its bytes are not counted any more.
        bytes: 0,
    };
    tx.count_task(counted, Some(status), None)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_ahead_does_not_end_a_look() {
        let retention = Retention {
            completed: Duration::from_millis(10),
            failed: Duration::from_millis(20),
            cancelled: Duration::from_millis(30),
        };
        let now = Timestamp::from_millis(1_000);
        let (old, young, ahead) = (980, 995, 2_000);
        let most = SCAN_LIMIT as usize;
        for (name, times, goes_on) in [
            ("old", vec![old; most], true),
            ("young", vec![young; most], false),
            ("ahead", vec![ahead; most], true),
            (
                "one old among young",
                [vec![young; most - 1], vec![old]].concat(),
                true,
            ),
            ("few", vec![old; most - 1], false),
        ] {
            let mut look = Look::new(now, &retention);
            for (seq, at) in (1..).zip(times) {
                look.saw(seq, at);
            }
            assert_eq!(
                look.next(),
                goes_on.then_some(i64::from(SCAN_LIMIT)),
                "{name}"
            );
        }
    }

    #[test]
    fn each_status_has_its_retention() {
        let retention = Retention {
            completed: Duration::from_secs(1),
            failed: Duration::from_secs(2),
            cancelled: Duration::from_secs(3),
        };
        let now = Timestamp::from_millis(10_000);
        for (status, expected) in [
            (TaskStatus::Completed, Some(9_000)),
            (TaskStatus::Failed, Some(8_000)),
            (TaskStatus::Cancelled, Some(7_000)),
            (TaskStatus::Running, None),
            (TaskStatus::Queued, None),
            (TaskStatus::Pending, None),
        ] {
            assert_eq!(forget_before(status, &retention, now), expected);
        }
    }
}
