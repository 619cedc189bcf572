//! Alerts: conditions that need a person, from the time they are found until they are gone.
//!
//! Every few seconds the watcher compares the conditions that hold with the open alerts,
//! and records the difference. Alerts follow from the state of the hive and not from its
//! events: a full disk causes none, and a state that is looked at again cannot be missed
//! (decision 47). Losing this subsystem delays alerts; the next look finds what was missed.

mod api;
mod conditions;
mod metrics;
mod reconcile;
#[cfg(test)]
mod tests;
mod watcher;

use std::sync::Arc;

pub use api::AlertsApi;
use deia_supervision::{StartError, child};

use self::{metrics::AlertMetrics, watcher::AlertWatcher};
use crate::{
    access::AccessApi,
    audit::AuditApi,
    bots::Bots,
    metrics::Exposition,
    recovery::RecoveryApi,
    settings::SettingsApi,
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// Subsystems whose state raises alerts.
pub(crate) struct AlertNeeds<'a> {
    pub(crate) access: &'a AccessApi,
    pub(crate) bots: &'a Bots,
    pub(crate) audit: &'a AuditApi,
    pub(crate) settings: &'a SettingsApi,
    pub(crate) recovery: &'a RecoveryApi,
}

/// The subsystem of alerts.
pub(crate) struct Alerts {
    api: AlertsApi,
    metrics: Arc<AlertMetrics>,
}

impl Alerts {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder, needs: &AlertNeeds<'_>) -> Self {
        let api = AlertsApi::new(deps, needs);
        let metrics = Arc::<AlertMetrics>::default();
        let (watched, counted, settings) = (api.clone(), metrics.clone(), deps.settings.clone());
        let (spec, _) = child("alerts", move || {
            let built = AlertWatcher::new(watched.clone(), counted.clone(), settings.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.core(spec);
        Self { api, metrics }
    }

    pub(crate) fn api(&self) -> &AlertsApi {
        &self.api
    }
}

impl Subsystem for Alerts {
    fn metrics(&self, out: &mut Exposition) {
        self.metrics.write(out);
    }
}
