//! Evacuation of the children on an arbiter that makes no progress.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Supervisor, SupervisorState,
    children::{AfterStop, Child, ChildPhase, StartCause},
};
use crate::{
    events::EventKind,
    exit::ExitReason,
    record::ChildId,
    signal::{Blocked, BlockedBy},
    spec::{Restart, Strategy},
    state::ChildState,
};

impl Supervisor {
    /// Takes the children away from a blocked arbiter. The child that blocks it has failed; the
    /// others are restarted elsewhere, which counts as nobody's failure.
    pub(super) fn on_blocked(&mut self, blocked: Blocked) {
        if let Some(blocked_by) = blocked.blocked_by {
            if !self.revoke(blocked_by.id, Some(blocked_by)) {
                return; // it came back in time
            }
            // Handled first, so that it is counted before a group is opened on behalf of the
            // others.
            self.on_stuck(blocked_by);
        }
        let mut rebuilt = Vec::new();
        for id in self.children.ids() {
            let is_there = |child: &Child| child.record.slot() == blocked.slot;
            let is_concerned = self.children.get(id).is_some_and(is_there);
            if is_concerned && self.revoke(id, None) && self.evacuate(id) {
                rebuilt.push(id);
            }
        }
        self.rebuild(&rebuilt);
    }

    /// Ends the lease of a child's worker task, if the task is stuck in the poll that was seen, or
    /// is not being polled.
    fn revoke(&mut self, id: ChildId, stuck: Option<BlockedBy>) -> bool {
        let Some(child) = self.children.get_mut(id) else {
            return false;
        };
        if child.assignment.is_unassigned() {
            return false;
        }
        let snapshot = stuck.map_or_else(
            || child.record.fence.snapshot(),
            |blocked_by| blocked_by.snapshot,
        );
        if (stuck.is_none() && snapshot.is_inside()) || !child.record.fence.revoke(snapshot) {
            return false;
        }
        child.record.notify_revoked();
        child.unassign();
        child.record.clear_stuck();
        true
    }

    /// Handles a sibling of the stuck child that lost its run. Returns true if it must be restarted
    /// together with others.
    fn evacuate(&mut self, id: ChildId) -> bool {
        let Some(child) = self.children.get(id) else {
            return false;
        };
        let (path, restart) = (Arc::clone(child.record.path()), child.policy.restart);
        match child.phase() {
            ChildPhase::Down(_) | ChildPhase::Restarting => false,
            ChildPhase::Starting(_) => {
                if let Some(ChildPhase::Starting(why)) =
                    self.children.set(id, ChildPhase::Restarting)
                {
                    self.start_child(id, why);
                }
                false
            }
            ChildPhase::Stopping(after) => {
                let after = *after;
                self.record_lost_run(id);
                let exit = ExitReason::Killed;
                self.shared.events.emit(&path, EventKind::Stopped { exit });
                self.finish_stop(id, after);
                false
            }
            ChildPhase::Up => {
                self.record_lost_run(id);
                self.shared.events.emit(&path, EventKind::Moved);
                if matches!(self.state, SupervisorState::Stopping(_)) {
                    self.finish_stop(id, AfterStop::Down(ChildState::Declared));
                    return false;
                }
                self.finish_stop(id, AfterStop::in_group(restart));
                restart != Restart::Temporary && !self.is_going_down(id)
            }
        }
    }

    fn record_lost_run(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(id) {
            child.up_since = None;
            child.record.record_exit(&ExitReason::Killed);
        }
    }

    /// Starts the children that lost their run, and those that are restarted together with them.
    fn rebuild(&mut self, ids: &[ChildId]) {
        let Some(first) = ids.first() else {
            return;
        };
        match self.options.strategy {
            Strategy::OneForOne | Strategy::Dynamic => {
                for id in ids {
                    self.start_child(*id, StartCause::Again);
                }
            }
            Strategy::RestForOne => self.restart_group(*first, Instant::now()),
            Strategy::OneForAll => self.restart_group(0, Instant::now()),
        }
    }

    /// Handles the stop of a child's arbiter by something outside this runtime. Everything that was
    /// running there was dropped; the next run is on another arbiter.
    pub(super) fn on_task_lost(&mut self, id: ChildId, lease: u32) {
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        if child.record.fence.snapshot().lease() != lease || child.assignment.is_unassigned() {
            return; // it is run by another task already
        }
        child.unassign();
        match child.phase() {
            ChildPhase::Starting(_) => self.on_start_failed(id, ExitReason::Killed),
            ChildPhase::Up | ChildPhase::Stopping(_) => self.on_exited(id, ExitReason::Killed),
            ChildPhase::Down(_) | ChildPhase::Restarting => {}
        }
    }

    fn on_stuck(&mut self, blocked_by: BlockedBy) {
        let reason = ExitReason::Stuck {
            message_type: blocked_by.message_type,
        };
        match self.children.get(blocked_by.id).map(Child::phase) {
            Some(ChildPhase::Starting(_)) => self.on_start_failed(blocked_by.id, reason),
            Some(ChildPhase::Up | ChildPhase::Stopping(_)) => self.on_exited(blocked_by.id, reason),
            Some(ChildPhase::Down(_) | ChildPhase::Restarting) | None => {}
        }
    }

    /// Gives up the task of a child that did not end although its time was up.
    pub(super) fn abandon_task(&mut self, id: ChildId) -> Option<&'static str> {
        let child = self.children.get_mut(id)?;
        let snapshot = child.record.fence.end_lease();
        // The caller whose question is being handled gets no answer from this run any more.
        child.record.notify_revoked();
        child.record.clear_stuck();
        child.unassign();
        if snapshot.is_inside() {
            child.record.current_message()
        } else {
            None
        }
    }
}
