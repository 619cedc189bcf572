//! What becomes of the children on an arbiter that makes no progress.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Life, Supervisor,
    kids::{After, Phase, Why},
};
use crate::{
    driver::{Blocked, Culprit},
    events::EventKind,
    exit::ExitReason,
    node::{ChildId, ChildState},
    spec::{Restart, Strategy},
};

impl Supervisor {
    /// Takes the children away from there. The one that blocks it has failed; the others are
    /// rebuilt on a fresh arbiter, which counts as nobody's failure.
    pub(super) fn on_blocked(&mut self, blocked: Blocked) {
        if let Some(culprit) = blocked.culprit
            && !self.take_away(culprit.id, Some(culprit))
        {
            return; // it came back in time
        }
        let is_culprit = |id| blocked.culprit.is_some_and(|culprit| culprit.id == id);
        let mut rebuilt = Vec::new();
        for id in self.kids.ids() {
            let there = |node: &crate::node::Node| node.post() == blocked.post;
            let concerned = self.kids.get(id).is_some_and(|child| there(&child.node));
            if concerned && !is_culprit(id) && self.take_away(id, None) && self.displace(id) {
                rebuilt.push(id);
            }
        }
        self.rebuild(&rebuilt);
        if let Some(culprit) = blocked.culprit {
            self.on_stuck(culprit);
        }
    }

    /// Ends the lease of a child's driver: of one that is stuck in the poll that was seen, or of
    /// one that is not being polled.
    fn take_away(&mut self, id: ChildId, stuck: Option<Culprit>) -> bool {
        let Some(child) = self.kids.get_mut(id) else {
            return false;
        };
        if child.staff.is_unseated() {
            return false;
        }
        let seen = stuck.map_or_else(|| child.node.tenure.seen(), |culprit| culprit.seen);
        if (stuck.is_none() && seen.is_inside()) || !child.node.tenure.take_away(seen) {
            return false;
        }
        child.staff.unseat();
        child.node.set_stuck(false);
        true
    }

    /// A sibling of the one that is stuck lost its run. Whether it is to be rebuilt together with
    /// others.
    fn displace(&mut self, id: ChildId) -> bool {
        let Some(child) = self.kids.get(id) else {
            return false;
        };
        let (path, restart) = (Arc::clone(child.node.path()), child.policy.restart);
        match child.phase() {
            Phase::Down(_) | Phase::Restarting => false,
            Phase::Starting(_) => {
                if let Some(Phase::Starting(why)) = self.kids.set(id, Phase::Restarting) {
                    self.start_child(id, why);
                }
                false
            }
            Phase::Stopping(after) => {
                let after = *after;
                self.lost(id);
                let exit = ExitReason::Killed;
                self.shared.events.emit(&path, EventKind::Stopped { exit });
                self.settle(id, after);
                false
            }
            Phase::Up => {
                self.lost(id);
                self.shared.events.emit(&path, EventKind::Moved);
                if matches!(self.life, Life::Stopping(_)) {
                    self.settle(id, After::Down(ChildState::Declared));
                    return false;
                }
                self.settle(id, After::in_group(restart));
                restart != Restart::Temporary && !self.is_going_down(id)
            }
        }
    }

    fn lost(&mut self, id: ChildId) {
        if let Some(child) = self.kids.get_mut(id) {
            child.up_since = None;
            child.node.note_exit(&ExitReason::Killed);
        }
    }

    /// Starts those that lost their run, and whoever is restarted together with them.
    fn rebuild(&mut self, ids: &[ChildId]) {
        let Some(first) = ids.first() else {
            return;
        };
        match self.options.strategy {
            Strategy::OneForOne | Strategy::Dynamic => {
                for id in ids {
                    self.start_child(*id, Why::Again);
                }
            }
            Strategy::RestForOne => self.restart_group(*first, Instant::now()),
            Strategy::OneForAll => self.restart_group(0, Instant::now()),
        }
    }

    fn on_stuck(&mut self, culprit: Culprit) {
        let reason = ExitReason::Stuck {
            message_type: culprit.message_type,
        };
        match self.kids.get(culprit.id).map(super::kids::Child::phase) {
            Some(Phase::Starting(_)) => self.on_start_failed(culprit.id, reason),
            Some(Phase::Up | Phase::Stopping(_)) => self.on_exited(culprit.id, reason),
            Some(Phase::Down(_) | Phase::Restarting) | None => {}
        }
    }

    /// A child did not end although its time was up: whatever runs it is given up.
    pub(super) fn give_up_driver(&mut self, id: ChildId) -> Option<&'static str> {
        let child = self.kids.get_mut(id)?;
        let seen = child.node.tenure.seen();
        let message_type = match seen.is_inside() {
            true => child.node.in_hand(),
            false => None,
        };
        if child.node.tenure.take_away(seen) {
            child.staff.unseat();
        }
        message_type
    }
}
