//! Messages between bots, and sessions of users with bots.
//!
//! All of their state is in the store. A bot asks for its inbox and says what it has read;
//! tasks of a session go to its bot. The [`Keeper`] ends messages that nobody reads and idle
//! sessions, takes sessions from bots that died, and forgets old records. Losing its memory
//! delays that and loses nothing.

mod api;
mod keeper;
mod lost_bots;
mod metrics;
mod sessions;

use std::sync::Arc;

pub use api::MessagesApi;
use deia_ledger::CommitNotice;
use deia_model::BotName;
use deia_supervision::{Handle, StartError, child};
pub use sessions::{SessionOrigin, SessionsApi};

use self::{
    keeper::{BotMayBeLost, Keeper},
    metrics::MessagingMetrics,
};
use crate::{
    access::AccessApi,
    bots::Bots,
    metrics::Exposition,
    subsystem::{Deps, Subsystem, TreeBuilder},
    waiters::Waiters,
};

/// The subsystem of messages and sessions.
pub(crate) struct Messaging {
    messages: MessagesApi,
    sessions: SessionsApi,
    /// Callers that wait for a message to a bot.
    inboxes: Waiters<BotName>,
    keeper: Handle<Keeper>,
    metrics: Arc<MessagingMetrics>,
}

impl Messaging {
    pub(crate) fn declare(
        deps: &Deps,
        tree: &mut TreeBuilder,
        access: &AccessApi,
        bots: &Bots,
    ) -> Self {
        let inboxes = Waiters::default();
        let metrics = Arc::<MessagingMetrics>::default();
        let (ledger, settings, bots) = (
            deps.ledger.clone(),
            deps.settings.clone(),
            bots.api().clone(),
        );
        let (spec, keeper) = child("messaging", move || {
            let built = Keeper::new(ledger.clone(), settings.clone(), bots.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.core(spec);
        Self {
            messages: MessagesApi::new(deps, access, inboxes.clone(), metrics.clone()),
            sessions: SessionsApi::new(deps, access),
            inboxes,
            keeper,
            metrics,
        }
    }

    pub(crate) fn messages(&self) -> &MessagesApi {
        &self.messages
    }

    pub(crate) fn sessions(&self) -> &SessionsApi {
        &self.sessions
    }
}

impl Subsystem for Messaging {
    fn on_commit(&self, notices: &[CommitNotice]) {
        self.inboxes
            .wake(notices.iter().filter_map(|notice| match notice {
                CommitNotice::MessageSent(receiver) => Some(receiver),
                _ => None,
            }));
        let is_lost = |notice: &CommitNotice| {
            matches!(notice, CommitNotice::BotChanged { eligible: None, .. })
        };
        if notices.iter().any(is_lost) {
            // The keeper looks at the bots from time to time as well.
            let _ = self.keeper.tell(BotMayBeLost);
        }
    }

    fn metrics(&self, out: &mut Exposition) {
        self.metrics.write(out);
    }
}
