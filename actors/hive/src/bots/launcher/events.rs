//! Events of the tree about bots, which the launcher records and acts on.

use actix::{ActorFutureExt, AsyncContext, StreamHandler, WrapFuture};
use deia_ledger::{Apply, RecordEvents, StoreError};
use deia_model::{AttemptEnd, BotName, Timestamp};
use deia_supervision::{Context, Event, EventKind, Lagged};

use super::{
    super::{clerk::Settling, log_event::log_event_of},
    Launcher,
};

impl Launcher {
    pub(super) fn follow(&mut self, ctx: &mut Context<Self>) {
        let Some(tree) = self.deps.tree.get() else {
            return;
        };
        ctx.add_stream(tree.subscribe());
        self.compare(ctx);
    }

    /// Records an event of a bot in the event log and on its gauges.
    fn note(&mut self, event: &Event, ctx: &mut Context<Self>) {
        if *event.path == *self.deps.bots.path() {
            // The supervisor reports only itself, but all bots are concerned.
            self.resting.clear();
            return self.compare(ctx);
        }
        let bots = format!("{}/", self.deps.bots.path());
        let Some(name) = event
            .path
            .strip_prefix(&bots)
            .and_then(|name| name.parse::<BotName>().ok())
        else {
            return;
        };
        self.noted.insert(name.clone());
        let gauges = self.deps.registry.gauges(&name);
        let out_of_work = matches!(
            event.kind,
            EventKind::Quarantined { .. } | EventKind::Suspended { .. }
        );
        let log_event = log_event_of(&event.kind, &name, &gauges);
        let (ledger, clerk) = (self.deps.ledger.clone(), self.deps.clerk.clone());
        let settling = out_of_work.then(|| Settling {
            bot: name,
            up_to: gauges.incarnation(),
            gauges,
            started_before: Some(Timestamp::now()),
            end: AttemptEnd::GivenBack,
        });
        ctx.spawn(
            async move {
                if let Some(settling) = settling {
                    clerk.settle(settling).await?;
                }
                match log_event {
                    Some(log_event) => {
                        let command = RecordEvents(vec![log_event]);
                        ledger.apply_deferred(command).await.map(drop)
                    }
                    None => Ok(()),
                }
            }
            .into_actor(self)
            .map(|outcome: Result<(), StoreError>, _, _| {
                if let Err(error) = outcome {
                    tracing::error!(%error, "an event of a bot could not be recorded");
                }
            }),
        );
    }
}

impl StreamHandler<Result<Event, Lagged>> for Launcher {
    fn handle(&mut self, received: Result<Event, Lagged>, ctx: &mut Self::Context) {
        match received {
            Ok(event) => self.note(&event, ctx),
            Err(Lagged { missed }) => {
                tracing::warn!(missed, "events of bots were missed by the launcher")
            }
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}
