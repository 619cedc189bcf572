//! The stop of a hive.

use std::time::Duration;

use deia_ledger::{Apply, MarkRunning, RecordEvents};
use deia_model::{Action, NewEvent};
use deia_supervision::ExitReason;
use tokio::time::Instant;

use super::Hive;
use crate::lifecycle::State;

/// Interval between checks whether the bots have finished. Fixed: short enough that
/// nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Hive {
    /// Stops the hive: accepts no more work, lets running tasks end for up to
    /// `server.drain_timeout`, gives the rest back, stops the tree in order. Until then all
    /// requests but submissions are answered.
    pub async fn shutdown(&self) {
        self.refuse_work();
        self.wind_down().await;
    }

    /// Stops the hive for the start that follows: as [`Hive::shutdown`], but all requests are
    /// accepted until the HTTP server has answered its last one.
    pub async fn make_way(&self) {
        self.wind_down().await;
    }

    /// Stops accepting submissions. Must be called when a restart becomes a stop.
    pub fn refuse_work(&self) {
        self.inner.deps.lifecycle.set(State::Stopping);
    }

    /// Stops the parts in an order that matters: attempts end before their bots, requests before
    /// the parts that answer them, and the store comes last.
    async fn wind_down(&self) {
        let (ledger, subsystems) = (&self.inner.deps.ledger, &self.inner.subsystems);
        let event = NewEvent::new(Action::ShutdownInitiated, "deia", ledger.hive_id());
        if let Err(error) = ledger.apply(RecordEvents(vec![event])).await {
            tracing::warn!(%error, "the stop could not be recorded");
        }
        let limits = self.config().stop_limits();
        subsystems.scheduling.dispatcher().quiesce();
        self.drain(limits.drain).await;
        subsystems.bots.stop(limits.bots).await;
        if let Some(tree) = self.inner.deps.tree.get() {
            tree.shutdown().await;
        }
        self.flush(limits.notes).await;
        if let Err(error) = ledger.apply(MarkRunning(false)).await {
            tracing::error!(%error, "the clean stop could not be recorded");
        }
        subsystems.recovery.finish().await;
        ledger.close().await;
    }

    /// Waits until no task runs that ends with the hive, at most for that time.
    async fn drain(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let subsystems = &self.inner.subsystems;
        let runs = || {
            subsystems.bots.registry().running_here() > 0
                || subsystems.scheduling.dispatcher().pending() > 0
        };
        while runs() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Writes the records that requests have left in memory, at most for that time.
    async fn flush(&self, limit: Duration) {
        let flushing = async {
            for subsystem in &self.inner.subsystems.all {
                subsystem.flush().await;
            }
        };
        if tokio::time::timeout(limit, flushing).await.is_err() {
            tracing::warn!(
                "the last uses of keys, refused requests and progress of deliveries could not be recorded, or entered in the audit trail"
            );
        }
    }

    /// Resolves when the tree has ended: `None` if that was requested, else the reason.
    pub async fn ended(&self) -> Option<String> {
        let reason = match self.inner.deps.tree.get() {
            Some(tree) => tree.exited().await,
            None => return Some("the tree was never up".into()),
        };
        match reason {
            ExitReason::Normal | ExitReason::Shutdown => None,
            other => Some(other.to_string()),
        }
    }
}
