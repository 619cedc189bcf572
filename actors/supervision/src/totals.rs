//! Counts over a whole tree, kept as things change, so that they cost nothing to read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde::Serialize;

use crate::state::ChildState;

/// Summary of a tree in a few numbers: see [`Tree::status_summary`](crate::Tree::status_summary).
/// Counts workers and supervisors, the root included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TreeSummary {
    /// Number of all children.
    pub children: usize,
    /// Number of children that are up.
    pub running: usize,
    /// Number of children that are being built.
    pub starting: usize,
    /// Number of children that were asked to stop.
    pub stopping: usize,
    /// Number of children that wait for their restart.
    pub restarting: usize,
    /// Number of children that were stopped on purpose, to be resumed.
    pub suspended: usize,
    /// Number of children that were left down because their restart budget is used up.
    pub quarantined: usize,
    /// Number of children that were terminated, ended by themselves, declined, or are below a
    /// supervisor that is down.
    pub down: usize,
    /// Number of automatic restarts since the tree was started.
    pub restarts: u64,
}

#[derive(Default)]
pub(crate) struct Totals {
    by_state: [AtomicUsize; ChildState::COUNT],
    restarts: AtomicU64,
}

impl Totals {
    /// Counts a child that was added.
    pub(crate) fn add(&self, state: ChildState) {
        if state != ChildState::Removed {
            self.by_state[state as usize].fetch_add(1, Relaxed);
        }
    }

    /// Counts a child that has left this state.
    pub(crate) fn remove(&self, state: ChildState) {
        if state != ChildState::Removed {
            self.by_state[state as usize].fetch_sub(1, Relaxed);
        }
    }

    pub(crate) fn add_restart(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    pub(crate) fn summary(&self) -> TreeSummary {
        let count = |state: ChildState| self.by_state[state as usize].load(Relaxed);
        let down = [
            ChildState::Declared,
            ChildState::Terminated,
            ChildState::Ended,
            ChildState::Ignored,
        ];
        let mut summary = TreeSummary {
            children: 0,
            running: count(ChildState::Running),
            starting: count(ChildState::Starting),
            stopping: count(ChildState::Stopping),
            restarting: count(ChildState::Restarting),
            suspended: count(ChildState::Suspended),
            quarantined: count(ChildState::Quarantined),
            down: down.into_iter().map(count).sum(),
            restarts: self.restarts.load(Relaxed),
        };
        summary.children = summary.running
            + summary.starting
            + summary.stopping
            + summary.restarting
            + summary.suspended
            + summary.quarantined
            + summary.down;
        summary
    }
}
