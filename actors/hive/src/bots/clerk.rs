//! Records what bots leave behind, apart from the threads that bots run on.
//!
//! A bot may be on a thread that a call blocks. Work with the store that was begun there
//! would stay there with whatever it holds, and so would the programs of its attempts.

use std::sync::Arc;

use deia_ledger::{Ledger, StoreError};
use deia_model::{AttemptEnd, BotName, Timestamp};
use tokio::runtime::Handle;

use super::{board::Card, guardian::Guardian};

/// Settles what incarnations of bots left, on the thread of the tree.
#[derive(Clone)]
pub(crate) struct Clerk {
    pub(crate) runtime: Handle,
    pub(crate) ledger: Ledger,
    pub(crate) guardian: Guardian,
}

/// A bot whose incarnations are settled, and how.
pub(super) struct Settling {
    pub(super) bot: BotName,
    pub(super) card: Arc<Card>,
    /// Incarnations up to this number have ended.
    pub(super) up_to: u64,
    /// Only tasks that were started before, if that is given.
    pub(super) started_before: Option<Timestamp>,
    /// The end of the attempts that were begun, or handed over, and have no report.
    pub(super) end: AttemptEnd,
}

impl Clerk {
    /// Records the reports that a bot has left, some time soon.
    pub(super) fn record(&self, card: &Arc<Card>) {
        let (card, ledger) = (card.clone(), self.ledger.clone());
        self.runtime.spawn(async move {
            if let Err(error) = card.left.record(&ledger).await {
                tracing::debug!(%error, "last reports of a bot are left to its next start");
            }
        });
    }

    /// Ends the programs that ended incarnations still run, records the reports that
    /// they left, and then gives back what they had in hand beyond that: no task starts
    /// again beside its own program.
    ///
    /// # Errors
    /// The store does not work.
    pub(super) async fn settle(&self, settling: Settling) -> Result<(), StoreError> {
        let this = self.clone();
        let settled = self
            .runtime
            .spawn(async move { this.carry_out(settling).await });
        settled.await.unwrap_or(Err(StoreError::Unknown))
    }

    async fn carry_out(self, settling: Settling) -> Result<(), StoreError> {
        let Settling {
            bot,
            card,
            up_to,
            started_before,
            end,
        } = settling;
        for marks in card.pids.retire(up_to) {
            tracing::warn!(%bot, "a program of a bot whose thread is blocked is ended");
            self.guardian.end_escaped(marks).await;
        }
        card.left
            .settle(&self.ledger, &bot, started_before, end)
            .await
    }
}
