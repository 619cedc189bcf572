//! The settings while the hive runs: their versions, changes over the API, reloads of the file,
//! and the probation after which a change stays.
//!
//! A change is checked as a whole, recorded in the ledger together with its event, applied to
//! every subsystem or to none, and only then answered. Until its probation is over, trouble that
//! begins takes it back; so does a missing confirmation, also at a start.

mod api;
mod apply;
mod candidate;
mod content;
mod file;
mod keeper;
mod metrics;
mod plan;
mod probation;
mod reads;
mod record;
mod reload;
mod revert;
mod source;
mod start;
mod state;
mod take_back;
#[cfg(test)]
mod tests;
mod trips;

use std::sync::Arc;

use deia_supervision::{StartError, child};

pub(crate) use self::{api::SettingsNeeds, start::Resolved, trips::trouble_began};
pub use self::{
    api::{ChangeSetting, ReloadSettings, SettingsApi},
    source::{FixedSettings, SettingsSource},
    start::StartSettings,
};
use self::{keeper::SettingsKeeper, metrics::SettingsMetrics};
use crate::{
    access::AccessApi,
    metrics::Exposition,
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// The subsystem of settings.
pub(crate) struct LiveSettings {
    api: SettingsApi,
    metrics: Arc<SettingsMetrics>,
}

impl LiveSettings {
    pub(crate) fn declare(
        deps: &Deps,
        tree: &mut TreeBuilder,
        access: &AccessApi,
        resolved: Resolved,
    ) -> Self {
        let metrics = Arc::<SettingsMetrics>::default();
        let api = SettingsApi::new(deps, access, resolved, metrics.clone());
        let kept = api.clone();
        let (spec, _) = child("settings", move || {
            let built = SettingsKeeper::new(kept.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.service(spec);
        Self { api, metrics }
    }

    pub(crate) fn api(&self) -> &SettingsApi {
        &self.api
    }
}

impl Subsystem for LiveSettings {
    fn metrics(&self, out: &mut Exposition) {
        self.metrics.write(out, self.api.version_in_force());
    }
}
