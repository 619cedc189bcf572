//! The actor of one endpoint: it delivers, retries and replays, and records what came of it.
//!
//! It lives while there is work for its endpoint. Losing it loses nothing: events that it had
//! taken are read from the log again, and deliveries that wait are in the store.

mod job;
mod pause;
pub(super) mod prepare;
mod record;
mod tracker;
mod verdict;
mod work;

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Handler, Message as ActixMessage, SpawnHandle, WrapFuture,
};
use deia_ledger::{Apply, DisableWebhook, StoreError};
use deia_model::{Action, DisableReason, MessageId, TargetType, Timestamp, Visibility, WebhookId};
use deia_supervision::{Context, Handle};
use governor::clock::{Clock, DefaultClock};
use tokio::sync::OwnedSemaphorePermit;

use self::{
    job::{Ended, Job},
    pause::{Gate, Pause, PauseLimits},
    prepare::Ready,
    record::Records,
    tracker::Tracker,
    work::Work,
};
use super::{
    dispatcher::{Dispatcher, EndpointIdle, EndpointOver},
    feed::Feed,
    sender::Message,
    shared::Shared,
};
use crate::config::WebhookSettings;

/// Pause after all places of deliveries were taken. Fixed: a fault is not tried in a
/// loop, and its end is noticed soon.
const PERMIT_AFTER: Duration = Duration::from_millis(10);
/// Pause until the dispatcher has read a change of the endpoint. Fixed: a fault is not
/// tried in a loop, and its end is noticed soon.
const CHANGE_AFTER: Duration = Duration::from_millis(20);
/// Pause after a failure of the store. Fixed: a fault is not tried in a loop, and its end
/// is noticed soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Message that there may be work: events, deliveries that are due, a replay, new settings.
#[derive(ActixMessage)]
#[rtype(result = "()")]
pub(super) struct LookForWork;

/// Asks an actor if it has nothing to do. If so, it begins nothing any more.
#[derive(ActixMessage)]
#[rtype(result = "bool")]
pub(super) struct MayEnd;

/// Delivers to one endpoint.
pub(super) struct EndpointActor {
    id: WebhookId,
    shared: Shared,
    feed: Arc<Feed>,
    dispatcher: Handle<Dispatcher>,
    ready: Option<Arc<Ready>>,
    work: Work,
    in_flight: HashSet<MessageId>,
    pause: Pause,
    /// Deliveries that succeeded since the last that failed, or since the start of the actor.
    successes: usize,
    records: Records,
    /// True while a read is under way.
    is_reading: bool,
    /// Timer that will look for work, and its time.
    timer: Option<(Instant, SpawnHandle)>,
    /// True once the endpoint is being disabled.
    is_over: bool,
    limiter: Option<(u32, governor::DefaultDirectRateLimiter)>,
}

impl EndpointActor {
    pub(super) fn new(
        id: WebhookId,
        shared: Shared,
        feed: Arc<Feed>,
        dispatcher: Handle<Dispatcher>,
    ) -> Self {
        let after = feed.rewind();
        let known_to = feed
            .matched_to()
            .max(shared.known_to.load(Ordering::Acquire));
        Self {
            id,
            shared,
            feed,
            dispatcher,
            ready: None,
            work: Work::new(Tracker::new(after), known_to),
            in_flight: HashSet::new(),
            pause: Pause::default(),
            successes: 0,
            records: Records::default(),
            is_reading: false,
            timer: None,
            is_over: false,
            limiter: None,
        }
    }

