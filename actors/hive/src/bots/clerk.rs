//! Records the reports that bots leave behind, on another thread than the bots' own.
//!
//! A call may block the thread of a bot. Work with the store begun on that thread would be stuck
//! with everything that it holds, and so would the programs of its attempts.

use std::sync::Arc;

use deia_ledger::{Apply, Ledger, RecordEvents, StoreError};
use deia_model::{AttemptEnd, BotName, NewEvent, Timestamp};
use tokio::runtime::Handle;

use super::{reaper_handle::ReaperHandle, registry::BotGauges};

/// Settles the remains of ended incarnations of bots, on the thread of the tree.
#[derive(Clone)]
pub(crate) struct Clerk {
    pub(crate) runtime: Handle,
    pub(crate) ledger: Ledger,
    pub(crate) reaper: ReaperHandle,
}

/// Request to settle the ended incarnations of a bot.
pub(super) struct Settling {
    pub(super) bot: BotName,
    pub(super) gauges: Arc<BotGauges>,
    /// Number of the last incarnation that has ended.
    pub(super) up_to: u64,
    /// Restricts the request to tasks started before that time.
    pub(super) started_before: Option<Timestamp>,
    /// End of the attempts without a report.
    pub(super) end: AttemptEnd,
}

impl Clerk {
    /// Starts recording the reports that a bot has left.
    pub(super) fn record(&self, gauges: &Arc<BotGauges>) {
        let (gauges, ledger) = (gauges.clone(), self.ledger.clone());
        self.runtime.spawn(async move {
            if let Err(error) = gauges.left.record(&ledger).await {
                tracing::debug!(%error, "the last reports of a bot cannot be recorded; its next start records them");
            }
        });
    }

    /// Starts recording an event about a bot that has ended.
    pub(super) fn note(&self, event: NewEvent) {
        let ledger = self.ledger.clone();
        self.runtime.spawn(async move {
            let command = RecordEvents(vec![event]);
            if let Err(error) = ledger.apply_deferred(command).await {
                tracing::error!(%error, "an event of a bot could not be recorded");
            }
        });
    }

    /// Ends the programs that ended incarnations still run, records the reports that they left, and
    /// then gives back their other tasks. In this order no task starts again beside its own
    /// program.
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
            gauges,
            up_to,
            started_before,
            end,
        } = settling;
        for env_tags in gauges.pids.retire(up_to) {
            tracing::warn!(%bot, "ending a program of a bot whose thread is blocked");
            self.reaper.end_escaped(env_tags).await;
        }
        gauges
            .left
            .settle(&self.ledger, &bot, started_before, end)
            .await
    }
}
