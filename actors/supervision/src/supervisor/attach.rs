//! Adding and removing children.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering},
};

use actix_rt::System;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Shared, Supervisor,
    children::{Assignment, Child},
};
use crate::{
    arbiters::{HERE, POOL, SlotGuard},
    control::ControlSender,
    events::EventKind,
    fence::Lease,
    record::{ChildId, ChildRecord, Registration},
    signal::{ChildSignal, SupervisorLine},
    spec::{Body, ChildSpec, Defaults, Placement},
    state::Kind,
};

impl Supervisor {
    /// Registers a child, but does not start it. A worker gets its task when it is started.
    pub(super) fn attach(&mut self, spec: ChildSpec, declared: bool) -> ChildId {
        let id = self.children.next_id();
        let ChildSpec {
            policy,
            record,
            body,
        } = spec;
        let path = self.path_of(&record.name);
        let policy = Arc::new(policy);
        let budget = policy.budget.as_ref().unwrap_or(&self.options.intensity);
        let stall = self.defaults.for_those_below(&policy).stall();
        if stall.is_some() {
            let has_stall_limits = &self.shared.has_stall_limits;
            has_stall_limits.store(true, Ordering::Relaxed);
        }
        record.attach(Registration {
            path,
            policy: Arc::clone(&policy),
            window: budget.fast,
            stall: stall.filter(|_| record.kind == Kind::Worker),
            totals: Arc::clone(&self.shared.totals),
        });
        if let Some(mut index) = self.line.record.child_index() {
            index.by_name.insert(Arc::clone(&record.name), id);
            index.by_id.insert(id, Arc::clone(&record));
        }
        let control = ControlSender::new();
        let assignment = match body {
            Body::Supervisor(body) => {
                let defaults = self.defaults.for_those_below(&policy);
                let line = self.line_to(id, &record, &control);
                let supervisor = Self::new(line, *body, defaults, Arc::clone(&self.shared));
                actix_rt::spawn(supervisor.run());
                Assignment::default()
            }
            Body::Worker(worker) => {
                let _ = record.worker.set(Arc::downgrade(&worker));
                Assignment {
                    worker: Some(worker),
                    slot_guard: None,
                }
            }
        };
        let child = Child::new(record, policy, control, assignment, declared);
        self.children.insert(id, child);
        id
    }

    fn path_of(&mut self, name: &str) -> Arc<str> {
        self.scratch.clear();
        self.scratch.push_str(self.line.record.path());
        self.scratch.push('/');
        self.scratch.push_str(name);
        Arc::from(self.scratch.as_str())
    }

    fn line_to(
        &self,
        id: ChildId,
        record: &Arc<ChildRecord>,
        control: &ControlSender,
    ) -> SupervisorLine {
        line(id, record, control, &self.signal_sender)
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
        if let Some(why) = child.deferred_start {
            why.stopped();
        }
        child.record.set_removed();
        if let Some(mut index) = self.line.record.child_index() {
            index.by_id.remove(&id);
            index.by_name.remove(&child.record.name);
        }
    }
}

fn line(
    id: ChildId,
    record: &Arc<ChildRecord>,
    control: &ControlSender,
    signals: &UnboundedSender<ChildSignal>,
) -> SupervisorLine {
    let lease = Lease::of(record);
    SupervisorLine {
        id,
        record: Arc::clone(record),
        control: control.connect(lease.clone()),
        lease,
        signals: signals.clone(),
        in_run: Cell::new(None),
    }
}

/// Source of the tasks of workers.
pub(super) struct Assigner<'a> {
    pub(super) shared: &'a Shared,
    pub(super) defaults: &'a Defaults,
    pub(super) signals: &'a UnboundedSender<ChildSignal>,
}

impl Assigner<'_> {
    /// Gives a worker a task, which starts it as its current incarnation.
    pub(super) fn assign(&self, id: ChildId, child: &mut Child) -> Result<(), String> {
        let Some(worker) = child.assignment.worker.clone() else {
            return Ok(());
        };
        let placement = child.moved_to.as_ref().or(child.policy.placement.as_ref());
        let slot_guard = self.acquire(placement.unwrap_or(&self.defaults.placement));
        for arbiter in self.shared.pool.take_untold() {
            let kind = EventKind::ArbiterNotReplaced { arbiter };
            self.shared.events.emit(self.shared.root.path(), kind);
        }
        let slot_guard = slot_guard?;
        let slot = Arc::clone(slot_guard.slot());
        child.record.set_slot(slot.id);
        child.assignment.slot_guard = Some(slot_guard);
        if slot.id != HERE {
            worker.watch_questions();
        }
        let line = line(id, &child.record, &child.control, self.signals);
        let (task_slot, incarnation) = (Arc::clone(&slot), child.incarnation);
        slot.run(move || worker.run(line, task_slot, incarnation));
        Ok(())
    }

    /// Acquires a slot on the arbiter that `placement` says.
    fn acquire(&self, placement: &Placement) -> Result<SlotGuard, String> {
        let pool = &self.shared.pool;
        if *placement == Placement::Here {
            return Ok(SlotGuard::on(pool.here()));
        }
        if System::try_current().is_none() {
            tracing::warn!("no actix system on this thread: all children run on it");
            return Ok(SlotGuard::on(pool.here()));
        }
        match placement {
            Placement::Here => Ok(SlotGuard::on(pool.here())),
            Placement::Pool => pool.of_group(&POOL.into()),
            Placement::Group(group) => pool.of_group(group),
            Placement::Own => pool.own(),
            Placement::With(path) => {
                let other = self.shared.root.descendant(path);
                let slot = other.and_then(|other| pool.usable(other.slot()));
                if slot.is_none() {
                    let peer = &**path;
                    tracing::warn!(
                        peer,
                        "child placed on the tree's arbiter: its peer has none"
                    );
                }
                Ok(SlotGuard::on(slot.as_ref().unwrap_or_else(|| pool.here())))
            }
        }
    }
}
