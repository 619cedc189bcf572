//! The state of the hand-over, without locks.

use std::{collections::VecDeque, time::Instant};

use deia_model::Timestamp;

use super::Feed;

/// Commits that are kept one by one; beyond, the newest entry stands for several. Fixed: a
/// bound of the memory while the archive cannot be written, of some MiB.
pub(super) const COMMITS_MAX: usize = 65_536;

/// An end of the log: the mark of the log, and the number of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The mark that all frames of the log carry.
    pub salts: [u32; 2],
    /// Number of frames.
    pub frames: u32,
}

/// A commit in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedCommit {
    /// End of the commit in the log.
    pub end: LogEnd,
    /// Sequence number of the newest event after it.
    pub seq: u64,
    /// Time of the commit.
    pub at: Timestamp,
    /// The same time by a clock that is never set.
    pub noted: Instant,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) committed: Option<LogEnd>,
    pub(super) shipped: Option<LogEnd>,
    /// Commits of the current log, in order.
    commits: VecDeque<LoggedCommit>,
    /// Number of these that are in parts.
    taken: usize,
    timeline: u64,
    pub(super) losses: u64,
    /// Time of the last loss.
    lost_at: Option<Instant>,
    pub(super) is_failing: bool,
    /// True if the shipper did not keep up with a wait for it.
    pub(super) is_slow: bool,
    /// True if a commit was answered before the archive had it, although it had to wait.
    pub(super) is_late: bool,
    /// True if somebody waits for the archive.
    pub(super) wanted: bool,
    /// True once, to end a wait of the shipper.
    pub(super) woken: bool,
    /// True if the end of the log is known.
    pub(super) is_known: bool,
    /// True if the archive has a snapshot that the shipped log goes on from.
    pub(super) is_complete: bool,
    /// Number of the newest event when the store was opened.
    pub(super) opened_at: Option<u64>,
}

impl State {
    pub(super) fn look(&self) -> Feed {
        Feed {
            committed: self.committed,
            shipped: self.shipped,
            unshipped_since: self.unshipped_since(),
            losses: self.losses,
            is_known: self.is_known,
            is_urgent: self.is_urgent(),
            opened_at: self.opened_at,
        }
    }

    fn unshipped_since(&self) -> Option<Instant> {
        if self.is_all_shipped() {
            return None;
        }
        let shipped = self.shipped.map_or(0, |end| self.frames_of(end));
        let first = self.commits.partition_point(|it| it.end.frames <= shipped);
        let first = self.commits.get(first);
        first.map(|commit| commit.noted).or(self.lost_at)
    }

    /// Returns the number of frames of the current log up to an end, which may be that of the log
    /// before.
    fn frames_of(&self, end: LogEnd) -> u32 {
        match self.committed {
            Some(committed) if committed.salts == end.salts => end.frames,
            _ => 0,
        }
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.wanted && !self.is_all_shipped()
    }

    /// Returns whether the archive has the last commit.
    pub(super) fn is_all_shipped(&self) -> bool {
        let is_lost = !self.is_known && self.losses > 0;
        !is_lost && (self.committed.is_none() || self.committed == self.shipped)
    }

    /// Returns whether a restore from the archive would have the last commit.
    pub(super) fn is_safe(&self) -> bool {
        self.is_complete && self.is_all_shipped()
    }

    /// Returns the number of frames that are not shipped.
    pub(super) fn lag(&self) -> u32 {
        let committed = self.committed.map_or(0, |end| end.frames);
        let shipped = self.shipped.map_or(0, |end| self.frames_of(end));
        committed.saturating_sub(shipped)
    }

    /// Notes a commit.
    pub(super) fn note_commit(&mut self, mut commit: LoggedCommit, timeline: u64) {
        let end = commit.end;
        if let Some(before) = self.committed
            && before.salts != end.salts
            && self.shipped != Some(before)
        {
            // Another process has folded the log back.
            self.note_loss();
        }
        if self
            .commits
            .back()
            .is_some_and(|it| it.end.salts != end.salts)
        {
            self.commits.clear();
            self.taken = 0;
        }
        self.is_known = true;
        self.timeline = timeline;
        let is_before = |it: LogEnd| it.salts == end.salts && it.frames >= end.frames;
        if !self.committed.is_some_and(is_before) {
            self.committed = Some(end);
        }
        // A writer that opens the store again tells of all commits again.
        if self.commits.back().is_some_and(|it| is_before(it.end)) {
            return;
        }
        if self.commits.len() >= COMMITS_MAX
            && let Some(merged) = self.commits.pop_back()
        {
            commit.noted = merged.noted;
            self.taken = self.taken.min(self.commits.len());
        }
        self.commits.push_back(commit);
    }

    /// Notes that some of the log was folded back before it was shipped.
    pub(super) fn note_loss(&mut self) {
        self.losses += 1;
        self.lost_at = Some(Instant::now());
        self.shipped = None;
        self.is_complete = false;
        self.commits.clear();
        self.taken = 0;
    }

    /// Notes a commit whose place is not known: nothing is safe until the next one.
    pub(super) fn note_unknown(&mut self) {
        self.note_loss();
        self.is_known = false;
    }

    /// Notes that the log is empty.
    pub(super) fn note_empty(&mut self) {
        self.is_known = true;
        self.committed = None;
        self.shipped = None;
    }

    /// Notes that the whole log has to be shipped again.
    pub(super) fn begin_again(&mut self) {
        self.shipped = None;
        self.is_complete = false;
        self.taken = 0;
    }

    pub(super) fn take_commits(&mut self, end: LogEnd) -> (Vec<LoggedCommit>, u64) {
        let is_of = |it: &&LoggedCommit| it.end.salts == end.salts && it.end.frames <= end.frames;
        let left = self.commits.iter().skip(self.taken);
        let taken: Vec<_> = left.take_while(is_of).copied().collect();
        self.taken += taken.len();
        (taken, self.timeline)
    }

    /// Passes over the commits that the archive has.
    pub(super) fn skip_commits(&mut self, end: LogEnd) {
        let is_there =
            |it: &&LoggedCommit| it.end.salts == end.salts && it.end.frames <= end.frames;
        self.taken = self.commits.iter().take_while(is_there).count();
    }

    pub(super) fn note_shipped(&mut self, end: LogEnd) {
        self.shipped = Some(end);
        self.is_failing = false;
        self.is_slow = false;
        if self.is_all_shipped() {
            self.wanted = false;
        }
        if self.is_safe() {
            self.is_late = false;
        }
    }
}
