//! Probes of a bot, one after the other.

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_supervision::Context;

use super::BotActor;
use crate::bots::probe::{ProbeWatch, Prober};

impl BotActor {
    /// Begins to probe the bot, if its specification says how. It is given no task before the first
    /// probe has succeeded.
    pub(super) fn begin_to_probe(&mut self, ctx: &mut Context<Self>) {
        let Some(prober) = self.prober.clone() else {
            self.gauges.set_probed(Default::default());
            return;
        };
        let watch = ProbeWatch::new(prober.spec.failures);
        self.gauges.set_probed(watch.seen().clone());
        self.probe(prober, watch, ctx);
    }

    fn probe(&self, prober: Prober, mut watch: ProbeWatch, ctx: &mut Context<Self>) {
        let probing = async move { (prober.probe().await, prober) };
        ctx.spawn(probing.into_actor(self).map(|(result, prober), this, ctx| {
            let changed = watch.probed(result);
            this.gauges.set_probed(watch.seen().clone());
            if changed {
                this.reachable_or_not(&watch, ctx);
            }
            ctx.run_later(prober.every(), |this, ctx| this.probe(prober, watch, ctx));
        }));
    }

    fn reachable_or_not(&mut self, watch: &ProbeWatch, ctx: &Context<Self>) {
        match watch.seen().reason() {
            Some(reason) => {
                tracing::warn!(bot = %self.name, reason, "bot cannot be reached and takes no tasks");
                self.withdraw();
            }
            None => {
                tracing::info!(bot = %self.name, "bot can be reached");
                self.report_capacity(ctx);
            }
        }
    }
}
