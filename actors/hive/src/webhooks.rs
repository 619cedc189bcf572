//! Webhooks: events leave the hive, signed, and none that matched is forgotten while the log
//! keeps it.
//!
//! The dispatcher reads each event once and compares it with all endpoints; each endpoint that
//! has work gets an actor of its own, so that a slow one slows only itself. An endpoint has a
//! cursor on the log, which is stored while it is behind that of the dispatcher. Rows exist only
//! for deliveries that wait for a retry, and for a bounded history. Losing an actor repeats
//! some deliveries, with the same ids.

mod api;
mod dispatcher;
mod endpoint;
mod feed;
mod index;
mod keys;
mod message;
mod metrics;
mod payload;
mod rights;
mod sender;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::Ordering};

pub use api::WebhooksApi;
use deia_ledger::{BoxFuture, CommitNotice};
use deia_model::Feature;
use deia_supervision::{Handle, StartError, Strategy, SupervisorSpec, child};

use self::{
    dispatcher::{Dispatcher, EndpointWork, EndpointsChanged, EventsAppended, Told},
    rights::OwnerRights,
    sender::Sender,
    shared::{Feeds, Shared},
};
use crate::{
    access::AccessApi,
    metrics::Exposition,
    secrets::SealingKeys,
    subsystem::{Deps, Subsystem, TreeBuilder, on_group},
};

/// Name of the thread that webhooks run on: signatures, TLS and the reading of answers take
/// nothing from the scheduler.
const THREADS: &str = "webhooks";

/// The subsystem of webhooks.
pub(crate) struct Webhooks {
    api: WebhooksApi,
    dispatcher: Handle<Dispatcher>,
    told: Told,
    shared: Shared,
}

impl Webhooks {
    pub(crate) fn declare(
        deps: &Deps,
        tree: &mut TreeBuilder,
        access: &AccessApi,
        sealing: Arc<SealingKeys>,
    ) -> Self {
        tree.root(|root| root.group(THREADS, 1));
        let endpoints = SupervisorSpec::dynamic("endpoints");
        let shared = Shared {
            ledger: deps.ledger.clone(),
            settings: deps.settings.clone(),
            sealing,
            sender: Sender::new(deps.settings.clone()),
            rights: OwnerRights::new(deps.ledger.clone(), deps.settings.clone()),
            metrics: Arc::default(),
            feeds: Feeds::default(),
            known_to: Arc::default(),
            expected: Arc::default(),
            progress: Arc::default(),
            endpoints: endpoints.handle(),
        };
        let told = Told::default();
        let (held, heard) = (shared.clone(), told.clone());
        let (spec, dispatcher) = child("dispatcher", move || {
            let built = Dispatcher::new(held.clone(), heard.clone());
            async move { Ok::<_, StartError>(built) }
        });
        let webhooks = SupervisorSpec::new("webhooks", Strategy::OneForOne)
            .child(endpoints)
            .child(spec);
        let feature = Feature::WebhookDelivery.as_str();
        tree.service_subtree(on_group(webhooks, THREADS), feature);
        Self {
            dispatcher,
            told,
            api: WebhooksApi::new(access, shared.clone()),
            shared,
        }
    }

    pub(crate) fn api(&self) -> &WebhooksApi {
        &self.api
    }
}

impl Subsystem for Webhooks {
    fn on_commit(&self, notices: &[CommitNotice]) {
        self.shared.rights.on_commit(notices);
        let (mut appended, mut changed) = (false, false);
        for notice in notices {
            match notice {
                CommitNotice::WebhookWork(id) => drop(self.dispatcher.tell(EndpointWork(*id))),
                CommitNotice::WebhookVersion(id, version) => {
                    self.shared.expected.insert(*id, *version);
                }
                _ => {}
            }
            appended |= matches!(notice, CommitNotice::EventsAppended(_));
            changed |= matches!(
                notice,
                CommitNotice::WebhooksChanged | CommitNotice::KeysChanged
            );
        }
        // A message that finds no room is harmless: the dispatcher looks periodically.
        if appended && !self.told.events.swap(true, Ordering::AcqRel) {
            drop(self.dispatcher.tell(EventsAppended));
        }
        if changed {
            self.told.endpoints.store(true, Ordering::Release);
            drop(self.dispatcher.tell(EndpointsChanged));
        }
    }

    fn metrics(&self, out: &mut Exposition) {
        self.shared.metrics.write(out);
    }

    /// Stores the cursors, so that the next start repeats no delivery.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(dispatcher::flush(&self.shared))
    }
}
