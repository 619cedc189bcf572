//! The actors of the endpoints: started when there is work, ended when there is none.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, DisableWebhook, StoreError};
use deia_model::{DisableReason, Timestamp, WebhookId};
use deia_supervision::{
    Backoff, ChildError, ChildSpec, Context, Handle, Intensity, OnExhausted, Restart, Shutdown,
    StartError, SupervisorHandle, TellError, child,
};

use super::{
    super::{
        endpoint::{EndpointActor, LookForWork, MayEnd},
        feed::Feed,
        shared::Running,
    },
    Dispatcher,
};

/// Endpoints with work that are looked up at once. Fixed: bounds one step, so that others
/// get their turn; the whole has no limit here.
const WORK_MAX: u32 = 10_000;
/// Capacity of the mailbox of an endpoint. A message only says that there may be work.
/// Fixed: a message only says that there may be work.
const MAILBOX: usize = 64;
/// Time that an endpoint has to stop. Its work is found again. Fixed: what is interrupted
/// is found again.
const STOPS_WITHIN: Duration = Duration::from_secs(1);
/// Failures of the actor of one endpoint until it stays down. Fixed: a failure of it is a
/// fault of deia, not of the endpoint.
const BUDGET: u32 = 5;
/// Pause before the first restart of such an actor. Fixed: a failure of it is a fault of deia, not of
/// the endpoint.
const RESTART_MIN: Duration = Duration::from_millis(100);
/// Longest pause before a restart. Fixed: as the first.
const RESTART_MAX: Duration = Duration::from_secs(10);
/// Period in which they are counted. Fixed: a failure of it is a fault of deia, not of
/// the endpoint.
const PERIOD: Duration = Duration::from_secs(60);

impl Dispatcher {
    /// Makes the actor of an endpoint look for work; starts it if it does not run.
    pub(super) fn wake(&mut self, id: WebhookId, ctx: &mut Context<Self>) {
        let feed = {
            let mut feeds = self.shared.feeds.lock();
            let Some(entry) = feeds.get_mut(&id) else {
                return;
            };
            if entry.is_ending {
                entry.is_wanted = true;
                return;
            }
            if let Some(actor) = &entry.actor {
                let told = actor.handle.tell(LookForWork);
                let has_given_up = matches!(told, Err(TellError::Down(_) | TellError::Gone(_)));
                // A full mailbox has such a message already. An actor that failed too often
                // gets another chance when its period is over.
                if !has_given_up || actor.since.elapsed() < PERIOD {
                    return;
                }
            }
            entry.feed.clone()
        };
        let (spec, handle) = self.child(id, feed.clone(), ctx.handle());
        if let Some(entry) = self.shared.feeds.lock().get_mut(&id) {
            entry.actor = Some(Running {
                handle,
                since: Instant::now(),
            });
        }
        let endpoints = self.shared.endpoints.clone();
        let starting = async move {
            // An earlier actor that gave up may be there still.
            remove_child(&endpoints, id).await;
            endpoints.start_child(spec).await
        };
        ctx.spawn(starting.into_actor(self).map(move |started, this, ctx| {
            let mut feeds = this.shared.feeds.lock();
            let entry = feeds.get_mut(&id).filter(|it| Arc::ptr_eq(&it.feed, &feed));
            match (started, entry) {
                (Ok(()), Some(_)) => {}
                // It was disabled or deleted while its actor started.
                (Ok(()), None) => {
                    drop(feeds);
                    this.remove(id, ctx);
                }
                // The next look, a second later, starts it.
                (Err(error), entry) => {
                    tracing::debug!(webhook = %id, %error, "a webhook did not start");
                    if let Some(entry) = entry {
                        entry.actor = None;
                    }
                }
            }
        }));
    }

    fn child(
        &self,
        id: WebhookId,
        feed: Arc<Feed>,
        dispatcher: Handle<Self>,
    ) -> (ChildSpec, Handle<EndpointActor>) {
        let shared = self.shared.clone();
        let (spec, actor) = child(id.to_string(), move || {
            let built = EndpointActor::new(id, shared.clone(), feed.clone(), dispatcher.clone());
            async move { Ok::<_, StartError>(built) }
        });
        let spec = spec
            .restart(Restart::Transient)
            .backoff(
                Backoff::new(RESTART_MIN, RESTART_MAX)
                    .factor(2.0)
                    .jitter(0.2),
            )
            .budget(Intensity::new(BUDGET, PERIOD))
            .on_exhausted(OnExhausted::Quarantine)
            .shutdown(Shutdown::Within(STOPS_WITHIN))
            .mailbox(MAILBOX);
        (spec, actor)
    }

