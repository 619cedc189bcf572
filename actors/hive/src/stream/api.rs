//! Interface of the live stream to callers.

use std::{sync::Arc, time::Duration};

use deia_model::{EventFilter, Feature, Position, Principal};
use tokio::sync::Semaphore;

use super::{
    EventSubscription,
    hub::Hub,
    ids::EventIds,
    presence::{Presence, ReaderState},
    reader::Waker,
    subscription::Shared,
};
use crate::{HiveError, lifecycle::Lifecycle, mode::CurrentLevel, subsystem::Deps};

/// Time for which a client waits for a hive that starts. Fixed: clients connect again by
/// themselves.
const START_WAIT: Duration = Duration::from_secs(5);
/// Clients that read the log at a time. Fixed: the reads of clients that are behind must
/// not crowd out others.
const LOG_READS: usize = 1;

/// The way to do without the live stream.
const PAGES: &str =
    "GET /api/v1/events with Accept: application/json has the same events, page by page";

/// Interface to the live stream of events.
#[derive(Clone)]
pub struct StreamApi {
    pub(super) hub: Arc<Hub>,
    waker: Waker,
    pub(super) shared: Arc<Shared>,
    lifecycle: Arc<Lifecycle>,
    level: CurrentLevel,
}

impl StreamApi {
    pub(super) fn new(deps: &Deps, hub: Arc<Hub>, waker: Waker, ids: EventIds) -> Self {
        let (lifecycle, tree) = (deps.lifecycle.clone(), deps.tree.clone());
        let presence = Presence::new(hub.clone(), waker.clone(), lifecycle.clone(), tree);
        Self {
            hub,
            waker,
            shared: Arc::new(Shared {
                ledger: deps.ledger.clone(),
                log_reads: Semaphore::new(LOG_READS),
                ids,
                presence,
            }),
            lifecycle,
            level: deps.level.clone(),
        }
    }

    /// Returns the position that the id of an event stands for; `None` if the caller was not
    /// given that id.
    pub fn position(&self, who: &Principal, id: &str) -> Option<Position> {
        self.shared.ids.position(&who.visibility(), id)
    }

    /// Follows the events that match and that the caller may see: those after `start`, or those
    /// from now on.
    ///
    /// # Errors
    /// [`HiveError::FeatureSuspended`], or the log cannot be read.
    pub async fn follow(
        &self,
        who: &Principal,
        filter: EventFilter,
        start: Option<Position>,
    ) -> Result<EventSubscription, HiveError> {
        self.lifecycle.takes_work(START_WAIT).await?;
        if self.level.sheds(Feature::LiveStream) {
            return Err(suspended());
        }
        match self.shared.presence.settled().await {
            ReaderState::Running => {}
            ReaderState::Stopping => {
                return Err(HiveError::Unavailable(self.lifecycle.state().as_str()));
            }
            ReaderState::Suspended => {
                return Err(suspended());
            }
        }
        let membership = self.hub.join();
        let head = self.shared.ledger.log_head().await?;
        self.waker.wake();
        let shared = Arc::clone(&self.shared);
        let wanted = (who.visibility(), filter);
        Ok(EventSubscription::new(
            shared, membership, wanted, start, head,
        ))
    }
}

fn suspended() -> HiveError {
    HiveError::FeatureSuspended {
        feature: Feature::LiveStream.as_str(),
        instead: PAGES.into(),
    }
}
