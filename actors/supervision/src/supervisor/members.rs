//! Taking children in, and letting them go.

use std::sync::Arc;

use super::{
    Supervisor,
    kids::{Child, Staff},
};
use crate::{
    arbiters::{HERE, Post, Seat},
    child::WorkerBody,
    control::{self, ControlReceiver},
    driver::Link,
    node::{ChildId, ChildState, Node, Place},
    spec::{Body, ChildSpec, Placement},
    tenure::Lease,
    validate::join,
};
use actix_rt::{Arbiter, System};

/// Has a new driver run the child there.
fn seat(worker: &Arc<dyn WorkerBody>, link: Link, post: &Arc<Post>, placement: Placement) -> Seat {
    link.node.set_post(post.id);
    let seat = Seat::on(post);
    let worker = Arc::clone(worker);
    if post.id == HERE {
        drop(worker.run(link));
        return seat;
    }
    let own = placement == Placement::Own;
    post.run(move || {
        let running = worker.run(link);
        if own {
            actix_rt::spawn(async move {
                let _ = running.await;
                Arbiter::current().stop();
            });
        }
    });
    seat
}

impl Supervisor {
    /// Takes a child in: gives it its place and its task, but does not start it.
    pub(super) fn attach(&mut self, spec: ChildSpec, declared: bool) -> ChildId {
        let id = self.kids.next_id();
        let ChildSpec { policy, node, body } = spec;
        let policy = Arc::new(policy);
        let budget = policy.budget.as_ref().unwrap_or(&self.options.intensity);
        node.attach(Place {
            path: join(self.link.node.path(), &node.name).into(),
            policy: Arc::clone(&policy),
            window: budget.fast,
        });
        if let Some(mut branch) = self.link.node.branch() {
            branch.by_name.insert(Arc::clone(&node.name), id);
            branch.by_id.insert(id, Arc::clone(&node));
        }
        let lease = Lease::of(&node);
        let (control_sender, control) = control::line(lease.clone());
        let link = self.link_to(id, &node, control, lease);
        let staff = match body {
            Body::Supervisor(body) => {
                let supervisor = Self::new(link, *body, Arc::clone(&self.shared));
                actix_rt::spawn(supervisor.run());
                Staff::default()
            }
            Body::Worker(worker) => {
                let _ = node.worker.set(Arc::downgrade(&worker));
                let post = self.post(policy.placement);
                let seat = Some(seat(&worker, link, &post, policy.placement));
                let worker = Some(worker);
                Staff { worker, seat }
            }
        };
        let child = Child::new(node, policy, control_sender, staff, declared);
        self.kids.insert(id, child);
        id
    }

    /// Gives a child whose driver was given up another one, on another arbiter.
    pub(super) fn seat_again(&mut self, id: ChildId) {
        let Some(child) = self.kids.get(id) else {
            return;
        };
        let Some(worker) = child.staff.worker.clone() else {
            return;
        };
        let (node, placement) = (Arc::clone(&child.node), child.policy.placement);
        let post = match placement {
            Placement::RoundRobin => self.shared.pool.successor(node.post()),
            placement => self.post(placement),
        };
        let lease = Lease::of(&node);
        let control = child.control.renew(lease.clone());
        let link = self.link_to(id, &node, control, lease);
        let seat = seat(&worker, link, &post, placement);
        if let Some(child) = self.kids.get_mut(id) {
            child.staff.seat = Some(seat);
        }
    }

    fn link_to(
        &self,
        id: ChildId,
        node: &Arc<Node>,
        control: ControlReceiver,
        lease: Lease,
    ) -> Link {
        Link {
            id,
            node: Arc::clone(node),
            control,
            lease,
            notes: self.notes_sender.clone(),
        }
    }

    fn post(&self, placement: Placement) -> Arc<Post> {
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
        let Some(child) = self.kids.remove(id) else {
            return;
        };
        for reply in child.stop_replies {
            let _ = reply.send(Ok(()));
        }
        child.node.set_state(ChildState::Removed);
        child.node.history().monitors.clear();
        if let Some(mut branch) = self.link.node.branch() {
            branch.by_id.remove(&id);
            branch.by_name.remove(&child.node.name);
        }
    }
}