    /// Begins as many deliveries as may begin.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while !self.is_over {
            let config = self.shared.settings.get();
            let now = Timestamp::now();
            if self.is_outdated() {
                return self.look_later(CHANGE_AFTER, ctx);
            }
            if self.shared.rights.is_stale() || !self.is_ready(now) {
                return self.prepare(ctx);
            }
            let endpoint = self.feed.endpoint.load_full();
            let asked = endpoint.stored.webhook.spec.concurrency;
            let limit = match self.records.health().failures_in_a_row {
                // More at once with each that succeeds: an endpoint that never answers takes
                // one of the places that all share.
                0 => (asked.unwrap_or(config.webhooks.concurrency) as usize)
                    .min(self.successes.saturating_add(1)),
                _ => 1,
            };
            if self.in_flight.len() >= limit || self.records.is_full() {
                return;
            }
            match self.pause.gate(now, pause_limits(&config.webhooks)) {
                Gate::Open => {}
                Gate::Probe if self.in_flight.is_empty() => {}
                Gate::Probe => return,
                Gate::ClosedUntil(until) => {
                    return self.look_later(Duration::from_millis(until.millis_since(now)), ctx);
                }
            }
            let Some(visibility) = self.shared.rights.visibility(&endpoint.stored.owner) else {
                let why = "its owner may have no webhooks any more";
                return self.disable(DisableReason::OwnerLostRights, why.into(), ctx);
            };
            if !self.has_work(ctx) {
                return;
            }
            let Some(permit) = self.shared.sender.permit() else {
                return self.look_later(PERMIT_AFTER, ctx);
            };
            if let Err(wait) = self.pass_rate(endpoint.stored.webhook.spec.rate_per_second) {
                return self.look_later(wait, ctx);
            }
            if let Some(job) = self.work.take(&self.feed, &self.in_flight) {
                match may_see(&visibility, &job) {
                    true => self.begin(job, permit, &endpoint.stored.webhook.spec.url, ctx),
                    false => {
                        self.records.drop_unseen(&mut self.work, &job, now);
                        self.flush_soon(ctx);
                    }
                }
            }
        }
    }

    /// Returns whether a change of the endpoint was committed that the dispatcher has not read.
    fn is_outdated(&self) -> bool {
        let known = self.feed.endpoint.load().stored.webhook.version;
        let expected = self.shared.expected.get(&self.id);
        expected.is_some_and(|expected| *expected > known)
    }

    /// Counts a delivery towards the endpoint's limit.
    ///
    /// # Errors
    /// The limit is reached; the time until another one may begin.
    fn pass_rate(&mut self, limit: Option<u32>) -> Result<(), Duration> {
        let Some(limit) = limit.and_then(std::num::NonZero::new) else {
            self.limiter = None;
            return Ok(());
        };
        if self
            .limiter
            .as_ref()
            .is_none_or(|(of, _)| *of != limit.get())
        {
            // The burst is a tenth of a second, so that the rate holds within each second.
            let burst =
                std::num::NonZero::new(limit.get() / 10).unwrap_or(std::num::NonZero::<u32>::MIN);
            let quota = governor::Quota::per_second(limit).allow_burst(burst);
            self.limiter = Some((limit.get(), governor::RateLimiter::direct(quota)));
        }
        let Some((_, limiter)) = &self.limiter else {
            return Ok(());
        };
        limiter
            .check()
            .map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }

    /// Returns whether there is a delivery to begin; if not, looks for some.
    fn has_work(&mut self, ctx: &mut Context<Self>) -> bool {
        let found = self.work.has_job(&self.feed);
        if !found && !self.is_reading {
            match self.work.next_read(&self.feed) {
                Some(read) => self.read(read, ctx),
                None => self.offer_to_end(),
            }
        }
        found
    }

    /// Tells the dispatcher that there is nothing to do, once everything is recorded.
    fn offer_to_end(&self) {
        if self.in_flight.is_empty() && self.records.is_empty() {
            // The dispatcher looks for idle actors itself from time to time.
            let _ = self.dispatcher.tell(EndpointIdle(self.id));
        }
    }

    fn begin(
        &mut self,
        job: Job,
        permit: OwnedSemaphorePermit,
        url: &str,
        ctx: &mut Context<Self>,
    ) {
        let Some(ready) = self.ready.clone() else {
            return;
        };
        self.in_flight.insert(job.message);
        let (sender, url) = (self.shared.sender.clone(), url.to_owned());
        let sending = async move {
            let at = Timestamp::now();
            let message = Message {
                url: &url,
                id: job.message,
                body: job.body.clone(),
                keys: &ready.keys,
                headers: &ready.headers,
            };
            let exchange = sender.send(message).await;
            drop(permit);
            Ended { job, at, exchange }
        };
        ctx.spawn(
            sending
                .into_actor(self)
                .map(|ended, this, ctx| this.ended(ended, ctx)),
        );
    }

    fn ended(&mut self, ended: Ended, ctx: &mut Context<Self>) {
        self.in_flight.remove(&ended.job.message);
        let config = self.shared.settings.get();
        let now = Timestamp::now();
        let verdict = ended.verdict(&config.webhooks, now);
        let succeeded = verdict.state == deia_model::DeliveryState::Delivered;
        self.shared.metrics.note_attempt(succeeded);
        self.successes = match succeeded {
            true => self.successes.saturating_add(1),
            false => 0,
        };
        self.pause
            .note(succeeded, ended.at, now, pause_limits(&config.webhooks));
        self.records.note(&mut self.work, ended, verdict, now);
        self.flush_soon(ctx);
        let failing_since = self.records.health().failing_since;
        let failed_for = failing_since.map_or(0, |since| now.millis_since(since));
        if verdict.is_gone {
            let why = "it answered 410 Gone: it wants no more events".to_owned();
            return self.disable_after_records(DisableReason::Gone, why, ctx);
        }
        if u128::from(failed_for) >= config.webhooks.disable_after.as_millis() && !succeeded {
            let since = failing_since
                .map(|since| since.to_string())
                .unwrap_or_default();
            let why = format!("all deliveries failed since {since}");
            return self.disable_after_records(DisableReason::Failing, why, ctx);
        }
        self.pump(ctx);
    }

    /// Records what has ended, then disables the endpoint.
    fn disable_after_records(
        &mut self,
        reason: DisableReason,
        why: String,
        ctx: &mut Context<Self>,
    ) {
        self.is_over = true;
        self.records.then_disable(reason, why);
        self.flush(ctx);
    }

    fn disable(&mut self, reason: DisableReason, detail: String, ctx: &mut Context<Self>) {
        self.is_over = true;
        tracing::warn!(webhook = %self.id, reason = reason.as_str(), detail, "disabling a webhook");
        let command = DisableWebhook {
            id: self.id,
            reason,
            detail,
            actor: "deia".into(),
        };
        let ledger = self.shared.ledger.clone();
        let disabling = async move { ledger.apply(command).await };
        ctx.spawn(disabling.into_actor(self).map(|disabled, this, ctx| match disabled {
            Ok(_) | Err(StoreError::Refused(_)) => {
                // The dispatcher looks for what it was not told.
                drop(this.dispatcher.tell(EndpointOver(this.id)));
            }
            Err(error) => {
                tracing::warn!(webhook = %this.id, %error, "a webhook cannot be disabled; retrying");
                this.is_over = false;
                this.look_later(RETRY_AFTER, ctx);
            }
        }));
    }

    /// Looks for work after that time.
    fn look_later(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        let at = Instant::now() + wait;
        match self.timer {
            Some((earlier, _)) if earlier <= at => return,
            Some((_, later)) => drop(ctx.cancel_future(later)),
            None => {}
        }
        let timer = ctx.run_later(wait, |this, ctx| {
            this.timer = None;
            this.pump(ctx);
        });
        self.timer = Some((at, timer));
    }
}

