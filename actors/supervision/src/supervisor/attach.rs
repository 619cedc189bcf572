//! Taking children in, and letting them go.

use std::sync::Arc;

use super::{
    Supervisor,
    children::{Assignment, Child},
};
use crate::{
    arbiters::{ArbiterSlot, HERE, SlotGuard},
    child::WorkerBody,
    control::{self, ControlReceiver},
    fence::Lease,
    record::{ChildId, ChildRecord, Registration},
    signal::SupervisorLine,
    spec::{Body, ChildSpec, Placement},
    state::ChildState,
    validate::join,
};
use actix_rt::{Arbiter, System};

/// Has a new worker task run the child there.
fn assign(
    worker: &Arc<dyn WorkerBody>,
    line: SupervisorLine,
    slot: &Arc<ArbiterSlot>,
    placement: Placement,
) -> SlotGuard {
    line.record.set_slot(slot.id);
    let slot_guard = SlotGuard::on(slot);
    let worker = Arc::clone(worker);
    if slot.id == HERE {
        drop(worker.run(line));
        return slot_guard;
    }
    let own = placement == Placement::Own;
    slot.run(move || {
        let running = worker.run(line);
        if own {
            actix_rt::spawn(async move {
                let _ = running.await;
                Arbiter::current().stop();
            });
        }
    });
    slot_guard
}

impl Supervisor {
    /// Takes a child in: gives it its place and its task, but does not start it.
    pub(super) fn attach(&mut self, spec: ChildSpec, declared: bool) -> ChildId {
        let id = self.children.next_id();
        let ChildSpec {
            policy,
            record,
            body,
        } = spec;
        let policy = Arc::new(policy);
        let budget = policy.budget.as_ref().unwrap_or(&self.options.intensity);
        record.attach(Registration {
            path: join(self.line.record.path(), &record.name).into(),
            policy: Arc::clone(&policy),
            window: budget.fast,
        });
        if let Some(mut index) = self.line.record.child_index() {
            index.by_name.insert(Arc::clone(&record.name), id);
            index.by_id.insert(id, Arc::clone(&record));
        }
        let lease = Lease::of(&record);
        let (control_sender, control) = control::channel(lease.clone());
        let line = self.line_to(id, &record, control, lease);
        let assignment = match body {
            Body::Supervisor(body) => {
                let supervisor = Self::new(line, *body, Arc::clone(&self.shared));
                actix_rt::spawn(supervisor.run());
                Assignment::default()
            }
            Body::Worker(worker) => {
                let _ = record.worker.set(Arc::downgrade(&worker));
                let slot = self.slot(policy.placement);
                let slot_guard = Some(assign(&worker, line, &slot, policy.placement));
                let worker = Some(worker);
                Assignment { worker, slot_guard }
            }
        };
        let child = Child::new(record, policy, control_sender, assignment, declared);
        self.children.insert(id, child);
        id
    }

    /// Gives a child whose worker task was given up another one, on another arbiter.
    pub(super) fn reassign(&mut self, id: ChildId) {
        let Some(child) = self.children.get(id) else {
            return;
        };
        let Some(worker) = child.assignment.worker.clone() else {
            return;
        };
        let (record, placement) = (Arc::clone(&child.record), child.policy.placement);
        let slot = match placement {
            Placement::RoundRobin => self.shared.pool.successor(record.slot()),
            placement => self.slot(placement),
        };
        let lease = Lease::of(&record);
        let control = child.control.renew(lease.clone());
        let line = self.line_to(id, &record, control, lease);
        let slot_guard = assign(&worker, line, &slot, placement);
        if let Some(child) = self.children.get_mut(id) {
            child.assignment.slot_guard = Some(slot_guard);
        }
    }

    fn line_to(
        &self,
        id: ChildId,
        record: &Arc<ChildRecord>,
        control: ControlReceiver,
        lease: Lease,
    ) -> SupervisorLine {
        SupervisorLine {
            id,
            record: Arc::clone(record),
            control,
            lease,
            signals: self.signal_sender.clone(),
        }
    }

    fn slot(&self, placement: Placement) -> Arc<ArbiterSlot> {
        let pool = &self.shared.pool;
        if placement != Placement::Here && System::try_current().is_none() {
            tracing::warn!("no actix system on this thread: all children run on it");
            return Arc::clone(pool.here());
        }
        match placement {
            Placement::Here => Arc::clone(pool.here()),
            Placement::RoundRobin => pool.next(),
            Placement::Own => pool.own(),
        }
    }

    /// Removes a child that is down; its task ends, its handle is gone.
    pub(super) fn remove(&mut self, id: ChildId) {
        self.clear_timer(id);
        let Some(child) = self.children.remove(id) else {
            return;
        };
        for reply in child.stop_replies {
            let _ = reply.send(Ok(()));
        }
        child.record.set_state(ChildState::Removed);
        child.record.history().monitors.clear();
        if let Some(mut index) = self.line.record.child_index() {
            index.by_id.remove(&id);
            index.by_name.remove(&child.record.name);
        }
    }
}
