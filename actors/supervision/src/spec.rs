//! Declarations: what a child is, what a supervisor is. Trees are values until they are started.

#[macro_use]
mod builder;
mod defaults;
mod placement;
mod supervisor;
mod worker;

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::mpsc;

pub(crate) use self::defaults::{Defaults, StallLimit};
pub use self::{
    defaults::OnStall,
    placement::Placement,
    supervisor::SupervisorSpec,
    worker::{WorkerSpec, worker, worker_async},
};
use crate::{
    arbiters::GroupSizes, backoff::Backoff, child::WorkerBody, intensity::Intensity,
    record::ChildRecord, supervisor::handle::Request,
};

/// How long a worker may take to be ready, unless it says otherwise.
const START_WITHIN: Duration = Duration::from_secs(300);

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after an abnormal exit.
    Transient,
    /// Never; its specification is forgotten when it ends, also when a sibling's failure stops it
    /// ([`Strategy::OneForAll`], [`Strategy::RestForOne`]).
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// At once: dropped, no hook runs.
    Brutal,
    /// Asked to stop, killed if it has not ended by then. More than zero.
    Within(Duration),
    /// Asked to stop, and given all the time it wants. For supervisors.
    Infinity,
}

/// The treatment of the siblings of a child that failed and is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// The others go on.
    OneForOne,
    /// All are stopped in reverse order and started again in order.
    OneForAll,
    /// Those after it are stopped in reverse order and started again in order; those before it go
    /// on.
    RestForOne,
    /// The others go on, as with `OneForOne`. All children are added at run time, and stopped in
    /// parallel.
    Dynamic,
}

/// What happens when a restart budget is exhausted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnExhausted {
    /// The supervisor gives up: it stops its children and fails towards its own supervisor.
    #[default]
    Escalate,
    /// Only this child stays down, until somebody restarts it.
    Quarantine,
}

/// What becomes of the messages that wait for a worker when its supervisor, or one above it, has
/// failed and is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MailOnEscalation {
    /// They are kept, as over any restart.
    #[default]
    Keep,
    /// They are dropped, as in OTP: whatever made all this fail may be among them.
    Drop,
}

/// True if a worker that is suspended, or whose supervisor is, takes messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MailWhileSuspended {
    /// They wait until it is resumed, up to the bound of its mailbox.
    #[default]
    Keep,
    /// They are refused: [`TellError::Suspended`](crate::TellError::Suspended). Those that waited
    /// before are kept.
    Refuse,
}

/// How much a child matters: see [`Tree::shed`](crate::Tree::shed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Criticality {
    /// May be shed first.
    Optional,
    /// The default.
    #[default]
    Important,
    /// Never to be shed.
    Critical,
}

/// True if a supervisor ends when its significant children have ended by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AutoShutdown {
    /// No.
    #[default]
    Never,
    /// As soon as one has.
    AnySignificant,
    /// When the last one has.
    AllSignificant,
}

/// What the parent needs to know about a child, worker or supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) start_within: Option<Duration>,
    pub(crate) shutdown: Shutdown,
    pub(crate) backoff: Backoff,
    pub(crate) budget: Option<Intensity>,
    pub(crate) exhausted: OnExhausted,
    pub(crate) criticality: Criticality,
    pub(crate) features: Vec<Arc<str>>,
    pub(crate) mail_on_escalation: MailOnEscalation,
    pub(crate) mail_while_suspended: MailWhileSuspended,
    pub(crate) poison_after: Option<u32>,
    pub(crate) significant: bool,
    /// Of a supervisor: of the workers below it. `None`: as its supervisor says.
    pub(crate) placement: Option<Placement>,
    pub(crate) stalled_after: Option<Duration>,
    pub(crate) on_stall: Option<OnStall>,
}

impl Policy {
    fn new(shutdown: Shutdown) -> Self {
        Self {
            restart: Restart::default(),
            start_within: None,
            shutdown,
            backoff: Backoff::none(),
            budget: None,
            exhausted: OnExhausted::default(),
            criticality: Criticality::default(),
            features: Vec::new(),
            mail_on_escalation: MailOnEscalation::default(),
            mail_while_suspended: MailWhileSuspended::default(),
            poison_after: None,
            significant: false,
            placement: None,
            stalled_after: None,
            on_stall: None,
        }
    }
}

pub(crate) enum Body {
    Worker(Arc<dyn WorkerBody>),
    Supervisor(Box<SupervisorBody>),
}

pub(crate) struct SupervisorBody {
    pub(crate) options: Options,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) requests: mpsc::Receiver<Request>,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) max_children: Option<usize>,
    pub(crate) groups: GroupSizes,
    pub(crate) replacements: Intensity,
    pub(crate) watchdog: Option<Duration>,
}

/// The declaration of a child: made by [`child`](crate::child()), or from a [`SupervisorSpec`].
pub struct ChildSpec {
    pub(crate) policy: Policy,
    pub(crate) record: Arc<ChildRecord>,
    pub(crate) body: Body,
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ChildSpec");
        debug.field("name", &self.name());
        debug.field("kind", &self.record.kind);
        debug.field("restart", &self.policy.restart);
        debug.finish_non_exhaustive()
    }
}

impl ChildSpec {
    policy_methods!(policy);
    policy_getters!(policy);
    worker_methods!(policy; record);

    /// The name, unique among its siblings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    pub(crate) fn worker(record: Arc<ChildRecord>, body: Arc<dyn WorkerBody>) -> Self {
        Self {
            policy: Policy {
                start_within: Some(START_WITHIN),
                ..Policy::new(Shutdown::Within(Duration::from_secs(5)))
            },
            record,
            body: Body::Worker(body),
        }
    }
}
