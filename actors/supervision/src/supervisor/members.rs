//! Taking children in, and letting them go.

use std::sync::Arc;

use super::{Supervisor, kids::Child};
use crate::{
    control,
    driver::Link,
    node::{ChildId, ChildState, Place},
    spec::{Body, ChildSpec, Placement},
    validate::join,
};
use actix_rt::{Arbiter, ArbiterHandle, System};

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
        let (control_sender, control) = control::line();
        let link = Link {
            id,
            node: Arc::clone(&node),
            control,
            notes: self.notes_sender.clone(),
        };
        match body {
            Body::Supervisor(body) => {
                let supervisor = Self::new(link, *body, Arc::clone(&self.shared));
                actix_rt::spawn(supervisor.run());
            }
            Body::Worker(body) => match self.arbiter(policy.placement) {
                None => {
                    actix_rt::spawn(body.run(link));
                }
                Some(arbiter) => {
                    let own = policy.placement == Placement::Own;
                    arbiter.spawn_fn(move || {
                        actix_rt::spawn(async move {
                            body.run(link).await;
                            if own {
                                Arbiter::current().stop();
                            }
                        });
                    });
                }
            },
        }
        self.kids
            .insert(id, Child::new(node, policy, control_sender, declared));
        id
    }

    fn arbiter(&self, placement: Placement) -> Option<ArbiterHandle> {
        if placement != Placement::Here && System::try_current().is_none() {
            tracing::warn!("no actix system on this thread: all children run on it");
            return None;
        }
        match placement {
            Placement::Here => None,
            Placement::RoundRobin => Some(self.shared.pool.next()),
            Placement::Own => Some(Arbiter::new().handle()),
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
