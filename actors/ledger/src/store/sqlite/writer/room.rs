//! A disk that is full, and the reserve for commands that make room.

use super::{
    super::{
        disk_space,
        errors::{is_io, store_error},
        reserve::{self, Share},
    },
    Job, Writer,
};
use crate::{Shortage, StoreError};

impl Writer {
    /// Leaves the rest of the reserve to commands that may use it, and refuses the
    /// others. Restores the reserve first if there is space for it.
    pub(super) fn spare_reserve(&mut self, group: Vec<Job>) -> Vec<Job> {
        if !self.reserve.is_in_use() || self.reserve.make_if_room() {
            return group;
        }
        let (may, others): (Vec<Job>, Vec<Job>) =
            group.into_iter().partition(|job| self.may_use_reserve(job));
        for job in others {
            let full = StoreError::Full(self.shortage());
            self.refuse(job, full);
        }
        may
    }

    /// Returns whether this command may use the remaining reserve.
    pub(super) fn may_use_reserve(&self, job: &Job) -> bool {
        self.reserve.lets(share(job), self.shortage().free_bytes)
    }

    /// Returns whether there was no space. An error that SQLite reports as a broken
    /// disk may be a full one: then the disk itself is asked.
    pub(super) fn is_full(&mut self, error: &rusqlite::Error) -> bool {
        let full = matches!(store_error(error), StoreError::Full(_))
            || (is_io(error) && disk_space::is_none_left(&self.dir));
        if full {
            self.full.seen(&self.shortage());
        }
        if full && is_io(error) {
            self.overwrite_tail();
        }
        full
    }

    /// Returns the free space, for callers whose command found too little.
    pub(super) fn shortage(&self) -> Shortage {
        disk_space::shortage(&self.dir)
    }

    pub(super) fn told(&mut self, error: &rusqlite::Error) -> StoreError {
        match self.is_full(error) {
            true => StoreError::Full(self.shortage()),
            false => store_error(error),
        }
    }

    /// Overwrites the tail of the log. A transaction that failed after its last frame
    /// was written (when the index of the log could not grow, for example) would
    /// reappear after a crash. Another one that changes nothing takes its place in the
    /// log.
    fn overwrite_tail(&mut self) {
        let same = "BEGIN IMMEDIATE;
            INSERT OR REPLACE INTO meta SELECT key, value FROM meta WHERE key = 'hive_id';
            COMMIT";
        if self.db.execute_batch(same).is_err() && !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
        self.note_log();
    }
}

/// Returns the part of the reserve that a command may use.
pub(super) fn share(job: &Job) -> Share {
    reserve::share_of(&job.command, job.deferrable)
}
