//! The state of the hand-over, without locks.

use std::collections::VecDeque;

use deia_model::Timestamp;

use super::Feed;

/// Commits that are kept one by one; beyond, the newest entry stands for several. Fixed: a
/// bound of the memory while the archive cannot be written, of some MiB.
const COMMITS_MAX: usize = 65_536;

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
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) committed: Option<LogEnd>,
    pub(super) shipped: Option<LogEnd>,
    pub(super) commits: VecDeque<LoggedCommit>,
    timeline: u64,
    /// Time of the first commit behind `shipped`.
    unshipped_since: Option<Timestamp>,
    pub(super) losses: u64,
    pub(super) is_failing: bool,
    /// True if a commit was answered before the archive had it, although it had to wait.
    pub(super) is_late: bool,
    /// True if somebody waits for the archive.
    pub(super) wanted: bool,
    /// True once, to end a wait of the shipper.
    pub(super) woken: bool,
    /// True once the store has noted its log.
    pub(super) is_known: bool,
    /// True if the archive has a snapshot that the shipped log goes on from.
    pub(super) is_complete: bool,
}

impl State {
    pub(super) fn look(&self) -> Feed {
        Feed {
            committed: self.committed,
            shipped: self.shipped,
            unshipped_since: match self.is_all_shipped() {
                true => None,
                false => self.unshipped_since,
            },
            losses: self.losses,
            is_known: self.is_known,
            is_urgent: self.is_urgent(),
        }
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.wanted && !self.is_all_shipped()
    }

    /// Returns whether the archive has the last commit.
    pub(super) fn is_all_shipped(&self) -> bool {
        self.committed.is_none() || self.committed == self.shipped
    }

    /// Returns whether a restore from the archive would have the last commit.
    pub(super) fn is_safe(&self) -> bool {
        self.is_complete && self.is_all_shipped()
    }

    /// Returns the number of frames that are not shipped.
    pub(super) fn lag(&self) -> u32 {
        let committed = self.committed.map_or(0, |end| end.frames);
        match (self.committed, self.shipped) {
            (Some(a), Some(b)) if a.salts == b.salts => committed.saturating_sub(b.frames),
            _ => committed,
        }
    }

    pub(super) fn note_commit(&mut self, end: LogEnd, seq: u64, timeline: u64, at: Timestamp) {
        if let Some(before) = self.committed
            && before.salts != end.salts
            && self.shipped != Some(before)
        {
            // Another process has folded the log back.
            self.losses += 1;
            self.commits.clear();
        }
        if self.is_all_shipped() {
            self.unshipped_since = Some(at);
        }
        self.is_known = true;
        self.committed = Some(end);
        self.timeline = timeline;
        let commit = LoggedCommit { end, seq, at };
        if self.commits.len() >= COMMITS_MAX {
            self.commits.pop_back();
        }
        self.commits.push_back(commit);
    }

    pub(super) fn take_commits(&mut self, end: LogEnd) -> (Vec<LoggedCommit>, u64) {
        let is_of = |it: &LoggedCommit| it.end.salts == end.salts && it.end.frames <= end.frames;
        let count = self.commits.iter().take_while(|it| is_of(it)).count();
        (self.commits.drain(..count).collect(), self.timeline)
    }

    pub(super) fn note_shipped(&mut self, end: LogEnd) {
        self.shipped = Some(end);
        self.is_failing = false;
        self.unshipped_since = self.commits.front().map(|commit| commit.at);
        if self.is_all_shipped() {
            self.wanted = false;
        }
        if self.is_safe() {
            self.is_late = false;
        }
    }
}
