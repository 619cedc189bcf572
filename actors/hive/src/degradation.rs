//! Degradation: the level at which the hive sheds features when resources are short, and the
//! suspension of these features in the tree.
//!
//! A thin actor takes readings of the sensors every `degradation.sample_every`; a pure function
//! ([`decide`]) turns them into a level. The level is published (`mode.rs`) before the tree follows
//! it, so that requests are refused at once. An operator may set a level for a time; it is in the
//! store, and survives a restart. Losing the actor keeps the level as it is until it is back.

mod api;
mod controller;
mod decide;
mod features;
#[cfg(any(test, feature = "testing"))]
mod fixtures;
mod latency;
mod metrics;
mod reading;
mod sensors;
mod signals;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "testing"))]
mod timing;
mod watcher;

use std::sync::Arc;

pub use api::DegradationApi;
use deia_ledger::metrics::StoreMetrics;
use deia_supervision::{StartError, child};
#[cfg(any(test, feature = "testing"))]
pub use timing::DegradationSamples;

use self::{
    controller::Controller,
    metrics::DegradationMetrics,
    sensors::Sensors,
    watcher::{DegradationWatcher, Shared},
};
use crate::{
    access::AccessApi,
    audit::AuditApi,
    bots::Bots,
    metrics::Exposition,
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// Name of the actor, and the name under which it suspends features.
const NAME: &str = "degradation";

/// The subsystem of degradation.
pub(crate) struct Degradation {
    api: DegradationApi,
    shared: Shared,
}

/// Components that degradation measures, beyond those that every subsystem may use.
pub(crate) struct DegradationNeeds<'a> {
    pub(crate) access: &'a AccessApi,
    pub(crate) bots: &'a Bots,
    pub(crate) audit: &'a AuditApi,
    pub(crate) store_metrics: Arc<StoreMetrics>,
}

impl Degradation {
    pub(crate) fn declare(
        deps: &Deps,
        tree: &mut TreeBuilder,
        needs: DegradationNeeds<'_>,
    ) -> Self {
        let sensors = Sensors::new(
            deps.ledger.clone(),
            needs.bots.api().clone(),
            needs.audit.clone(),
            needs.store_metrics,
        );
        let hive = deps.ledger.hive_id();
        let controller = Controller::new(deps.settings.clone(), deps.level.clone(), hive);
        let shared = Shared {
            settings: deps.settings.clone(),
            tree: deps.tree.clone(),
            controller: Arc::new(controller),
            sensors: Arc::new(sensors),
            metrics: Arc::<DegradationMetrics>::default(),
        };
        let held = shared.clone();
        let (spec, watcher) = child(NAME, move || {
            let built = DegradationWatcher::new(held.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.service(spec);
        Self {
            api: DegradationApi::new(shared.clone(), needs.access, watcher),
            shared,
        }
    }

    pub(crate) fn api(&self) -> &DegradationApi {
        &self.api
    }
}

impl Subsystem for Degradation {
    fn metrics(&self, out: &mut Exposition) {
        let features = self.api.features();
        self.shared
            .metrics
            .write(&self.shared.controller, &features, out);
    }
}
