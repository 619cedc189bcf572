//! Declarations: what a child is, what a supervisor is. Trees are values until they are started.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    backoff::Backoff,
    child::WorkerBody,
    intensity::{Budget, Intensity},
    node::{Kind, Node},
    supervisor::admin::{Admin, SupervisorHandle},
};

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after an abnormal exit.
    Transient,
    /// Never; its specification is forgotten when it ends.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// At once: dropped, no hook runs.
    Brutal,
    /// Asked to stop, killed if it has not ended by then. More than zero.
    Within(Duration),
    /// Asked to stop, and given all the time it wants. For supervisors.
    Infinity,
}

/// What happens to the siblings of a child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing.
    OneForOne,
    /// All are stopped in reverse order, and all are started again in order.
    OneForAll,
    /// Those declared after it are, likewise.
    RestForOne,
    /// `OneForOne` over children added at run time; they are stopped in parallel.
    Dynamic,
}

/// What happens when a restart budget is exhausted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// The supervisor gives up: it stops its children and fails towards its own supervisor.
    #[default]
    Escalate,
    /// Only this child stays down, until somebody restarts it.
    Quarantine,
}

/// How much a child matters. Reported in the status; the runtime itself does not act on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    /// May be shed first.
    Optional,
    /// The default.
    #[default]
    Important,
    /// Never to be shed.
    Critical,
}

/// Whether a supervisor ends when its significant children have ended by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// No.
    #[default]
    Never,
    /// As soon as one has.
    AnySignificant,
    /// When the last one has.
    AllSignificant,
}

/// On which thread a worker runs. Supervisors always run where the tree was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The arbiter that started the tree.
    #[default]
    Here,
    /// The next arbiter of the tree's pool.
    RoundRobin,
    /// An arbiter (a thread) of its own.
    Own,
}

/// What the parent needs to know about a child, worker or supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) backoff: Backoff,
    pub(crate) budget: Option<Budget>,
    pub(crate) exhausted: Exhausted,
    pub(crate) criticality: Criticality,
    pub(crate) significant: bool,
    pub(crate) placement: Placement,
}

impl Policy {
    fn new(shutdown: Shutdown) -> Self {
        Self {
            restart: Restart::default(),
            shutdown,
            backoff: Backoff::none(),
            budget: None,
            exhausted: Exhausted::default(),
            criticality: Criticality::default(),
            significant: false,
            placement: Placement::default(),
        }
    }
}

pub(crate) enum Body {
    Worker(Box<dyn WorkerBody>),
    Supervisor(Box<SupervisorBody>),
}

pub(crate) struct SupervisorBody {
    pub(crate) options: Options,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) admin: mpsc::Receiver<Admin>,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) max_children: Option<usize>,
    pub(crate) pool: Option<usize>,
}

/// The declaration of a child: made by [`child`](crate::child()), or from a [`SupervisorSpec`].
pub struct ChildSpec {
    pub(crate) policy: Policy,
    pub(crate) node: Arc<Node>,
    pub(crate) body: Body,
}

macro_rules! policy_methods {
    ($($path:tt)+) => {
        /// When it is started again. Default: [`Restart::Permanent`].
        #[must_use]
        pub fn restart(mut self, restart: Restart) -> Self {
            self.$($path)+.restart = restart;
            self
        }

        /// How it is stopped. Default: within 5 s for a worker, [`Shutdown::Infinity`] for a
        /// supervisor.
        #[must_use]
        pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
            self.$($path)+.shutdown = shutdown;
            self
        }

        /// How long a restart waits. Default: [`Backoff::none`].
        #[must_use]
        pub fn backoff(mut self, backoff: Backoff) -> Self {
            self.$($path)+.backoff = backoff;
            self
        }

        /// A restart budget of its own, instead of its share of the supervisor's: it then cannot
        /// use up what its siblings may need. Default: none.
        #[must_use]
        pub fn budget(mut self, budget: Budget) -> Self {
            self.$($path)+.budget = Some(budget);
            self
        }

        /// What happens when the budget its restarts count against is exhausted. Default:
        /// [`Exhausted::Escalate`].
        #[must_use]
        pub fn on_exhausted(mut self, exhausted: Exhausted) -> Self {
            self.$($path)+.exhausted = exhausted;
            self
        }

        /// How much it matters. Default: [`Criticality::Important`].
        #[must_use]
        pub fn criticality(mut self, criticality: Criticality) -> Self {
            self.$($path)+.criticality = criticality;
            self
        }

        /// Whether its end may end its supervisor: see [`AutoShutdown`]. Default: no.
        #[must_use]
        pub fn significant(mut self, significant: bool) -> Self {
            self.$($path)+.significant = significant;
            self
        }
    };
}

impl ChildSpec {
    policy_methods!(policy);

    /// How many messages may wait for it; the bound holds for everything sent through its
    /// [`Handle`](crate::Handle). Default: 10,000.
    #[must_use]
    pub fn mailbox(self, messages: usize) -> Self {
        self.node.set_bound(messages);
        self
    }

    /// On which thread it runs. Default: [`Placement::Here`]. Ignored for supervisors.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.policy.placement = placement;
        self
    }

    /// The name, unique among its siblings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// See [`restart`](Self::restart).
    #[must_use]
    pub fn get_restart(&self) -> Restart {
        self.policy.restart
    }

    /// See [`shutdown`](Self::shutdown).
    #[must_use]
    pub fn get_shutdown(&self) -> Shutdown {
        self.policy.shutdown
    }

    /// See [`backoff`](Self::backoff).
    #[must_use]
    pub fn get_backoff(&self) -> &Backoff {
        &self.policy.backoff
    }

    /// See [`budget`](Self::budget).
    #[must_use]
    pub fn get_budget(&self) -> Option<&Budget> {
        self.policy.budget.as_ref()
    }

    /// See [`on_exhausted`](Self::on_exhausted).
    #[must_use]
    pub fn get_on_exhausted(&self) -> Exhausted {
        self.policy.exhausted
    }

    /// See [`criticality`](Self::criticality).
    #[must_use]
    pub fn get_criticality(&self) -> Criticality {
        self.policy.criticality
    }

    /// See [`significant`](Self::significant).
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.policy.significant
    }

    /// See [`mailbox`](Self::mailbox).
    #[must_use]
    pub fn get_mailbox(&self) -> usize {
        self.node.bound()
    }

    /// See [`placement`](Self::placement).
    #[must_use]
    pub fn get_placement(&self) -> Placement {
        self.policy.placement
    }

    pub(crate) fn worker(node: Arc<Node>, body: Box<dyn WorkerBody>) -> Self {
        Self {
            policy: Policy::new(Shutdown::Within(Duration::from_secs(5))),
            node,
            body: Body::Worker(body),
        }
    }
}

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

    /// On the root of a tree: how many arbiters [`Placement::RoundRobin`] uses (at least 1).
    /// Default: one for each core.
    #[must_use]
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.body.options.pool = Some(arbiters.max(1));
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