    /// Ends the actor of an endpoint if it has nothing to do.
    pub(super) fn rest(&mut self, id: WebhookId, ctx: &mut Context<Self>) {
        let actor = {
            let mut feeds = self.shared.feeds.lock();
            let Some(entry) = feeds.get_mut(&id).filter(|entry| !entry.is_ending) else {
                return;
            };
            let Some(actor) = entry.actor.clone() else {
                return;
            };
            entry.is_ending = true;
            actor
        };
        let endpoints = self.shared.endpoints.clone();
        let ending = async move {
            // From a yes on it begins nothing more.
            let may_end = actor.handle.ask_within(MayEnd, STOPS_WITHIN).await;
            let is_over = may_end.unwrap_or(false);
            if is_over {
                remove_child(&endpoints, id).await;
            }
            is_over
        };
        ctx.spawn(ending.into_actor(self).map(move |is_over, this, ctx| {
            let is_wanted = {
                let mut feeds = this.shared.feeds.lock();
                let Some(entry) = feeds.get_mut(&id) else {
                    return;
                };
                entry.is_ending = false;
                if is_over {
                    entry.actor = None;
                }
                std::mem::take(&mut entry.is_wanted) || entry.feed.is_behind()
            };
            if is_wanted {
                this.wake(id, ctx);
            }
        }));
    }

    /// Forgets an endpoint that was disabled: what it is like after that is read anew.
    pub(super) fn forget(&mut self, id: WebhookId, ctx: &mut Context<Self>) {
        let known = self.shared.feeds.lock().remove(&id);
        self.touched.remove(&id);
        if known.is_some() {
            self.remove(id, ctx);
        }
        self.told.endpoints.store(true, Ordering::Release);
        self.load(ctx);
    }

    /// Removes the actor of an endpoint from the tree.
    pub(super) fn remove(&mut self, id: WebhookId, ctx: &mut Context<Self>) {
        let endpoints = self.shared.endpoints.clone();
        let removing = async move { remove_child(&endpoints, id).await };
        ctx.spawn(removing.into_actor(self));
    }

    /// Wakes endpoints with deliveries that are due, replays, and events that were not taken.
    pub(super) fn wake_those_with_work(&mut self, ctx: &mut Context<Self>) {
        let behind: Vec<WebhookId> = {
            let feeds = self.shared.feeds.lock();
            let active = feeds.values().filter(|entry| entry.actor.is_some()).count();
            let count = &self.shared.metrics.active;
            count.store(active as u64, Ordering::Relaxed);
            let behind = feeds.iter().filter(|(_, entry)| entry.feed.is_behind());
            behind.map(|(id, _)| *id).collect()
        };
        for id in behind {
            self.wake(id, ctx);
        }
        if std::mem::replace(&mut self.is_waking, true) {
            return;
        }
        let ledger = self.shared.ledger.clone();
        let reading = async move { ledger.webhooks_with_work(Timestamp::now(), WORK_MAX).await };
        ctx.spawn(reading.into_actor(self).map(|found, this, ctx| {
            this.is_waking = false;
            match found {
                Ok(found) => found.into_iter().for_each(|id| this.wake(id, ctx)),
                Err(error) => this.failed(&error),
            }
        }));
    }

    /// Disables endpoints that are too far behind the log.
    pub(super) fn disable_laggards(&mut self, ctx: &mut Context<Self>) {
        let max = self.shared.settings.get().webhooks.max_lag;
        let now = Timestamp::now();
        let is_late = |feed: &Feed| {
            let since = feed.pending_since();
            since.is_some_and(|since| u128::from(now.millis_since(since)) > max.as_millis())
        };
        let late: Vec<WebhookId> = {
            let feeds = self.shared.feeds.lock();
            let late = feeds.iter().filter(|(_, entry)| is_late(&entry.feed));
            late.map(|(id, _)| *id).collect()
        };
        if late.is_empty() || std::mem::replace(&mut self.is_disabling, true) {
            return;
        }
        let ledger = self.shared.ledger.clone();
        let disabling = async move {
            let mut outcomes = Vec::new();
            for id in late {
                let command = DisableWebhook {
                    id,
                    reason: DisableReason::TooFarBehind,
                    detail: "the oldest event that it was not sent is older than webhooks.max_lag"
                        .into(),
                    actor: "deia".into(),
                };
                outcomes.push((id, ledger.apply(command).await));
            }
            outcomes
        };
        ctx.spawn(disabling.into_actor(self).map(|outcomes, this, ctx| {
            this.is_disabling = false;
            for (id, outcome) in outcomes {
                match outcome {
                    Ok(_) | Err(StoreError::Refused(_)) => this.forget(id, ctx),
                    Err(error) => this.failed(&error),
                }
            }
        }));
    }
}

/// Removes an endpoint's actor from the tree, if it is there.
async fn remove_child(endpoints: &SupervisorHandle, id: WebhookId) {
    let name = id.to_string();
    for ended in [
        endpoints.terminate_child(&name).await,
        endpoints.delete_child(&name).await,
    ] {
        if let Err(error) = ended
            && !matches!(error, ChildError::NotFound)
        {
            tracing::debug!(webhook = %id, %error, "a webhook was not removed from the tree");
        }
    }
}
