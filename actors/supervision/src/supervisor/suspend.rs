//! Children that are down on purpose.

use std::sync::Arc;

use super::{
    Supervisor, SupervisorState,
    children::{AfterStop, Child, ChildPhase, StartCause},
    handle::ChildReply,
};
use crate::{
    control::Parked,
    error::ChildError,
    events::EventKind,
    record::ChildId,
    shedding::Suspended,
    spec::{MailOnEscalation, Restart},
    state::{ChildState, Kind},
};

impl Supervisor {
    /// Returns the reason for which this child must be down as part of something that is suspended
    /// as a whole.
    pub(super) fn rule_for(&self, id: ChildId) -> Option<Suspended> {
        let child = self.children.get(id)?;
        self.shared.rules.matching(&child.policy, child.record.kind)
    }

    /// Returns the reason for which a child is suspended, by itself or as part of something.
    pub(super) fn suspension_of(&self, id: ChildId) -> Option<Suspended> {
        let child = self.children.get(id)?;
        let by_hand = child.suspended_by_hand.clone();
        by_hand.or_else(|| self.rule_for(id))
    }

    /// Does not start a child that is part of something suspended; it starts when that is resumed.
    pub(super) fn hold(&mut self, id: ChildId, why: StartCause, suspended: Suspended) {
        self.clear_timer(id);
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        child.record.set_suspended(Some(suspended.clone()));
        let path = Arc::clone(child.record.path());
        self.children
            .set(id, ChildPhase::Down(ChildState::Suspended));
        let kind = EventKind::Suspended { cause: suspended };
        self.shared.events.emit(&path, kind);
        match why {
            // The child was added, as requested.
            StartCause::Added(reply) => drop(reply.send(Ok(()))),
            StartCause::Manual(reply) | StartCause::Bounced(reply) | StartCause::Resumed(reply) => {
                drop(reply.send(Err(ChildError::Suspended)));
            }
            StartCause::Initial | StartCause::Again => {}
        }
    }

    /// Keeps a child suspended that did not come up when it was resumed.
    pub(super) fn keep_suspended(&mut self, id: ChildId, suspended: Suspended) {
        if let Some(child) = self.children.get(id) {
            child.record.set_suspended(Some(suspended));
        }
        self.children
            .set(id, ChildPhase::Down(ChildState::Suspended));
    }

    /// Completes the suspension of a child that is now down.
    pub(super) fn finish_suspension(&mut self, id: ChildId) {
        let suspended = self.suspension_of(id);
        let Some(child) = self.children.get(id) else {
            return;
        };
        child.record.set_suspended(suspended.clone());
        if let Some(cause) = suspended {
            let kind = EventKind::Suspended { cause };
            return self.shared.events.emit(child.record.path(), kind);
        }
        // The whole that the child is part of was resumed while the child was stopping.
        if !matches!(self.state, SupervisorState::Stopping(_)) {
            self.start_or_defer(id, StartCause::Again);
        }
    }

    /// Suspends a child by itself.
    pub(super) fn suspend(&mut self, id: ChildId, suspended: Suspended, reply: ChildReply) {
        if let Some(child) = self.children.get_mut(id) {
            child.suspended_by_hand = Some(suspended);
        }
        self.terminate(id, ChildState::Suspended, reply);
    }

    /// Resumes a child that is suspended by itself.
    pub(super) fn resume(&mut self, id: ChildId, reply: ChildReply) {
        if !matches!(self.is_down(id), Ok(ChildState::Suspended)) {
            return drop(reply.send(Err(ChildError::NotSuspended)));
        }
        let Some(suspended) = self.rule_for(id) else {
            return self.start_or_defer(id, StartCause::Resumed(reply));
        };
        if let Some(child) = self.children.get_mut(id) {
            child.suspended_by_hand = None;
            child.record.set_suspended(Some(suspended));
        }
        let _ = reply.send(Err(ChildError::Suspended));
    }

    /// Suspends a child if it is part of something that is suspended now.
    pub(super) fn enforce_rules(&mut self, id: ChildId, reply: ChildReply) {
        let is_down = matches!(self.is_down(id), Ok(ChildState::Suspended));
        if is_down || self.rule_for(id).is_none() {
            let _ = reply.send(Ok(()));
        } else {
            self.terminate(id, ChildState::Suspended, reply);
        }
    }

    /// Resumes a child that was suspended as part of something, if it is not any more.
    pub(super) fn release(&mut self, id: ChildId, reply: ChildReply) {
        let by_hand = |child: &Child| child.suspended_by_hand.is_some();
        let is_down = matches!(self.is_down(id), Ok(ChildState::Suspended));
        let stays = self.children.get(id).is_none_or(by_hand) || self.rule_for(id).is_some();
        if is_down && !stays {
            self.start_or_defer(id, StartCause::Resumed(reply));
        } else {
            let _ = reply.send(Ok(()));
        }
    }

    pub(super) fn terminate(&mut self, id: ChildId, state: ChildState, reply: ChildReply) {
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        let suspend = state == ChildState::Suspended;
        let after = match child.policy.restart {
            Restart::Temporary if !suspend => AfterStop::Remove,
            _ => AfterStop::Down(state),
        };
        child.attempt = 0;
        child.stop_replies.push(reply);
        match child.phase() {
            // Terminating a child that is down changes nothing; suspending it marks it as such.
            ChildPhase::Down(was) => {
                let state = if suspend { state } else { *was };
                self.finish_stop(id, AfterStop::Down(state));
            }
            _ => self.stop_child(id, after),
        }
    }

    /// Marks the supervisor as staying down, and reports that to callers that wait and to all
    /// children below; or takes the mark away.
    pub(super) fn park(&mut self, parked: Option<Parked>) {
        self.parked = parked;
        self.children.park_all(parked);
    }

    pub(super) fn takes_requests(&self) -> bool {
        match self.state {
            SupervisorState::Starting | SupervisorState::Up => true,
            // A supervisor that is about to be started is worth waiting for.
            SupervisorState::Idle => self.parked.is_some(),
            // The supervisor refuses them, because its children determine how long it takes to
            // stop.
            SupervisorState::Stopping(_) => true,
        }
    }

    /// Drops the mail of the children that are set to that, when the supervisor is started again
    /// because it, or one above it, has failed.
    pub(super) fn after_failure(&mut self) {
        for id in self.children.ids() {
            let Some(child) = self.children.get(id) else {
                continue;
            };
            match (&child.assignment.worker, child.record.kind) {
                (_, Kind::Supervisor) => child.record.set_after_failure(),
                (Some(worker), _) if child.policy.mail_on_escalation == MailOnEscalation::Drop => {
                    worker.drop_mail();
                }
                _ => {}
            }
        }
    }
}
