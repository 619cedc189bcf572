//! Keeps the store's writer running, and repairs the state left by an earlier run.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{
    Apply, BoxFuture, Command, CommandLog, Ledger, RecordEvents, ReleaseLeases, StoreError,
};
use deia_model::AttemptEnd;
use deia_supervision::{Context, StartError, child};

use crate::subsystem::{Deps, TreeBuilder};

/// Adds the actor to the tree, before the actors that depend on the store.
pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder) {
    let ledger = deps.ledger.clone();
    let starts = Arc::new(AtomicU64::new(0));
    let (spec, _) = child("ledger", move || {
        let first = starts.fetch_add(1, Ordering::Relaxed) == 0;
        LedgerWriter::start(ledger.clone(), first)
    });
    tree.ground(spec);
}

/// Keeps the store's writer running: fails when the writer does, so that the actors that depend
/// on it are rebuilt.
pub(crate) struct LedgerWriter {
    serving: Option<BoxFuture<'static, String>>,
}

impl LedgerWriter {
    /// Starts the writer; `first` tells whether it is the first in this process.
    /// On return, the tasks that bots held in an earlier run are back in the
    /// queue. On a full disk they go back before anything else is written, once there is
    /// room.
    pub(crate) async fn start(ledger: Ledger, first: bool) -> Result<Self, StartError> {
        ledger.close().await;
        // Opening the file may require reading a long log first.
        let opened = ledger.clone();
        let serving = tokio::task::spawn_blocking(move || opened.serve())
            .await
            .map_err(StartError::failed)?
            .map_err(StartError::failed)?;
        let bots = ledger
            .bots_with_running_tasks()
            .await
            .map_err(StartError::failed)?;
        if !bots.is_empty() {
            let unclean = !ledger.previous_shutdown_clean();
            let (end, reason) = left_running(first, unclean);
            let command = ReleaseLeases {
                bots,
                started_before: None,
                end,
                reason: reason.to_owned(),
            };
            write_or_leave_waiting(&*ledger, vec![command.into()])
                .await
                .map_err(StartError::failed)?;
        }
        Ok(Self {
            serving: Some(serving),
        })
    }
}

/// Returns how an attempt ended that the writer finds running when it starts, and
/// why. Tasks that were running when the whole process died may have killed it.
fn left_running(first: bool, unclean: bool) -> (AttemptEnd, &'static str) {
    match (first, unclean) {
        (true, true) => (
            AttemptEnd::HiveDied,
            "the server died while the task was running",
        ),
        (true, false) => (
            AttemptEnd::GivenBack,
            "the server stopped while the task was running",
        ),
        (false, _) => (
            AttemptEnd::GivenBack,
            "the store's writer was restarted while the task was running",
        ),
    }
}

/// Applies these in order. If there is no room on the disk, they wait for it, ahead of all other
/// writes: reads are served meanwhile.
pub(crate) async fn write_or_leave_waiting(
    ledger: &dyn CommandLog,
    commands: Vec<Command>,
) -> Result<(), StoreError> {
    let applying: Vec<_> = commands
        .into_iter()
        .map(|command| ledger.execute_deferred(command))
        .collect();
    // The command writes nothing: its result shows if those before it still wait.
    match ledger.apply(RecordEvents(Vec::new())).await {
        Ok(_) => {
            for applied in applying {
                applied.await?;
            }
            Ok(())
        }
        Err(StoreError::Full(_) | StoreError::Busy) => {
            tracing::warn!("the disk has no room for what a start writes; it is written later");
            Ok(())
        }
        Err(error) => Err(error),
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
