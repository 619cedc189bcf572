//! Parts that the dispatcher, the endpoints and the interface share. They outlive the actors.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Instant,
};

use dashmap::DashMap;
use deia_ledger::Ledger;
use deia_model::{Position, Timestamp, WebhookId};
use deia_supervision::{Handle, SupervisorHandle};

use super::{
    endpoint::EndpointActor, feed::Feed, metrics::WebhookMetrics, rights::OwnerRights,
    sender::Sender,
};
use crate::{config::Settings, secrets::SealingKeys};

/// The parts that the actors of webhooks work with.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) settings: Settings,
    pub(super) sealing: Arc<SealingKeys>,
    pub(super) sender: Arc<Sender>,
    pub(super) rights: Arc<OwnerRights>,
    pub(super) metrics: Arc<WebhookMetrics>,
    pub(super) feeds: Feeds,
    /// Versions that endpoints have, as commits told, until the dispatcher has read them.
    pub(super) expected: Arc<DashMap<WebhookId, u64>>,
    /// Progress of the dispatcher.
    pub(super) progress: Arc<Mutex<Progress>>,
    /// Number of the newest event at the start: an earlier run may have tried those up to it.
    pub(super) known_to: Arc<AtomicU64>,
    /// The supervisor of the endpoints.
    pub(super) endpoints: SupervisorHandle,
}

/// The progress of the dispatcher.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    /// Position of its cursor.
    pub(super) at: Option<Position>,
    /// Position of the cursor as it was stored last.
    pub(super) saved: Option<Position>,
}

/// A feed, and the actor that empties it.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) feed: Arc<Feed>,
    /// The actor, while there is work for it.
    pub(super) actor: Option<Running>,
    /// True while the actor is being ended.
    pub(super) is_ending: bool,
    /// True if there was work meanwhile.
    pub(super) is_wanted: bool,
}

/// An actor that was started.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) handle: Handle<EndpointActor>,
    pub(super) since: Instant,
}

impl Entry {
    pub(super) fn new(feed: Arc<Feed>) -> Self {
        Self {
            feed,
            actor: None,
            is_ending: false,
            is_wanted: false,
        }
    }
}

/// The feeds of the enabled endpoints.
#[derive(Clone, Default)]
pub(super) struct Feeds(Arc<Mutex<HashMap<WebhookId, Entry>>>);

impl Feeds {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<WebhookId, Entry>> {
        // Each change is complete at every point, so a panic elsewhere leaves nothing torn.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the age of the oldest event that an endpoint was not sent, in milliseconds.
    pub(super) fn lag_ms(&self, id: WebhookId, now: Timestamp) -> u64 {
        let since = self
            .lock()
            .get(&id)
            .and_then(|entry| entry.feed.pending_since());
        since.map_or(0, |since| now.millis_since(since))
    }
}
