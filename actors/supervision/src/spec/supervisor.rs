//! Declarations of supervisors.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    AutoShutdown, Body, ChildSpec, Criticality, OnExhausted, OnStall, Options, Placement, Policy,
    Restart, Shutdown, Strategy, SupervisorBody,
};
use crate::{
    arbiters::{GroupSizes, POOL},
    backoff::Backoff,
    intensity::Intensity,
    record::ChildRecord,
    state::Kind,
    supervisor::handle::SupervisorHandle,
};

/// Default limit of the time for which a child may block its arbiter. Fixed: of the
/// library, which has no settings.
const WATCHDOG: Duration = Duration::from_secs(10);

/// Default limit of replacements of blocked arbiters in each group. Fixed: of the
/// library, which has no settings.
const REPLACEMENTS: u32 = 10;
/// Default time within which they are counted. Fixed: of the library, which has no
/// settings.
const REPLACEMENTS_WITHIN: Duration = Duration::from_secs(3_600);

/// Declaration of a supervisor and all that is below it.
pub struct SupervisorSpec {
    pub(crate) policy: Policy,
    pub(crate) record: Arc<ChildRecord>,
    pub(crate) body: SupervisorBody,
    handle: SupervisorHandle,
}

impl fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SupervisorSpec");
        debug.field("name", &self.name());
        debug.field("strategy", &self.body.options.strategy);
        debug.field("children", &self.body.children);
        debug.finish_non_exhaustive()
    }
}

