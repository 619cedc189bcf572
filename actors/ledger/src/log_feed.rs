//! The hand-over of the store's log to the part of the hive that ships it to the archive.
//!
//! The writer of the store notes each commit here, and folds its log back into the file only
//! when all of it is shipped. Nothing here knows an archive.

mod files;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use self::state::State;
pub use self::state::{LogEnd, LoggedCommit};

/// Frames that may be left to ship when the writer begins to wait for the rest. Fixed: they
/// are shipped in well under a second.
const NEARLY_SHIPPED_FRAMES: u32 = 2_048;

/// The state of the log, as a shipper sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// The end of the last commit; `None` while the log is empty.
    pub committed: Option<LogEnd>,
    /// The end of the log that the archive has.
    pub shipped: Option<LogEnd>,
    /// Time of the oldest commit that the archive does not have, by a clock that is never set.
    pub unshipped_since: Option<Instant>,
    /// True if the store has noted the end of its log.
    pub is_known: bool,
    /// Number of times that some of the log was folded back before it was shipped, or was not
    /// seen.
    pub losses: u64,
    /// True if somebody waits for the log to be shipped.
    pub is_urgent: bool,
    /// Number of the newest event when the store was opened.
    pub opened_at: Option<u64>,
}

/// The need for which the log is to be folded back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldNeed {
    /// A checkpoint is due: it waits for the last frames, and otherwise comes later.
    Due,
    /// The log is long: shipping has to keep up with the writes.
    Long,
    /// The log has reached its maximum.
    TooLong,
}

/// Maximum times for which the writer of the store waits for the archive.
#[derive(Clone, Copy, Debug)]
pub struct FeedWaits {
    /// Wait of a checkpoint for the last frames.
    pub checkpoint: Duration,
    /// Wait of an answer that needs the archive.
    pub answer: Duration,
}

/// The hand-over of the log between the writer of a store and its shipper.
#[derive(Debug)]
pub struct LogFeed {
    database: PathBuf,
    log: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    waits: FeedWaits,
    /// True if a commit is answered only when the archive has it.
    is_sync: AtomicBool,
}

impl LogFeed {
    /// Creates the hand-over for a database file.
    pub fn new(database: &Path, waits: FeedWaits) -> Self {
        Self {
            database: database.to_owned(),
            log: database.with_extension("db-wal"),
            state: Mutex::default(),
            changed: Condvar::new(),
            waits,
            is_sync: AtomicBool::new(false),
        }
    }

