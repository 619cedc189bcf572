//! Times in which nothing can be written, and the commands that are kept meanwhile.

use std::time::{Duration, Instant};

use super::{Job, Writer};
use crate::StoreError;

/// Time before a failed write is retried. Fixed: a fault is not tried in a loop, and its
/// end is noticed soon.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The reason why nothing can be written, and the time of the next try.
pub(super) struct Gate {
    error: StoreError,
    again_at: Instant,
}

impl Writer {
    /// Returns the reason why commands cannot be applied now, if there is one: a log
    /// that is too long and cannot be shortened, or deferred commands that still find
    /// no space. Checks again only from time to time.
    pub(super) fn look_at_gate(&mut self) -> Result<Option<StoreError>, String> {
        if let Some(gate) = &self.gate
            && Instant::now() < gate.again_at
        {
            return Ok(Some(gate.error.clone()));
        }
        if let Err(adrift) = self.hold() {
            return Ok(Some(self.close_gate(StoreError::Gone(adrift))));
        }
        if !self.admits() {
            return Ok(Some(self.close_gate(StoreError::Unarchived)));
        }
        let is_too_long = self.checkpointer.is_too_long();
        let gives_up = is_too_long && !self.may_fold();
        let shortened = self.checkpointer.shorten_if_too_long(&self.db);
        if matches!(shortened, Ok(true)) {
            // Nothing is lost while a reader holds the log.
            if gives_up {
                self.note_given_up();
            }
            if is_too_long {
                self.note_folded();
            }
        }
        let error = match shortened {
            Err(error) => {
                self.checkpoint_failed(&error)?;
                Some(self.told(&error))
            }
            Ok(false) => {
                if self.gate.is_none() {
                    tracing::warn!(
                        "reads prevent a checkpoint of the write-ahead log, which has reached store.wal_max_bytes: writes are refused until it is short again"
                    );
                }
                Some(StoreError::Busy)
            }
            Ok(true) => self.apply_deferred()?,
        };
        self.gate = None;
        Ok(error.map(|error| self.close_gate(error)))
    }

    fn close_gate(&mut self, error: StoreError) -> StoreError {
        self.gate = Some(Gate {
            error: error.clone(),
            again_at: Instant::now() + AGAIN_AFTER,
        });
        error
    }

    /// Applies deferred commands as long as there is space for them.
    fn apply_deferred(&mut self) -> Result<Option<StoreError>, String> {
        while let Some(job) = self.deferred.pop_front() {
            if !self.admits() {
                self.deferred.push_front(job);
                return Ok(Some(StoreError::Unarchived));
            }
            match self.try_alone(&job) {
                Err(failure) if self.has_no_room(&failure) => {
                    self.deferred.push_front(job);
                    return Ok(Some(StoreError::Full(self.shortage())));
                }
                Err(failure) if failure.is_nothing_begun() => {
                    self.deferred.push_front(job);
                    return Ok(Some(StoreError::Busy));
                }
                done => self.answer_one(job, done)?,
            }
        }
        Ok(None)
    }

    pub(super) fn refuse_or_keep(&mut self, job: Job, error: StoreError) {
        if job.deferrable && self.deferred.len() < self.deferred_max {
            self.deferred.push_back(job);
        } else {
            self.refuse(job, error);
        }
    }
}
