//! Keeps the store's writer running, and puts things right after an earlier run.

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_supervision::{Context, StartError};

use crate::{
    auth::Keyring,
    ledger::{BoxFuture, Command, Ledger},
    model::AttemptEnd,
};

/// Keeps the store's writer running: fails when the writer does, so that all
/// that stands on it is rebuilt.
pub(crate) struct LedgerWriter {
    serving: Option<BoxFuture<'static, String>>,
}

impl LedgerWriter {
    /// Starts the writer. When this returns, what bots had in hand in an
    /// earlier run is back in the queue, and the keys are in force.
    pub(crate) async fn start(
        ledger: Ledger,
        keyring: std::sync::Arc<Keyring>,
    ) -> Result<Self, StartError> {
        ledger.close().await;
        let serving = ledger.serve().map_err(StartError::failed)?;
        let bots = ledger
            .bots_with_running_tasks()
            .await
            .map_err(StartError::failed)?;
        if !bots.is_empty() {
            let reason = "the server ended while the task was running".to_owned();
            let command = Command::GiveBack {
                bots,
                end: AttemptEnd::GivenBack,
                reason,
            };
            ledger.apply(command).await.map_err(StartError::failed)?;
        }
        keyring.replace(ledger.keys().await.map_err(StartError::failed)?);
        Ok(Self {
            serving: Some(serving),
        })
    }
}

impl Actor for LedgerWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(serving) = self.serving.take() {
            ctx.spawn(serving.into_actor(self).map(|reason, _, ctx| {
                tracing::error!(%reason, "the store's writer ended");
                ctx.fail(reason);
            }));
        }
    }
}