    /// Makes each further commit wait until the archive has it.
    pub fn answer_after_archive(&self) {
        self.is_sync.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on the condition while `goes_on`, at most for that time.
    fn wait_while(
        &self,
        state: MutexGuard<'_, State>,
        limit: Duration,
        goes_on: impl FnMut(&mut State) -> bool,
    ) {
        let waited = self.changed.wait_timeout_while(state, limit, goes_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The side of the shipper.
impl LogFeed {
    /// Returns the path of the log. Opening and closing it is harmless.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Returns the database file, opened once and never closed.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn database_file(&self) -> io::Result<Arc<File>> {
        files::never_closed(&self.database)
    }

    /// Returns the current state.
    pub fn look(&self) -> Feed {
        self.lock().look()
    }

    /// Waits until there is something to ship that was not there at `seen`, or until
    /// somebody waits for the archive; at most for that time.
    pub fn wait(&self, seen: Option<LogEnd>, limit: Duration) -> Feed {
        self.wait_while(self.lock(), limit, |state| {
            state.committed == seen && !state.is_urgent() && !state.woken
        });
        self.lock().woken = false;
        self.look()
    }

    /// Waits until somebody waits for the archive, at most for that time.
    pub fn wait_for_urgency(&self, limit: Duration) {
        self.wait_while(self.lock(), limit, |state| {
            !state.is_urgent() && !state.woken
        });
    }

    /// Waits until [`wake`](Self::wake) is called, at most for that time.
    pub fn pause(&self, limit: Duration) {
        self.wait_while(self.lock(), limit, |state| !state.woken);
        self.lock().woken = false;
    }

    /// Ends a wait of the shipper.
    pub fn wake(&self) {
        self.lock().woken = true;
        self.changed.notify_all();
    }

    /// Takes the commits up to a place in the log, and the history of their events.
    pub fn commits_upto(&self, end: LogEnd) -> (Vec<LoggedCommit>, u64) {
        self.lock().take_commits(end)
    }

    /// Notes that the archive has the log up to there. Returns `false`, and notes nothing, if
    /// there was a loss besides the `losses` that the shipper knows.
    pub fn note_shipped(&self, end: LogEnd, losses: u64) -> bool {
        let mut state = self.lock();
        if state.losses != losses {
            return false;
        }
        state.note_shipped(end);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Notes that the archive has the log up to there from an earlier run.
    pub fn note_found(&self, end: LogEnd, losses: u64) -> bool {
        self.lock().skip_commits(end);
        self.note_shipped(end, losses)
    }

    /// Notes that the archive cannot be written: nobody waits for it any more until
    /// something is shipped.
    pub fn note_failing(&self) {
        self.lock().is_failing = true;
        self.changed.notify_all();
    }

    /// Notes that a new generation begins: the whole log has to be shipped again, and a
    /// snapshot has to be made.
    pub fn begin_again(&self) {
        self.lock().begin_again();
    }

    /// Notes that the archive has a snapshot that the shipped log goes on from, unless there was a
    /// loss besides the `losses` that the shipper knows.
    pub fn note_complete(&self, losses: u64) {
        let mut state = self.lock();
        if state.losses != losses {
            return;
        }
        state.is_complete = true;
        if state.is_safe() {
            state.is_late = false;
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// The side of the store.
impl LogFeed {
    /// Notes the newest event when the store is opened. Only the first call counts: a writer that
    /// opens the store again has written to it.
    pub(crate) fn opened(&self, seq: u64) {
        self.lock().opened_at.get_or_insert(seq);
    }

    /// Notes a commit.
    pub(crate) fn committed(&self, commit: LoggedCommit, timeline: u64) {
        self.lock().note_commit(commit, timeline);
        self.changed.notify_all();
    }

    /// Notes that the log is empty.
    pub(crate) fn emptied(&self) {
        self.lock().note_empty();
    }

    /// Returns whether the log may be folded back: all of it is shipped. Waits for the rest if
    /// the archive can be written, and only while it comes nearer.
    pub(crate) fn may_fold(&self, need: FoldNeed) -> bool {
        let stall = match need {
            FoldNeed::Due | FoldNeed::Long => self.waits.checkpoint,
            FoldNeed::TooLong => self.waits.answer,
        };
        loop {
            let mut state = self.lock();
            if state.is_all_shipped() {
                return true;
            }
            state.wanted = true;
            self.changed.notify_all();
            let is_too_far = need == FoldNeed::Due
                && (state.shipped.is_none() || state.lag() > NEARLY_SHIPPED_FRAMES);
            let is_slow = state.is_slow && need != FoldNeed::TooLong;
            if state.is_failing || is_slow || is_too_far {
                return false;
            }
            let seen = state.shipped;
            self.wait_while(state, stall, |state| {
                state.shipped == seen && !state.is_all_shipped() && !state.is_failing
            });
            let mut state = self.lock();
            if state.shipped == seen && !state.is_all_shipped() {
                // The next checkpoint does not wait for an archive that does not answer.
                state.is_slow = true;
                state.is_failing |= need == FoldNeed::TooLong;
                return false;
            }
        }
    }

    /// Notes that the log was folded back and truncated although it was not shipped.
    pub(crate) fn gave_up(&self) {
        let mut state = self.lock();
        state.note_loss();
        state.note_empty();
    }

    /// Notes that there was a log of which nothing is known.
    pub(crate) fn missed_log(&self) {
        self.lock().note_loss();
    }

    /// Notes that the log has a commit whose place cannot be read.
    pub(crate) fn lost_sight(&self) {
        self.lock().note_unknown();
        self.changed.notify_all();
    }

    /// Returns whether a commit may be begun: always, unless answers must wait for an archive
    /// that cannot be written.
    pub(crate) fn admits(&self) -> bool {
        if !self.is_sync.load(Ordering::Acquire) {
            return true;
        }
        let mut state = self.lock();
        let admits = state.is_safe() || !state.is_late;
        if !admits {
            state.wanted = true;
            self.changed.notify_all();
        }
        admits
    }

    /// Waits until the archive has the last commit, if answers must wait for that. Returns
    /// `false` if it does not have it in time. Nobody waits again until it has what was late.
    pub(crate) fn is_archived(&self) -> bool {
        if !self.is_sync.load(Ordering::Acquire) {
            return true;
        }
        let mut state = self.lock();
        state.wanted = true;
        self.changed.notify_all();
        if state.is_late {
            return state.is_safe();
        }
        let began = Instant::now();
        self.wait_while(state, self.waits.answer, |state| !state.is_safe());
        let mut state = self.lock();
        state.is_late = !state.is_safe();
        if state.is_late {
            tracing::warn!(
                waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                "the archive does not have the last commit: writes are refused until it has (recovery.mode is sync)"
            );
        }
        !state.is_late
    }
}