impl SupervisorSpec {
    /// Declares a supervisor that restarts a failed child alone: see [`Strategy::OneForOne`].
    #[must_use]
    pub fn one_for_one(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::OneForOne)
    }

    /// Declares a supervisor that restarts all children when one fails: see
    /// [`Strategy::OneForAll`].
    #[must_use]
    pub fn one_for_all(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::OneForAll)
    }

    /// Declares a supervisor that restarts a failed child and those declared after it: see
    /// [`Strategy::RestForOne`].
    #[must_use]
    pub fn rest_for_one(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::RestForOne)
    }

    /// Declares a supervisor whose children are added at run time, through its
    /// [`handle`](Self::handle): see [`Strategy::Dynamic`].
    #[must_use]
    pub fn dynamic(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::Dynamic)
    }

    /// Declares a supervisor without children, with OTP's default intensity of 1 restart in 5 s.
    #[must_use]
    pub fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        let (record, requests) = ChildRecord::supervisor(name.into(), strategy);
        let handle = SupervisorHandle::new(&record);
        let options = Options {
            strategy,
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::Never,
            max_children: None,
            groups: GroupSizes::default(),
            replacements: Intensity::new(REPLACEMENTS, REPLACEMENTS_WITHIN),
            watchdog: Some(WATCHDOG),
        };
        Self {
            policy: Policy::new(Shutdown::Infinity),
            record,
            body: SupervisorBody {
                options,
                children: Vec::new(),
                requests,
            },
            handle,
        }
    }

    policy_methods!(policy);
    policy_getters!(policy);

    /// Sets the number of restarts of its children that the supervisor tolerates. Default: 1 in 5
    /// s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.body.options.intensity = intensity;
        self
    }

    /// Sets whether the end of significant children ends the supervisor. Default: never.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.body.options.auto_shutdown = auto_shutdown;
        self
    }

    /// Sets the number of children that the supervisor may have at a time (dynamic supervisors
    /// only; at least 1). Default: no limit.
    #[must_use]
    pub fn max_children(mut self, max: usize) -> Self {
        self.body.options.max_children = Some(max);
        self
    }

    /// Sets the number of arbiters that [`Placement::Pool`] uses (at least 1), on the root of a
    /// tree only. Default: one for each core.
    #[must_use]
    pub fn arbiters(self, arbiters: usize) -> Self {
        self.group(POOL, arbiters)
    }

    /// Declares a group of arbiters (at least 1) for [`Placement::Group`], on the root of a tree
    /// only.
    #[must_use]
    pub fn group(mut self, name: impl Into<Arc<str>>, arbiters: usize) -> Self {
        self.body.options.groups.set(name.into(), arbiters);
        self
    }

    /// Sets the number of blocked arbiters that are replaced in each group, and among the arbiters
    /// that single children have for themselves, on the root of a tree only. The thread of each is
    /// lost until what blocks it returns, if ever. Default: 10 in an hour.
    ///
    /// An arbiter over the limit is not replaced
    /// ([`ArbiterNotReplaced`](crate::EventKind::ArbiterNotReplaced)): children of the group run on
    /// the others, and if there are none, they fail to start.
    #[must_use]
    pub fn arbiter_replacements(mut self, intensity: Intensity) -> Self {
        self.body.options.replacements = intensity;
        self
    }

    /// Sets the time for which a child may block its arbiter (a thread) before the watchdog acts;
    /// more than zero. Set on the root of a tree only. With `None` the watchdog never acts, and no
    /// thread is started for it. Default: 10 s.
    ///
    /// The watchdog runs on a thread of its own. When an arbiter has made no progress for this long
    /// (up to a quarter more), the child that blocks it is reported as
    /// [`Stuck`](crate::EventKind::Stuck), with the type of the message being handled. The
    /// consequence depends on its [`Placement`]:
    ///
    /// - On an arbiter of a group or of its own, its run ends with
    ///   [`ExitReason::Stuck`](crate::ExitReason::Stuck), an abnormal exit like any other, and
    ///   whatever is restarted of it is restarted on a fresh arbiter. So are its neighbours there
    ///   ([`Moved`](crate::EventKind::Moved)): addresses and mailboxes stay, their restart counts
    ///   against no budget, their supervisors' strategies hold, and a temporary one ends. No hook
    ///   of a run that is abandoned is called; its actor is dropped on its thread, if that ever
    ///   comes back. Nothing but the call that blocks runs on there; *that* cannot be taken back:
    ///   when it returns, its handler runs to its end beside the next incarnation.
    /// - On the arbiter on which the tree was started ([`Placement::Here`])
    ///   nothing can be moved, because the supervisors themselves are blocked. The event and
    ///   [`ChildState::Stuck`](crate::ChildState::Stuck) say so, until it
    ///   [recovers](crate::EventKind::Recovered).
    ///
    /// An arbiter that is blocked by something else than a child is reported as
    /// [`ArbiterBlocked`](crate::EventKind::ArbiterBlocked), and its children are moved likewise.
    /// No child is placed on a blocked arbiter: its group gets another in its place.
    ///
    /// Tasks that children spawned on a blocked arbiter without their context (`actix_rt::spawn`)
    /// end with it.
    #[must_use]
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body.options.watchdog = limit.into();
        self
    }

    /// Adds a child, a worker or a supervisor; children start in the order in which they were
    /// added.
    #[must_use]
    pub fn child(mut self, spec: impl Into<ChildSpec>) -> Self {
        self.body.children.push(spec.into());
        self
    }

    /// Returns the name, which is unique among the siblings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Returns the strategy: see [`Strategy`].
    #[must_use]
    pub fn get_strategy(&self) -> Strategy {
        self.body.options.strategy
    }

    /// See [`intensity`](Self::intensity).
    #[must_use]
    pub fn get_intensity(&self) -> &Intensity {
        &self.body.options.intensity
    }

    /// See [`auto_shutdown`](Self::auto_shutdown).
    #[must_use]
    pub fn get_auto_shutdown(&self) -> AutoShutdown {
        self.body.options.auto_shutdown
    }

    /// See [`max_children`](Self::max_children).
    #[must_use]
    pub fn get_max_children(&self) -> Option<usize> {
        self.body.options.max_children
    }

    /// See [`arbiter_replacements`](Self::arbiter_replacements).
    #[must_use]
    pub fn get_arbiter_replacements(&self) -> &Intensity {
        &self.body.options.replacements
    }

    /// See [`watchdog`](Self::watchdog).
    #[must_use]
    pub fn get_watchdog(&self) -> Option<Duration> {
        self.body.options.watchdog
    }

    /// Returns the children declared so far, in their order.
    #[must_use]
    pub fn get_children(&self) -> &[ChildSpec] {
        &self.body.children
    }

    /// Returns the handle through which children are added and operated at run time. The handle
    /// works at once: requests that are made before the tree is started wait until it is.
    #[must_use]
    pub fn handle(&self) -> SupervisorHandle {
        self.handle.clone()
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        debug_assert!(spec.record.kind == Kind::Supervisor);
        Self {
            policy: spec.policy,
            record: spec.record,
            body: Body::Supervisor(Box::new(spec.body)),
        }
    }
}
