//! Requests that add, operate and count children.

use std::sync::Arc;

use super::{
    Supervisor, SupervisorState,
    children::{AfterStop, Child, ChildPhase, StartCause},
    handle::{ChildCounts, ChildInfo, ChildReply, Operation, Request, StartReply},
};
use crate::{
    arbiters::ArbiterSlot,
    control::Parked,
    error::{ChildError, StartChildError},
    events::EventKind,
    panic::drop_quietly,
    record::ChildId,
    spec::{ChildSpec, Placement},
    state::{ChildState, Kind},
    validate::{self, Surroundings},
};
#[cfg(any(test, feature = "testing"))]
use crate::{control::Control, spec::Shutdown};

/// Gives a specification up. The values that its factory has captured may panic when they are
/// dropped.
fn refuse(spec: ChildSpec, reply: StartReply, error: StartChildError) {
    let _ = drop_quietly(spec);
    let _ = reply.send(Err(error));
}

/// Reason for which a supervisor lets nobody add or operate its children.
#[derive(Clone, Copy)]
enum Refusal {
    Parked(Parked),
    /// The supervisor is being stopped.
    Stopping,
}

impl From<Refusal> for StartChildError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Parked(Parked::Suspended) => Self::Suspended,
            Refusal::Parked(Parked::Down) => Self::Down,
            Refusal::Stopping => Self::Stopping,
        }
    }
}

impl From<Refusal> for ChildError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Parked(Parked::Suspended) => Self::Suspended,
            Refusal::Parked(Parked::Down) => Self::Down,
            Refusal::Stopping => Self::Stopping,
        }
    }
}

impl Supervisor {
    pub(super) fn on_request(&mut self, request: Request) {
        let refusal = match self.state {
            SupervisorState::Idle => self.parked.map(Refusal::Parked),
            SupervisorState::Stopping(_) => Some(Refusal::Stopping),
            SupervisorState::Starting | SupervisorState::Up => None,
        };
        match request {
            Request::Start(spec, reply) => match refusal {
                None => self.add(*spec, reply),
                Some(refusal) => refuse(*spec, reply, refusal.into()),
            },
            Request::On(name, operation, reply) => match (refusal, self.find(&name)) {
                (Some(refusal), _) => drop(reply.send(Err(refusal.into()))),
                (None, Some(id)) => self.operate(id, operation, reply),
                (None, None) => drop(reply.send(Err(ChildError::NotFound))),
            },
            Request::Which(reply) => drop(reply.send(self.which())),
            Request::Count(reply) => drop(reply.send(self.count())),
            #[cfg(test)]
            Request::Panic => panic!("told to panic"),
        }
    }

    fn add(&mut self, spec: ChildSpec, reply: StartReply) {
        if let Err(error) = self.may_add(&spec) {
            return refuse(spec, reply, error);
        }
        let id = self.attach(spec, false);
        self.start_or_defer(id, StartCause::Added(reply));
    }

    fn find(&self, name: &str) -> Option<ChildId> {
        self.line.record.child_index()?.by_name.get(name).copied()
    }

    fn may_add(&self, spec: &ChildSpec) -> Result<(), StartChildError> {
        let surroundings = Surroundings {
            parent: self.line.record.path(),
            auto_shutdown: self.options.auto_shutdown,
            groups: self.shared.pool.sizes(),
        };
        validate::child(spec, surroundings)?;
        validate::peers(spec, self.line.record.path(), &|peer| {
            let peer = self.shared.root.descendant(peer);
            peer.is_some_and(|peer| peer.kind == Kind::Worker)
        })?;
        if let Some(id) = self.find(spec.name()) {
            let active = |child: &Child| child.phase().is_active();
            return Err(if self.children.get(id).is_some_and(active) {
                StartChildError::AlreadyStarted
            } else {
                StartChildError::AlreadyPresent
            });
        }
        match self.options.max_children {
            Some(max) if self.children.len() >= max => Err(StartChildError::MaxChildren { max }),
            _ => Ok(()),
        }
    }

