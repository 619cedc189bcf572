//! A lane: a window on the front of the ready tasks of a demand and priority.

use std::collections::VecDeque;

use deia_ledger::ReadyTask;
use deia_model::{BotName, TaskId};

use super::index::LaneFacts;

/// A lane, with the notes of what the store holds behind it.
#[derive(Debug)]
pub(super) struct Lane {
    /// Tasks in order of submission, without repetition.
    pub(super) tasks: VecDeque<Entry>,
    /// Lower bound of the time at which a task of the lane became ready, in milliseconds since
    /// the epoch.
    pub(super) ready_since: i64,
    /// True if the store may hold more behind these.
    pub(super) more: bool,
    pub(super) refilling: bool,
    /// True if a task was left to the store while the lane was being read: the read may be older
    /// than that task.
    pub(super) rescan: bool,
    /// Number of consecutive checks that found more tasks in the store than here, although none
    /// was known to wait there.
    short_looks: u32,
    /// Number of checks since the lane was last read from its beginning.
    looks: u32,
    /// True if the lane must be read from the store even though it is well filled.
    overdue: bool,
    /// Number of consecutive checks at which the store had no ready task of the lane.
    absent_looks: u32,
}

/// Number of consecutive checks after which a lane of one bot is dropped if the store has no task
/// of it. Lanes by type alone stay: their number is limited. Fixed: in looks, whose interval is
/// scheduler.poll_interval.
pub(super) const ABSENT_LOOKS_MAX: u32 = 3;

/// Number of consecutive checks after which additional tasks in the store count as
/// missed. Fixed: in looks, whose interval is scheduler.poll_interval.
const SHORT_LOOKS_MAX: u32 = 2;
/// Number of checks after which a lane with a part in the store is read from its beginning: a task
/// that was missed before its end would otherwise wait until the lane is empty. Fixed: in looks,
/// whose interval is scheduler.poll_interval.
pub(super) const LOOKS_MAX: u32 = 60;

/// A ready task in its lane.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) order: i64,
    pub(super) id: TaskId,
    pub(super) ready_at: i64,
    pub(super) last_bot: Option<BotName>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            tasks: VecDeque::new(),
            ready_since: i64::MAX,
            more: false,
            refilling: false,
            rescan: false,
            short_looks: 0,
            looks: 0,
            overdue: false,
            absent_looks: 0,
        }
    }
}

impl Lane {
    /// Returns the facts for the index; a lane with at most `low` tasks is low if the store may
    /// have more.
    pub(super) fn facts(&self, low: usize) -> LaneFacts {
        let is_short = self.overdue || self.tasks.len() <= low;
        LaneFacts {
            front: self.tasks.front().map(|first| first.order),
            tasks: self.tasks.len(),
            waits: !self.tasks.is_empty() || self.more || self.refilling,
            is_low: self.more && !self.refilling && is_short,
        }
    }

    /// Applies the number of ready tasks that the store has.
    pub(super) fn discover(&mut self, found: u64, claiming: u64) {
        if self.tasks.is_empty() {
            self.more = true;
            return;
        }
        let held = self.tasks.len() as u64 + claiming;
        let short = !self.more && !self.refilling && found > held;
        self.short_looks = if short { self.short_looks + 1 } else { 0 };
        self.looks += 1;
        if self.short_looks >= SHORT_LOOKS_MAX || (self.more && self.looks >= LOOKS_MAX) {
            self.more = true;
            self.rescan = true;
            self.overdue = true;
        }
    }

    /// Notes whether the store has no task of the lane. Forgets the lane after some such checks.
    pub(super) fn note_absence(&mut self, is_absent: bool) {
        self.absent_looks = if is_absent { self.absent_looks + 1 } else { 0 };
        if !self.refilling && self.absent_looks >= ABSENT_LOOKS_MAX {
            *self = Self::default();
        }
    }

    /// Begins to read the lane from the store. Returns the order after which to read.
    pub(super) fn begin_refill(&mut self) -> i64 {
        self.refilling = true;
        self.overdue = false;
        let last = self.tasks.back().map(|last| last.order);
        let after = last.filter(|_| !std::mem::take(&mut self.rescan));
        let after = after.unwrap_or(i64::MIN);
        if after == i64::MIN {
            (self.looks, self.short_looks) = (0, 0);
        }
        after
    }

    /// Returns the position of the task that has been ready longest, if that is since before
    /// then. Scans the lane only if there may be such a task.
    pub(super) fn longest_ready(&mut self, before: i64) -> Option<usize> {
        if self.ready_since > before {
            return None;
        }
        let all = self.tasks.iter().enumerate();
        let longest = all.min_by_key(|(_, entry)| (entry.ready_at, entry.order));
        let found = longest.map(|(at, entry)| (at, entry.ready_at));
        self.ready_since = found.map_or(i64::MAX, |(_, ready_at)| ready_at);
        found
            .filter(|(_, ready_at)| *ready_at <= before)
            .map(|(at, _)| at)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        self.ready_since = self.ready_since.min(entry.ready_at);
        if self
            .tasks
            .back()
            .is_none_or(|last| entry.order > last.order)
        {
            self.tasks.push_back(entry);
        } else if let Err(at) = self
            .tasks
            .binary_search_by_key(&entry.order, |entry| entry.order)
        {
            self.tasks.insert(at, entry);
        }
    }
}

impl Entry {
    pub(super) fn of(task: &ReadyTask) -> Self {
        Self {
            order: task.order,
            id: task.id,
            ready_at: task.ready_at,
            last_bot: task.last_bot.clone(),
        }
    }
}
