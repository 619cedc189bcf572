//! The interface of a subsystem: one folder, one value, one line in `tree.rs`.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use deia_ledger::{BoxFuture, CommitNotice, Ledger};
use deia_supervision::{
    Backoff, ChildSpec, Criticality, Intensity, OnExhausted, Placement, Shutdown, Strategy,
    SupervisorSpec, Tree,
};

use crate::{
    config::{Config, Settings, StopLimits},
    file_notes::FileNotes,
    lifecycle::Lifecycle,
    metrics::Exposition,
    mode::CurrentLevel,
};

/// A part of the hive with actors, state and an API of its own.
///
/// Each has a constructor `declare(&Deps, &mut TreeBuilder, ..) -> Self` besides, which
/// adds its actors to the tree and takes the subsystems that it needs: what a subsystem
/// knows of others is written in its signature (decision 46).
pub(crate) trait Subsystem: Send + Sync {
    /// Handles the changes of a commit. Runs on the thread of the store's writer, before the next
    /// commit, so it only forwards them. A notice may be lost: code that relies on one also
    /// checks the store periodically.
    fn on_commit(&self, _notices: &[CommitNotice]) {}

    /// Adapts to settings that are about to be in force, or refuses them with a sentence that says
    /// why. A subsystem that reads its settings at each use has nothing to do. If a later one
    /// refuses, this is called again with the two exchanged.
    fn reconfigure<'a>(
        &'a self,
        _from: &'a Config,
        _to: &'a Config,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Adds the counters and measurements of the subsystem.
    fn metrics(&self, _out: &mut Exposition) {}

    /// Writes the records that requests have left in memory. Called once the tree has stopped,
    /// within the time that the stop allows for it.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Dependencies that every subsystem may use.
#[derive(Clone)]
pub(crate) struct Deps {
    /// The settings in force.
    pub(crate) settings: Settings,
    /// The only writer of the store.
    pub(crate) ledger: Ledger,
    /// The tree once it is up, for a subsystem that queries the state of its actors.
    pub(crate) tree: Arc<OnceLock<Tree>>,
    /// The state of the hive as a whole.
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// The level at which the hive sheds features.
    pub(crate) level: CurrentLevel,
    /// Files that changed since they were shipped to the archive.
    pub(crate) file_notes: FileNotes,
}

/// A minute. Fact: the definition of the unit.
const MINUTE: Duration = Duration::from_secs(60);

/// Capacity of the mailbox of a busy actor. Fixed: far above what arrives while a handler
/// runs; a full mailbox refuses.
const MAILBOX: usize = 65_536;

/// Pauses before the restarts of a part of the tree, the first and the longest. Fixed: a part that
/// fails is a fault of deia; nothing is gained by another pace.
const RESTART_MIN: Duration = Duration::from_millis(10);
/// Longest of these pauses. Fixed: as the first.
const RESTART_MAX: Duration = Duration::from_secs(5);

/// Time for which an actor may have messages waiting and handle none before the health check
/// names it. Each handler takes milliseconds; longer work runs beside it.
const STALLED_AFTER: Duration = MINUTE;

/// The tree during its construction.
pub(crate) struct TreeBuilder {
    root: SupervisorSpec,
    core: SupervisorSpec,
    services: SupervisorSpec,
    /// Time that an actor of the core has to stop.
    stops_within: Duration,
    /// Time that a service has to stop. A service can repeat the work that is interrupted.
    services_stop_within: Duration,
}

/// The tree, except for the front, which stands between its two parts.
pub(crate) struct Declared {
    /// The root with the ledger and the core.
    pub(crate) root: SupervisorSpec,
    /// The subtree of optional children.
    pub(crate) services: SupervisorSpec,
}

impl TreeBuilder {
    pub(crate) fn new(limits: &StopLimits) -> Self {
        Self {
            root: SupervisorSpec::new("hive", Strategy::RestForOne)
                .intensity(Intensity::new(5, MINUTE))
                .stalled_after(STALLED_AFTER),
            core: SupervisorSpec::new("core", Strategy::OneForOne)
                .intensity(Intensity::new(10, MINUTE))
                .criticality(Criticality::Critical),
            services: SupervisorSpec::new("services", Strategy::OneForOne),
            stops_within: limits.part,
            services_stop_within: limits.services,
        }
    }

    /// Adjusts the root: its watchdog and its groups of threads.
    pub(crate) fn root(&mut self, adjust: impl FnOnce(SupervisorSpec) -> SupervisorSpec) {
        replace(&mut self.root, adjust);
    }

    /// Adds an actor below the root, before the core.
    pub(crate) fn ground(&mut self, spec: ChildSpec) {
        let spec = permanent(spec, self.stops_within);
        replace(&mut self.root, |root| root.child(spec));
    }

    /// Adds an actor that the hive cannot do without.
    pub(crate) fn core(&mut self, spec: ChildSpec) {
        let spec = permanent(spec, self.stops_within);
        replace(&mut self.core, |core| core.child(spec));
    }

    /// Adds a subtree that the hive cannot do without.
    pub(crate) fn core_subtree(&mut self, spec: SupervisorSpec) {
        replace(&mut self.core, |core| core.child(spec));
    }

    /// Adds an actor that the hive can do without for a while.
    pub(crate) fn service(&mut self, spec: ChildSpec) {
        // Each service has a budget of its own: a service that fails repeatedly stays down alone.
        let spec = permanent(spec, self.services_stop_within)
            .criticality(Criticality::Optional)
            .budget(Intensity::new(5, MINUTE))
            .on_exhausted(OnExhausted::Quarantine);
        replace(&mut self.services, |services| services.child(spec));
    }

    /// Adds a subtree that the hive can do without for a while, and the feature that it carries.
    pub(crate) fn service_subtree(&mut self, spec: SupervisorSpec, feature: &'static str) {
        let spec = spec
            .criticality(Criticality::Optional)
            .feature(feature)
            .intensity(Intensity::new(5, MINUTE))
            .budget(Intensity::new(5, MINUTE))
            .on_exhausted(OnExhausted::Quarantine)
            .backoff(backoff());
        replace(&mut self.services, |services| services.child(spec));
    }

    pub(crate) fn done(self) -> Declared {
        Declared {
            root: self.root.child(self.core),
            services: self.services,
        }
    }
}

/// Declares that actors below the spec run on a group of threads of their own.
pub(crate) fn on_group(spec: SupervisorSpec, group: &'static str) -> SupervisorSpec {
    spec.placement(Placement::group(group))
}

fn replace(spec: &mut SupervisorSpec, with: impl FnOnce(SupervisorSpec) -> SupervisorSpec) {
    let empty = SupervisorSpec::new("", Strategy::OneForOne);
    *spec = with(std::mem::replace(spec, empty));
}

/// Declares a child that is always needed; its first restart comes at once.
fn permanent(spec: ChildSpec, stops_within: Duration) -> ChildSpec {
    spec.criticality(Criticality::Critical)
        .shutdown(Shutdown::Within(stops_within))
        .backoff(backoff())
        .mailbox(MAILBOX)
}

/// Returns the pauses before restarts; the first is short.
fn backoff() -> Backoff {
    Backoff::new(RESTART_MIN, RESTART_MAX)
        .factor(2.0)
        .jitter(0.2)
}
