//! How a hive goes down.

use std::time::Duration;

use deia_ledger::{Apply, MarkRunning, RecordEvents};
use deia_model::{Action, NewEvent};
use deia_supervision::ExitReason;
use tokio::{sync::oneshot, time::Instant};

use super::{Hive, State};
use crate::actors::{access::AccessNotes, bots::StopEverything};

/// How often is looked whether the bots have finished.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Hive {
    /// Stops: takes no work any more, lets running tasks end for up to
    /// `server.drain_timeout`, gives the rest back, stops the tree in order.
    /// Until then everything but submissions is answered.
    pub async fn shutdown(&self) {
        self.refuse_work();
        self.wind_down().await;
    }

    /// Makes way for the start that follows: as [`Hive::shutdown`], but everything
    /// is accepted until the HTTP server has answered its last request.
    pub async fn make_way(&self) {
        self.wind_down().await;
    }

    /// Accepts no submissions any more. To be called when a restart becomes a stop.
    pub fn refuse_work(&self) {
        self.set_state(State::Stopping);
    }

    /// The order matters: attempts end before their bots, requests before what
    /// answers them, and the store is told last.
    async fn wind_down(&self) {
        let inner = &self.inner;
        let event = NewEvent::new(Action::ShutdownInitiated, "deia", inner.ledger.hive_id());
        if let Err(error) = inner.ledger.apply(RecordEvents(vec![event])).await {
            tracing::warn!(%error, "the stop could not be recorded");
        }
        inner.dispatcher.quiesce();
        self.drain().await;
        self.stop_bots().await;
        if let Some(tree) = inner.tree.get() {
            tree.shutdown().await;
        }
        self.write_notes().await;
        if let Err(error) = inner.ledger.apply(MarkRunning(false)).await {
            tracing::error!(%error, "the clean stop could not be recorded");
        }
        inner.ledger.close().await;
    }

    /// Waits until no task runs, or the time for that is over.
    async fn drain(&self) {
        let deadline = Instant::now() + self.config().stop_limits().drain;
        let runs = || self.inner.board.running() > 0 || self.inner.dispatcher.pending() > 0;
        while runs() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends what still runs, and the bots.
    async fn stop_bots(&self) {
        let (done, stopped) = oneshot::channel();
        if self.inner.launcher.tell(StopEverything(done)).is_err() {
            tracing::warn!("the launcher takes no messages; the bots end with the tree");
            return;
        }
        let limit = self.config().stop_limits().bots;
        if tokio::time::timeout(limit, stopped).await.is_err() {
            tracing::warn!(
                "bots did not end in time; their tasks are given back at the next start"
            );
        }
    }

    /// Writes what requests have left: uses of keys, sessions, refusals.
    async fn write_notes(&self) {
        let inner = &self.inner;
        let notes = AccessNotes {
            ledger: inner.ledger.clone(),
            caches: inner.caches.clone(),
            keyring: inner.keyring.clone(),
            denials: inner.denials.clone(),
            logins: inner.logins.clone(),
            issuers: inner.issuers.clone(),
        };
        let writing = async {
            notes.write_uses().await;
            notes.write_logins().await;
            notes.write_denials(true).await;
        };
        let limit = self.config().stop_limits().notes;
        if tokio::time::timeout(limit, writing).await.is_err() {
            tracing::warn!("the last refused requests could not be recorded");
        }
    }

    /// Resolves when the tree has ended: `None` when that was asked for, else why.
    pub async fn ended(&self) -> Option<String> {
        let reason = match self.inner.tree.get() {
            Some(tree) => tree.exited().await,
            None => return Some("the tree was never up".into()),
        };
        match reason {
            ExitReason::Normal | ExitReason::Shutdown => None,
            other => Some(other.to_string()),
        }
    }
}
