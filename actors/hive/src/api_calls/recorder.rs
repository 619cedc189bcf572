//! The actor that writes recorded requests.

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, WrapFuture};
use deia_ledger::{Apply, Ledger, RecordEvents, StoreError};
use deia_supervision::Context;

use super::log::CallLog;

/// Time within which requests are gathered and written together. Fixed: each write costs
/// a part of a commit, and nobody sees this delay.
const GATHER: Duration = Duration::from_millis(100);
/// Maximum number of requests that one commit writes. Fixed: bounds one step, so that
/// others get their turn; the whole has no limit here.
const BATCH_MAX: usize = 500;
/// Pause before requests are written again after that failed. Fixed: a fault is not tried
/// in a loop, and its end is noticed soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Writes recorded requests, one batch after the other.
#[derive(Clone)]
pub(super) struct CallRecorder {
    log: Arc<CallLog>,
    ledger: Ledger,
}

/// Outcome of writing one batch.
enum Written {
    /// The queue is empty.
    All,
    /// There may be more.
    Batch,
    /// The store takes none at the moment; the batch is back in the queue.
    NotNow,
}

impl CallRecorder {
    pub(super) fn new(log: Arc<CallLog>, ledger: Ledger) -> Self {
        Self { log, ledger }
    }

    async fn write_batch(&self) -> Written {
        let Some(batch) = self.log.take(BATCH_MAX) else {
            return Written::All;
        };
        match self.ledger.apply(RecordEvents(batch.events())).await {
            Ok(()) => self.log.recorded.add(batch.calls.len() as u64),
            Err(StoreError::Full(_) | StoreError::Busy | StoreError::Closed) => {
                self.log.put_back(batch);
                return Written::NotNow;
            }
            // They may be recorded: a repetition could record them twice.
            Err(error) => {
                tracing::warn!(%error, calls = batch.calls.len(), "requests could not be recorded");
                self.log.give_up(&batch);
            }
        }
        Written::Batch
    }

    async fn write_for_ever(self) {
        loop {
            match self.write_batch().await {
                Written::Batch => {}
                Written::NotNow => tokio::time::sleep(RETRY_AFTER).await,
                Written::All => {
                    self.log.filled().await;
                    tokio::time::sleep(GATHER).await;
                }
            }
        }
    }

    /// Writes all that wait, unless the store takes them no more.
    pub(super) async fn write_rest(&self) {
        while let Written::Batch = self.write_batch().await {}
    }
}

impl Actor for CallRecorder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(self.clone().write_for_ever().into_actor(self));
    }
}