    fn operate(&mut self, id: ChildId, operation: Operation, reply: ChildReply) {
        match operation {
            Operation::Terminate => self.terminate(id, ChildState::Terminated, reply),
            Operation::Suspend(suspended) => self.suspend(id, suspended, reply),
            Operation::Enforce => self.enforce_rules(id, reply),
            Operation::Release => self.release(id, reply),
            Operation::Restart => match self.is_down(id) {
                Ok(ChildState::Suspended) => drop(reply.send(Err(ChildError::Suspended))),
                Ok(_) => self.start_or_defer(id, StartCause::Manual(reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Operation::Bounce => self.bounce(id, reply),
            Operation::Move(placement) => self.move_child(id, placement, reply),
            #[cfg(any(test, feature = "testing"))]
            Operation::Fail => self.fail_child(id, reply),
            Operation::Resume => self.resume(id, reply),
            Operation::Delete => match self.is_down(id) {
                Ok(_) => {
                    self.remove(id);
                    let _ = reply.send(Ok(()));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    fn bounce(&mut self, id: ChildId, reply: ChildReply) {
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        match child.phase() {
            ChildPhase::Down(ChildState::Suspended) => drop(reply.send(Err(ChildError::Suspended))),
            ChildPhase::Restarting if child.deferred_start.is_none() => {
                child.attempt = 0;
                self.clear_timer(id);
                self.start_or_defer(id, StartCause::Bounced(reply));
            }
            ChildPhase::Down(_) => self.start_or_defer(id, StartCause::Manual(reply)),
            ChildPhase::Starting(_) | ChildPhase::Up => {
                child.attempt = 0;
                child.deferred_start = Some(StartCause::Bounced(reply));
                self.stop_child(id, AfterStop::Bounce);
            }
            ChildPhase::Stopping(_) | ChildPhase::Restarting => {
                let _ = reply.send(Err(ChildError::Restarting));
            }
        }
    }

    /// Ends the run of a child. Nobody has asked it to stop, so its exit is a failure.
    #[cfg(any(test, feature = "testing"))]
    fn fail_child(&mut self, id: ChildId, reply: ChildReply) {
        let running = |child: &&mut Child| matches!(child.phase(), ChildPhase::Up);
        let answer = match self.children.get_mut(id).filter(running) {
            Some(child) => {
                child.control.send(Control::Stop(Shutdown::Brutal));
                Ok(())
            }
            None => Err(ChildError::Down),
        };
        let _ = reply.send(answer);
    }

    fn move_child(&mut self, id: ChildId, placement: Placement, reply: ChildReply) {
        if let Placement::Group(group) = &placement
            && self.shared.pool.sizes().of(group).is_none()
        {
            let group = Arc::clone(group);
            return drop(reply.send(Err(ChildError::UnknownGroup { group })));
        }
        if let Placement::With(peer) = &placement
            && self.slot_of(peer).is_none()
        {
            let peer = Arc::clone(peer);
            return drop(reply.send(Err(ChildError::UnknownPeer { peer })));
        }
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        if child.record.kind == Kind::Supervisor {
            return drop(reply.send(Err(ChildError::NotAWorker)));
        }
        match child.phase() {
            ChildPhase::Down(_) | ChildPhase::Restarting => {
                child.move_to(placement);
                child.release();
                let _ = reply.send(Ok(()));
            }
            ChildPhase::Starting(_) | ChildPhase::Up => {
                child.move_to(placement);
                child.is_moving = true;
                child.deferred_start = Some(StartCause::Bounced(reply));
                let path = Arc::clone(child.record.path());
                self.shared.events.emit(&path, EventKind::Moved);
                self.stop_child(id, AfterStop::Bounce);
            }
            ChildPhase::Stopping(_) => drop(reply.send(Err(ChildError::Restarting))),
        }
    }

    /// Returns the arbiter of the worker at `path`, if that can take another child.
    fn slot_of(&self, path: &str) -> Option<Arc<ArbiterSlot>> {
        let peer = self.shared.root.descendant(path)?;
        match peer.kind {
            Kind::Worker => self.shared.pool.usable(peer.slot()),
            _ => None,
        }
    }

    /// Returns the state of a child that is down, or the error that says why it is not.
    pub(super) fn is_down(&self, id: ChildId) -> Result<ChildState, ChildError> {
        match self.children.get(id).map(Child::phase) {
            None => Err(ChildError::NotFound),
            Some(ChildPhase::Down(state)) => Ok(*state),
            Some(ChildPhase::Up) => Err(ChildError::Running),
            Some(ChildPhase::Starting(_) | ChildPhase::Stopping(_) | ChildPhase::Restarting) => {
                Err(ChildError::Restarting)
            }
        }
    }

    fn which(&self) -> Vec<ChildInfo> {
        self.children
            .iter()
            .map(|child| ChildInfo {
                name: Arc::clone(&child.record.name),
                kind: child.record.kind,
                state: child.record.state(),
                restart: child.policy.restart,
            })
            .collect()
    }

    fn count(&self) -> ChildCounts {
        let (specs, supervisors) = (self.children.len(), self.children.supervisors());
        ChildCounts {
            specs,
            active: self.children.active(),
            supervisors,
            workers: specs - supervisors,
        }
    }
}
