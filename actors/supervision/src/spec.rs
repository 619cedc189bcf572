//! Declarations of children and supervisors. Trees are values until they are started.

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

/// Default limit of the time that a worker may take to stop. Fact: the documentation of OTP's
/// supervisor.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Default limit of the time that a worker may take to be ready. Fixed: of the library,
/// which has no settings.
const START_WITHIN: Duration = Duration::from_secs(300);

/// Condition under which a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Restart {
    /// The child is always started again.
    #[default]
    Permanent,
    /// The child is started again only after an abnormal exit.
    Transient,
    /// The child is never started again; its specification is forgotten when it ends, also when a
    /// sibling's failure stops it ([`Strategy::OneForAll`], [`Strategy::RestForOne`]).
    Temporary,
}

/// Way in which a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// The child is dropped at once; no hook runs.
    Brutal,
    /// The child is asked to stop, and killed if it has not ended within this time, which must be
    /// more than zero.
    Within(Duration),
    /// The child is asked to stop, and given all the time it wants. Meant for supervisors.
    Infinity,
}

/// Treatment of the siblings of a child that failed and is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// The siblings go on.
    OneForOne,
    /// All children are stopped in reverse order and started again in order.
    OneForAll,
    /// The children after the failed one are stopped in reverse order and started again in order;
    /// those before it go on.
    RestForOne,
    /// The siblings go on, as with `OneForOne`. All children are added at run time, and stopped in
    /// parallel.
    Dynamic,
}

/// Action that is taken when a restart budget is exhausted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnExhausted {
    /// The supervisor gives up: it stops its children and fails towards its own supervisor.
    #[default]
    Escalate,
    /// The child alone stays down, until somebody restarts it.
    Quarantine,
}

/// Treatment of the messages that wait for a worker when its supervisor, or one above it, has
/// failed and is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MailOnEscalation {
    /// The messages are kept, as over any restart.
    #[default]
    Keep,
    /// The messages are dropped, as in OTP: the one that caused the failure may be among them.
    Drop,
}

/// Treatment of messages that are sent to a worker while it, or its supervisor, is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MailWhileSuspended {
    /// The messages wait until the worker is resumed, up to the bound of its mailbox.
    #[default]
    Keep,
    /// The messages are refused: [`TellError::Suspended`](crate::TellError::Suspended). Messages
    /// that waited before are kept.
    Refuse,
}

/// Importance of a child: see [`Tree::shed`](crate::Tree::shed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Criticality {
    /// The child may be shed first.
    Optional,
    /// The child is shed after the optional ones. This is the default.
    #[default]
    Important,
    /// The child is never shed.
    Critical,
}

/// Condition under which a supervisor ends because significant children have ended by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AutoShutdown {
    /// The supervisor goes on.
    #[default]
    Never,
    /// The supervisor ends as soon as one of them has ended.
    AnySignificant,
    /// The supervisor ends when the last of them has ended.
    AllSignificant,
}

/// Part of a declaration that the parent needs, for workers and supervisors alike.
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
    /// Placement of a worker, or of the workers below a supervisor. If `None`, it is inherited from
    /// the parent.
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

/// Declaration of a child, made by [`child`](crate::child()) or from a [`SupervisorSpec`].
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

    /// Returns the name, which is unique among the siblings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    pub(crate) fn worker(record: Arc<ChildRecord>, body: Arc<dyn WorkerBody>) -> Self {
        Self {
            policy: Policy {
                start_within: Some(START_WITHIN),
                ..Policy::new(Shutdown::Within(STOP_WITHIN))
            },
            record,
            body: Body::Worker(body),
        }
    }
}
