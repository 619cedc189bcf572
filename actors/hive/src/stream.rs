//! The live stream: events as they are recorded, for those who follow them.
//!
//! One reader of the log fills a ring in memory while there are clients. A client has a cursor
//! of its own: it is served from the ring, or from the log when it is behind it, and can always
//! continue from the id of the last event that it has (decision 49). Losing this subsystem
//! loses no event: clients continue from the log.

mod api;
mod hub;
mod ids;
mod metrics;
mod presence;
mod reader;
mod ring;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::AtomicBool};

pub use api::StreamApi;
use deia_ledger::CommitNotice;
use deia_model::Feature;
use deia_supervision::{StartError, child};
pub use metrics::StreamCut;
pub use subscription::{EventSubscription, StreamItem, StreamedEvent};

use self::{
    hub::Hub,
    ids::EventIds,
    reader::{StreamReader, Waker},
};
use crate::{
    metrics::Exposition,
    secrets::SealingKeys,
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// The subsystem of the live stream.
pub(crate) struct LiveStream {
    api: StreamApi,
    hub: Arc<Hub>,
    waker: Waker,
}

impl LiveStream {
    /// Declares the subsystem. The keys of the ids are derived from those that seal secrets.
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder, sealing: &SealingKeys) -> Self {
        let hub = Hub::new();
        let rung = Arc::<AtomicBool>::default();
        let (read, heard) = (hub.clone(), rung.clone());
        let (ledger, settings) = (deps.ledger.clone(), deps.settings.clone());
        let (spec, reader) = child("stream", move || {
            let (ledger, settings) = (ledger.clone(), settings.clone());
            let built = StreamReader::new(read.clone(), ledger, settings, heard.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.service(spec.feature(Feature::LiveStream.as_str()));
        let waker = Waker::new(rung, reader);
        let ids = EventIds::new(sealing);
        let api = StreamApi::new(deps, hub.clone(), waker.clone(), ids);
        Self { api, hub, waker }
    }

    pub(crate) fn api(&self) -> &StreamApi {
        &self.api
    }
}

impl Subsystem for LiveStream {
    fn on_commit(&self, notices: &[CommitNotice]) {
        self.waker.wake_if_appended(&self.hub, notices);
    }

    fn metrics(&self, out: &mut Exposition) {
        metrics::write(&self.hub, out);
    }
}
