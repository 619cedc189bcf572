//! Counters of each submitter, changed in the transaction that changes what they count:
//! waiting tasks, task types, stored answers. A row is read and written once per
//! transaction, whatever the number of commands.

use deia_model::{Priority, TaskType};
use rusqlite::{Connection, OptionalExtension, params};

use super::memo::Memo;
use crate::Load;

/// The row that counts the tasks of all submitters. No user has that name.
const ALL: &str = "";

/// A row of `submitters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    waiting: i64,
    waiting_bytes: i64,
    types: i64,
    answers: i64,
    answer_bytes: i64,
}

/// A stored count, and its value at the end of this transaction.
#[derive(Clone, Copy, Default)]
struct Count {
    stored: i64,
    now: i64,
}

/// Counters of one submitter.
#[derive(Default)]
struct Share {
    stored: Counts,
    now: Counts,
    /// Tasks of each type that this transaction touched.
    types: Memo<TaskType, Count>,
}

/// Counters of the submitters that this transaction touched.
#[derive(Default)]
pub(super) struct Shares {
    all: Option<Share>,
    by_submitter: Memo<String, Share>,
}

/// A task whose status changes.
#[derive(Clone, Copy)]
pub(super) struct Counted<'t> {
    pub(super) task_type: &'t TaskType,
    pub(super) priority: Priority,
    pub(super) submitter: &'t str,
    /// Bytes of content and metadata.
    pub(super) bytes: i64,
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl Shares {
    fn of(&mut self, db: &Connection, submitter: &str) -> rusqlite::Result<&mut Share> {
        self.by_submitter.get_or_make(submitter, || {
            Ok((submitter.to_owned(), read(db, submitter)?))
        })
    }

    fn of_all(&mut self, db: &Connection) -> rusqlite::Result<&mut Share> {
        if self.all.is_none() {
            self.all = Some(read(db, ALL)?);
        }
        Ok(self.all.get_or_insert_default())
    }

    /// Counts a task that starts to wait (1) or stops (-1).
    pub(super) fn count_waiting(
        &mut self,
        db: &Connection,
        task: Counted<'_>,
        more: i64,
    ) -> rusqlite::Result<()> {
        self.of_all(db)?.count_waiting(more, task.bytes);
        self.of(db, task.submitter)?.count_waiting(more, task.bytes);
        Ok(())
    }

    /// Counts a task of its type that is added (1) or deleted (-1).
    pub(super) fn count_type(
        &mut self,
        db: &Connection,
        task: Counted<'_>,
        more: i64,
    ) -> rusqlite::Result<()> {
        let share = self.of(db, task.submitter)?;
        let count = share.type_count(db, task.submitter, task.task_type)?;
        let was = count.now;
        count.now += more;
        let types = i64::from(count.now > 0) - i64::from(was > 0);
        share.now.types += types;
        Ok(())
    }

    /// Returns the backlog of this submitter.
    pub(super) fn waiting_of(
        &mut self,
        db: &Connection,
        submitter: &str,
    ) -> rusqlite::Result<Load> {
        Ok(self.of(db, submitter)?.waiting())
    }

    /// Returns the backlog of all submitters.
    pub(super) fn waiting_of_all(&mut self, db: &Connection) -> rusqlite::Result<Load> {
        Ok(self.of_all(db)?.waiting())
    }

    /// Returns the number of types that this submitter has tasks of.
    pub(super) fn types_of(&mut self, db: &Connection, submitter: &str) -> rusqlite::Result<u64> {
        Ok(unsigned(self.of(db, submitter)?.now.types))
    }

    /// Returns whether this submitter has tasks of that type.
    pub(super) fn has_type(
        &mut self,
        db: &Connection,
        submitter: &str,
        task_type: &TaskType,
    ) -> rusqlite::Result<bool> {
        let share = self.of(db, submitter)?;
        Ok(share.type_count(db, submitter, task_type)?.now > 0)
    }

    /// Counts stored answers of this submitter (deleted ones if negative); returns
    /// their new number, and their bytes.
    pub(super) fn count_answers(
        &mut self,
        db: &Connection,
        submitter: &str,
        answers: i64,
        bytes: i64,
    ) -> rusqlite::Result<(u64, u64)> {
        let counts = &mut self.of(db, submitter)?.now;
        counts.answers += answers;
        counts.answer_bytes += bytes;
        Ok((unsigned(counts.answers), unsigned(counts.answer_bytes)))
    }

    /// Writes the changes. A row with all counters at zero is deleted.
    pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let all = self.all.iter().map(|share| (ALL, share));
        let each = self.by_submitter.entries().iter();
        for (submitter, share) in all.chain(each.map(|(name, share)| (name.as_str(), share))) {
            if share.now != share.stored {
                write_counts(db, submitter, share.now)?;
            }
            let types = share.types.entries().iter();
            for (task_type, count) in types.filter(|(_, n)| n.now != n.stored) {
                write_type(db, submitter, task_type, count.now)?;
            }
        }
        Ok(())
    }
}

impl Share {
    fn count_waiting(&mut self, more: i64, bytes: i64) {
        self.now.waiting += more;
        self.now.waiting_bytes += more * bytes;
    }

    fn waiting(&self) -> Load {
        Load {
            tasks: unsigned(self.now.waiting),
            bytes: unsigned(self.now.waiting_bytes),
        }
    }

    fn type_count(
        &mut self,
        db: &Connection,
        submitter: &str,
        task_type: &TaskType,
    ) -> rusqlite::Result<&mut Count> {
        self.types.get_or_make(task_type, || {
            let stored = db
                .prepare_cached(
                    "SELECT tasks FROM submitter_types WHERE submitter = ?1 AND type = ?2",
                )?
                .query_row([submitter, task_type.as_str()], |row| row.get(0))
                .optional()?
                .unwrap_or(0);
            let count = Count {
                stored,
                now: stored,
            };
            Ok((task_type.clone(), count))
        })
    }
}

fn read(db: &Connection, submitter: &str) -> rusqlite::Result<Share> {
    let counts = db
        .prepare_cached(
            "SELECT waiting, waiting_bytes, types, answers, answer_bytes FROM submitters WHERE name = ?1",
        )?
        .query_row([submitter], |row| {
            Ok(Counts {
                waiting: row.get(0)?,
                waiting_bytes: row.get(1)?,
                types: row.get(2)?,
                answers: row.get(3)?,
                answer_bytes: row.get(4)?,
            })
        })
        .optional()?
        .unwrap_or_default();
    Ok(Share {
        stored: counts,
        now: counts,
        types: Memo::default(),
    })
}

fn write_counts(db: &Connection, submitter: &str, counts: Counts) -> rusqlite::Result<()> {
    if counts == Counts::default() {
        db.prepare_cached("DELETE FROM submitters WHERE name = ?1")?
            .execute([submitter])?;
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR REPLACE INTO submitters (name, waiting, waiting_bytes, types, answers, answer_bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        submitter,
        counts.waiting,
        counts.waiting_bytes,
        counts.types,
        counts.answers,
        counts.answer_bytes
    ])?;
    Ok(())
}

fn write_type(
    db: &Connection,
    submitter: &str,
    task_type: &TaskType,
    tasks: i64,
) -> rusqlite::Result<()> {
    if tasks <= 0 {
        db.prepare_cached("DELETE FROM submitter_types WHERE submitter = ?1 AND type = ?2")?
            .execute([submitter, task_type.as_str()])?;
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR REPLACE INTO submitter_types (submitter, type, tasks) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![submitter, task_type.as_str(), tasks])?;
    Ok(())
}
