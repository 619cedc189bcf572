//! The messages to the launcher.

use actix::{AsyncContext, Handler, Message, WrapFuture};
use deia_ledger::Cancelling;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{super::lifecycle::stop_bot, Launcher};

/// Starts following the events of the tree, which is up.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Follow;

impl Handler<Follow> for Launcher {
    type Result = ();

    fn handle(&mut self, _: Follow, ctx: &mut Self::Context) {
        self.follow(ctx);
    }
}

/// Reports that the wanted bots have changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BotsChanged;

impl Handler<BotsChanged> for Launcher {
    type Result = ();

    fn handle(&mut self, _: BotsChanged, ctx: &mut Self::Context) {
        self.compare(ctx);
    }
}

/// Reports that a running task was cancelled.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TaskCancelled(pub(crate) Cancelling);

impl Handler<TaskCancelled> for Launcher {
    type Result = ();

    fn handle(&mut self, cancelled: TaskCancelled, _: &mut Self::Context) {
        self.cancel(&cancelled.0);
    }
}

/// Ends all bots, as the hive is stopping.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopEverything(pub(crate) oneshot::Sender<()>);

impl Handler<StopEverything> for Launcher {
    type Result = ();

    fn handle(&mut self, StopEverything(done): StopEverything, ctx: &mut Self::Context) {
        self.deps.managed.begin_stop();
        let deps = self.deps.clone();
        let managed: Vec<_> = self.deps.managed.lock().drain().collect();
        let stopping = async move {
            join_all(
                managed
                    .iter()
                    .map(|(name, managed)| stop_bot(&deps, name, managed)),
            )
            .await;
            // The caller may have been dropped.
            let _ = done.send(());
        };
        ctx.spawn(stopping.into_actor(self));
    }
}
