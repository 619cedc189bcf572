//! The archive: commits are shipped as they come, and the hive can be restored to any of them.
//!
//! A thread of its own reads the log of the store and writes parts, snapshots and restore
//! points to the archive ([`deia_archive`]); the store folds its log back only when the archive
//! has it. The actor keeps the thread running and records what it did. Losing both loses
//! nothing: the log waits, and the next thread continues where the archive ends.

mod api;
mod checked;
mod drills;
mod job;
mod keeper;
mod keys;
mod known;
mod metrics;
mod names;
mod offline;
mod put_back;
mod report;
mod restore_job;
mod restored;
mod restoring;
mod schedule;
mod shipper;
mod state;
mod status;
mod swap;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use deia_archive::Storage;
use deia_ledger::LogFeed;
use deia_object_storage::Needs;
use deia_supervision::{StartError, child};

pub(crate) use self::api::WEBHOOKS;
pub use self::{
    api::RecoveryApi,
    offline::{OfflineRestore, RestoreError, RestoreReport, restore_offline},
    restoring::{RestorePlace, RestoreRequest},
};
use self::{keeper::Keeper, shipper::Shipping};
pub(crate) use self::{
    restored::restored,
    status::ArchiveHealth,
    swap::{swap_in, waits as restore_waits},
};
use crate::{
    access::AccessApi,
    config::RecoverySettings,
    metrics::Exposition,
    outgoing::system_tls,
    settings::SettingsSource,
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// Opens the storage of an archive.
///
/// # Errors
/// The URL is none of a storage.
fn open_storage(url: &str, settings: &RecoverySettings) -> Result<Arc<dyn Storage>, String> {
    let needs = Needs {
        request_timeout: settings.request_timeout,
        tls: system_tls,
    };
    deia_object_storage::open(url, needs)
}

/// Facts about the start that the status shows.
pub(crate) struct RecoveryNeeds<'a> {
    pub(crate) access: &'a AccessApi,
    /// The hand-over of the log.
    pub(crate) feed: Arc<LogFeed>,
    /// Identity of the data directory.
    pub(crate) instance: String,
    /// The source of the settings.
    pub(crate) source: Arc<dyn SettingsSource>,
    /// The way in which the run before ended.
    pub(crate) previous: deia_model::PreviousShutdown,
}

/// The subsystem of the archive and of restores.
pub(crate) struct Recovery {
    api: RecoveryApi,
    shipping: Shipping,
}

impl Recovery {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder, needs: RecoveryNeeds<'_>) -> Self {
        let shipping = Shipping::new(deps, needs.feed, needs.instance, needs.source);
        let api = RecoveryApi::new(deps, needs.access, shipping.clone(), needs.previous);
        let (kept, asked) = (shipping.clone(), api.clone());
        let (spec, _) = child("recovery", move || {
            let built = Keeper::new(kept.clone(), asked.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.service(spec);
        Self { api, shipping }
    }

    pub(crate) fn api(&self) -> &RecoveryApi {
        &self.api
    }

    /// Begins to let answers wait for the archive, if the settings say so.
    pub(crate) fn begin(&self) {
        self.shipping.begin();
    }

    /// Ships the last commits, and ends the thread.
    pub(crate) async fn finish(&self) {
        self.shipping.finish().await;
    }
}

impl Subsystem for Recovery {
    fn metrics(&self, out: &mut Exposition) {
        metrics::write(&self.api, out);
    }
}
