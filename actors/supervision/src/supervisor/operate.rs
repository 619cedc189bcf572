//! Requests: adding children, operating them, counting them.

use super::{
    Life, Supervisor,
    admin::{Admin, ChildCounts, ChildInfo, ChildReply, Operation, StartReply},
    kids::{After, Child, Phase, Why},
};
use crate::{
    error::{ChildError, StartChildError},
    node::{ChildId, ChildState, Kind},
    spec::{ChildSpec, Restart},
    validate,
};

impl Supervisor {
    pub(super) fn on_request(&mut self, request: Admin) {
        debug_assert!(matches!(self.life, Life::Up));
        match request {
            Admin::Start(spec, reply) => self.add(*spec, reply),
            Admin::On(name, operation, reply) => match self.find(&name) {
                Some(id) => self.operate(id, operation, reply),
                None => drop(reply.send(Err(ChildError::NotFound))),
            },
            Admin::Which(reply) => drop(reply.send(self.which())),
            Admin::Count(reply) => drop(reply.send(self.count())),
        }
    }

    fn add(&mut self, spec: ChildSpec, reply: StartReply) {
        if let Err(error) = self.may_add(&spec) {
            let _ = reply.send(Err(error));
            return;
        }
        let id = self.attach(spec, false);
        self.start_in_turn(id, Why::Added(reply));
    }

    fn find(&self, name: &str) -> Option<ChildId> {
        self.link.node.branch()?.by_name.get(name).copied()
    }

    fn may_add(&self, spec: &ChildSpec) -> Result<(), StartChildError> {
        validate::child(spec, self.link.node.path(), self.options.auto_shutdown)?;
        if let Some(id) = self.find(spec.name()) {
            let active = |child: &Child| child.phase().is_active();
            return Err(match self.kids.get(id).is_some_and(active) {
                true => StartChildError::AlreadyStarted,
                false => StartChildError::AlreadyPresent,
            });
        }
        match self.options.max_children {
            Some(max) if self.kids.len() >= max => Err(StartChildError::MaxChildren { max }),
            _ => Ok(()),
        }
    }

    fn operate(&mut self, id: ChildId, operation: Operation, reply: ChildReply) {
        match operation {
            Operation::Terminate => self.terminate(id, ChildState::Terminated, reply),
            Operation::Suspend => self.terminate(id, ChildState::Suspended, reply),
            Operation::Restart => match self.is_down(id) {
                Ok(ChildState::Suspended) => drop(reply.send(Err(ChildError::Suspended))),
                Ok(_) => self.start_in_turn(id, Why::Manual(reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Operation::Cycle => self.cycle(id, reply),
            Operation::Resume => match self.is_down(id) {
                Ok(ChildState::Suspended) => self.start_in_turn(id, Why::Resumed(reply)),
                _ => drop(reply.send(Err(ChildError::NotSuspended))),
            },
            Operation::Delete => match self.is_down(id) {
                Ok(_) => {
                    self.remove(id);
                    let _ = reply.send(Ok(()));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    fn cycle(&mut self, id: ChildId, reply: ChildReply) {
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        match child.phase() {
            Phase::Down(ChildState::Suspended) => drop(reply.send(Err(ChildError::Suspended))),
            Phase::Restarting if child.turn.is_none() => {
                child.attempt = 0;
                self.clear_timer(id);
                self.start_in_turn(id, Why::Manual(reply));
            }
            Phase::Down(_) => self.start_in_turn(id, Why::Manual(reply)),
            Phase::Starting(_) | Phase::Up => {
                child.attempt = 0;
                child.turn = Some(Why::Manual(reply));
                self.stop_child(id, After::Cycle);
            }
            Phase::Stopping(_) | Phase::Restarting => {
                let _ = reply.send(Err(ChildError::Restarting));
            }
        }
    }

    /// How it is down, or why it is not.
    fn is_down(&self, id: ChildId) -> Result<ChildState, ChildError> {
        match self.kids.get(id).map(Child::phase) {
            None => Err(ChildError::NotFound),
            Some(Phase::Down(state)) => Ok(*state),
            Some(Phase::Up) => Err(ChildError::Running),
            Some(Phase::Starting(_) | Phase::Stopping(_) | Phase::Restarting) => {
                Err(ChildError::Restarting)
            }
        }
    }

    fn terminate(&mut self, id: ChildId, state: ChildState, reply: ChildReply) {
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        let suspend = state == ChildState::Suspended;
        let after = match child.policy.restart {
            Restart::Temporary if !suspend => After::Remove,
            _ => After::Down(state),
        };
        child.attempt = 0;
        child.stop_replies.push(reply);
        match child.phase() {
            // Terminating what is down changes nothing; suspending it marks it as such.
            Phase::Down(was) => {
                let state = if suspend { state } else { *was };
                self.settle(id, After::Down(state));
            }
            _ => self.stop_child(id, after),
        }
    }

    fn which(&self) -> Vec<ChildInfo> {
        self.kids
            .iter()
            .map(|child| ChildInfo {
                name: child.node.name.to_string(),
                kind: child.node.kind,
                state: child.node.state(),
                restart: child.policy.restart,
            })
            .collect()
    }

    fn count(&self) -> ChildCounts {
        let specs = self.kids.len();
        let is_supervisor = |child: &&Child| child.node.kind == Kind::Supervisor;
        let supervisors = self.kids.iter().filter(is_supervisor).count();
        ChildCounts {
            specs,
            active: self.kids.active(),
            supervisors,
            workers: specs - supervisors,
        }
    }
}