/// Returns whether the owner of the endpoint may still see the event of a job. Events that come
/// from the log were matched with the filter, deliveries that waited were matched long ago.
fn may_see(visibility: &Visibility, job: &Job) -> bool {
    match visibility {
        Visibility::All => true,
        Visibility::SubmittedBy(user) => {
            let target = Action::parse(&job.action).map(Action::target_type);
            target == Some(TargetType::Task) && job.owner.as_deref() == Some(user)
        }
        Visibility::AssignedTo(_) | Visibility::Nothing => false,
    }
}

fn pause_limits(settings: &WebhookSettings) -> PauseLimits {
    PauseLimits {
        after_failures: settings.pause_after_failures,
        min: settings.pause_min,
        max: settings.pause_max,
    }
}

impl Actor for EndpointActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.pump(ctx);
    }
}

impl Handler<MayEnd> for EndpointActor {
    type Result = bool;

    fn handle(&mut self, _: MayEnd, _: &mut Self::Context) -> bool {
        let is_idle = self.in_flight.is_empty()
            && self.records.is_empty()
            && !self.is_reading
            && !self.work.has_job(&self.feed)
            && self.work.next_read(&self.feed).is_none();
        self.is_over |= is_idle;
        is_idle
    }
}

impl Handler<LookForWork> for EndpointActor {
    type Result = ();

    fn handle(&mut self, _: LookForWork, ctx: &mut Self::Context) {
        self.work.look_again();
        self.pump(ctx);
    }
}
