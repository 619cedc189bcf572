//! The declaration of a supervisor.

use std::{sync::Arc, time::Duration};

use super::{
    AutoShutdown, Body, ChildSpec, Criticality, Exhausted, Options, Policy, Restart, Shutdown,
    Strategy, SupervisorBody,
};
use crate::{
    backoff::Backoff,
    intensity::{Budget, Intensity},
    node::{Kind, Node},
    supervisor::admin::SupervisorHandle,
};

/// How long a child may block its arbiter, unless the root says otherwise.
const WATCHDOG: Duration = Duration::from_secs(10);

/// The declaration of a supervisor and all that is below it.
pub struct SupervisorSpec {
    pub(crate) policy: Policy,
    pub(crate) node: Arc<Node>,
    pub(crate) body: SupervisorBody,
    handle: SupervisorHandle,
}

/// Options of a dynamic supervisor: see [`dynamic`].
#[derive(Clone, Debug, Default)]
pub struct DynamicOptions {
    max_children: Option<usize>,
}

impl DynamicOptions {
    /// How many children it may have at a time; at least 1. Default: no limit.
    #[must_use]
    pub fn max_children(mut self, max: usize) -> Self {
        self.max_children = Some(max);
        self
    }
}

/// Declares a supervisor whose children are added at run time, and the handle to do so. The
/// handle works from now on: what is asked of it before the tree is started waits until it is.
#[must_use]
pub fn dynamic(
    name: impl Into<String>,
    options: DynamicOptions,
) -> (SupervisorSpec, SupervisorHandle) {
    let mut spec = SupervisorSpec::new(name, Strategy::Dynamic);
    spec.body.options.max_children = options.max_children;
    let handle = spec.handle();
    (spec, handle)
}

impl SupervisorSpec {
    /// A supervisor without children, with OTP's default intensity of 1 restart in 5 s.
    #[must_use]
    pub fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        let (node, admin) = Node::supervisor(name.into(), strategy);
        let handle = SupervisorHandle::new(&node);
        let options = Options {
            strategy,
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::Never,
            max_children: None,
            pool: None,
            watchdog: Some(WATCHDOG),
        };
        Self {
            policy: Policy::new(Shutdown::Infinity),
            node,
            body: SupervisorBody {
                options,
                children: Vec::new(),
                admin,
            },
            handle,
        }
    }

    policy_methods!(policy);

    /// How many restarts of its children it tolerates. Default: 1 in 5 s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.body.options.intensity = intensity;
        self
    }

    /// Whether the end of significant children ends it. Default: never.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.body.options.auto_shutdown = auto_shutdown;
        self
    }

    /// How many children it may have at a time (dynamic supervisors only; at least 1).
    #[must_use]
    pub fn max_children(mut self, max: usize) -> Self {
        self.body.options.max_children = Some(max);
        self
    }

    /// On the root of a tree: how many arbiters [`Placement::RoundRobin`](crate::Placement::RoundRobin) uses (at least 1).
    /// Default: one for each core.
    #[must_use]
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.body.options.pool = Some(arbiters.max(1));
        self
    }

    /// On the root of a tree: how long a child may block its arbiter (a thread) before the
    /// watchdog acts. Default: 10 s. `None`: never; no thread is started for it.
    ///
    /// The watchdog runs on a thread of its own. When an arbiter has made no progress for this
    /// long (up to a quarter more), the child that blocks it is reported as
    /// [`Stuck`](crate::EventKind::Stuck), with the type of the message in hand. What follows
    /// depends on its [`Placement`](crate::Placement):
    ///
    /// - On an arbiter of the pool or of its own, its run ends with
    ///   [`ExitReason::Stuck`](crate::ExitReason::Stuck), an abnormal exit like any other, and what
    ///   is rebuilt of it is rebuilt on a fresh arbiter. So are its neighbours there
    ///   ([`Moved`](crate::EventKind::Moved)): addresses and mailboxes stay, their restart counts
    ///   against no budget, their supervisors' strategies hold, and a temporary one ends. No hook of
    ///   a run that is abandoned is called; its actor is dropped on its thread, if that ever comes
    ///   back. Nothing but the call that blocks runs on there; *that* cannot be taken back: when it
    ///   returns, its handler runs to its end beside the next incarnation.
    /// - On the arbiter on which the tree was started ([`Placement::Here`](crate::Placement::Here))
    ///   nothing can be moved, because the supervisors themselves are blocked. The event and
    ///   [`ChildState::Stuck`](crate::ChildState::Stuck) say so, until it
    ///   [recovers](crate::EventKind::Recovered).
    ///
    /// Tasks that children spawned on a blocked arbiter without their context (`actix_rt::spawn`)
    /// end with it.
    #[must_use]
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body.options.watchdog = limit.into();
        self
    }

    /// Adds a child; children start in the order in which they were added.
    #[must_use]
    pub fn child(mut self, spec: impl Into<ChildSpec>) -> Self {
        self.body.children.push(spec.into());
        self
    }

    /// Adds a supervisor as a child.
    #[must_use]
    pub fn supervisor(self, spec: SupervisorSpec) -> Self {
        self.child(spec)
    }

    /// The name, unique among its siblings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// The handle through which children are added and operated at run time.
    #[must_use]
    pub fn handle(&self) -> SupervisorHandle {
        self.handle.clone()
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        debug_assert!(spec.node.kind == Kind::Supervisor);
        Self {
            policy: spec.policy,
            node: spec.node,
            body: Body::Supervisor(Box::new(spec.body)),
        }
    }
}
