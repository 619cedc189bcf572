//! The actor that measures the programs of all bots, off the arbiters.

use std::{sync::Arc, time::Duration, time::Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_model::BotName;
use deia_supervision::Context;

use super::{
    bot::EndAttempt,
    lifecycle::ManagedBots,
    meters::OverLimit,
    registry::{BotGauges, BotRegistry},
};
use crate::{bots::attempt::StopCause, config::Settings, host::families};

/// Measures the programs of all bots, and ends attempts that are over a limit.
pub(crate) struct Measurer {
    registry: BotRegistry,
    managed: ManagedBots,
    settings: Settings,
}

impl Measurer {
    pub(crate) fn new(registry: BotRegistry, managed: ManagedBots, settings: Settings) -> Self {
        Self {
            registry,
            managed,
            settings,
        }
    }

    fn every(&self) -> Duration {
        self.settings.get().bots.measure_every
    }

    /// Measures all programs, and again after the interval. Measurements do not overlap.
    fn measure(&mut self, ctx: &mut Context<Self>) {
        let bots = self.registry.with_programs();
        if bots.is_empty() {
            ctx.run_later(self.every(), Self::measure);
            return;
        }
        let measuring = tokio::task::spawn_blocking(move || read_all(&bots));
        ctx.spawn(measuring.into_actor(self).map(|over, this, ctx| {
            for (bot, over) in over.unwrap_or_default() {
                this.end(&bot, over);
            }
            ctx.run_later(this.every(), Self::measure);
        }));
    }

    fn end(&self, bot: &BotName, over: OverLimit) {
        let OverLimit {
            attempt,
            excess,
            again,
            class,
        } = over;
        let managed = self.managed.lock().get(bot).cloned();
        let cause = StopCause::OverLimit {
            class,
            words: excess.to_string().into(),
        };
        // If the mailbox is full, the next measurement finds the attempt over its limit again.
        let told = managed.map(|it| {
            it.handle
                .tell(EndAttempt {
                    key: attempt,
                    cause,
                })
                .is_ok()
        });
        if !again {
            tracing::warn!(
                %bot, task = %attempt.task, attempt = attempt.number, %excess, told,
                "an attempt is over a limit of its bot and is ended"
            );
        }
    }
}

/// Measures the programs of these bots. Returns the attempts that are over a limit.
fn read_all(bots: &[(BotName, Arc<BotGauges>)]) -> Vec<(BotName, OverLimit)> {
    let programs: Vec<i32> = bots
        .iter()
        .flat_map(|(_, gauges)| gauges.meters.programs())
        .collect();
    let now = Instant::now();
    match families::measure(&programs) {
        Ok(measured) => bots
            .iter()
            .flat_map(|(bot, gauges)| {
                let over = gauges.meters.read(&measured, now);
                over.into_iter().map(|over| (bot.clone(), over))
            })
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "the programs of bots could not be measured");
            Vec::new()
        }
    }
}

impl Actor for Measurer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(self.every(), Self::measure);
    }
}
