//! Attempts whose leases outlive the bot's actor: taking them over, and extending their leases.

use std::{sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, ExtendLeases, HeldAttempt, HeldLease};
use deia_model::Timestamp;
use deia_supervision::Context;
use tokio::sync::watch;

use super::{AttemptKey, Begun, BotActor};
use crate::bots::attempt::StopCause;

/// Delay before a read of the attempts to take over that failed is repeated. Fixed: a
/// fault is not tried in a loop, and its end is noticed soon.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl BotActor {
    /// Takes over the attempts that an earlier incarnation or start of the hive left running. The
    /// bot offers nothing before.
    pub(super) fn take_over(&mut self, ctx: &mut Context<Self>) {
        if !self.executor.adopts() {
            return;
        }
        let (ledger, name) = (self.ledger.clone(), self.name.clone());
        let reading = async move { ledger.held_attempts(name).await };
        ctx.spawn(
            reading
                .into_actor(self)
                .map(|read, this, ctx| match read {
                    Ok(held) => {
                        for held in held {
                            this.adopt(&held, ctx);
                        }
                        this.has_taken_over = true;
                        this.gauges
                            .set_running(this.incarnation, this.attempts.len());
                        this.report_capacity(ctx);
                    }
                    Err(error) => {
                        tracing::warn!(bot = %this.name, %error, "the attempts that the bot has left running cannot be read; retrying");
                        ctx.run_later(READ_AGAIN_AFTER, Self::take_over);
                    }
                }),
        );
    }

    fn adopt(&mut self, held: &HeldAttempt, ctx: &mut Context<Self>) {
        let key = AttemptKey::of_lease(&held.lease);
        if self.attempts.contains_key(&key) {
            return;
        }
        let (stop, stopping) = watch::channel(None);
        let Some(execution) = self.executor.adopt(held, stopping) else {
            return;
        };
        self.received += 1;
        if let Some(words) = &held.cancelled {
            stop.send_replace(Some(StopCause::Cancelled(Arc::from(words.as_str()))));
        }
        let ran_for = Timestamp::now().millis_since(held.started_at);
        let limit = held.timeout_seconds.saturating_mul(1_000);
        let begun = Begun {
            key,
            lease: held.lease.lease,
            stop,
            span: None,
            after_seconds: held.timeout_seconds,
            left: Duration::from_millis(limit.saturating_sub(ran_for)),
            idle_limit: None,
        };
        self.follow(begun, execution, ctx);
    }

    /// Lets the executor look after its attempts, and extends the leases that it names.
    pub(super) fn look_after_leases(&mut self, ctx: &mut Context<Self>) {
        let leases = self.executor.beat();
        let Some(expires_after) = self.executor.lease().filter(|_| !leases.is_empty()) else {
            return;
        };
        let ledger = self.ledger.clone();
        let command = ExtendLeases {
            leases: leases.clone(),
            expires_after,
        };
        let extending = async move { ledger.apply_deferred(command).await };
        ctx.spawn(
            extending
                .into_actor(self)
                .map(move |extended, this, _| match extended {
                    Ok(in_force) => this.drop_lost_leases(&leases, &in_force),
                    // They last for several times the interval in which they are extended.
                    Err(error) => {
                        tracing::warn!(bot = %this.name, %error, "leases could not be extended; the next ones are");
                    }
                }),
        );
    }

    fn drop_lost_leases(&mut self, leases: &[HeldLease], in_force: &[bool]) {
        for (lease, in_force) in leases.iter().zip(in_force) {
            if !in_force {
                self.executor.lease_lost(lease);
            }
        }
    }
}
