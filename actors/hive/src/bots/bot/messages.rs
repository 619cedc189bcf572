//! The messages to a bot.

use std::{sync::Arc, time::Instant};

use actix::{ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_model::AttemptEnd;
use tokio::sync::oneshot;

use super::{
    super::attempt::{ExecutionResult, StopCause},
    AttemptKey, BotActor, reports,
};
use crate::dispatch::Dispatch;

/// Ends an attempt whose task was cancelled.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct CancelAttempt {
    pub(in super::super) key: AttemptKey,
    /// Reason recorded with the task, such as `cancelled by ada`.
    pub(in super::super) words: Arc<str>,
}

/// Ends an attempt for that cause. Does nothing if it has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct EndAttempt {
    pub(in super::super) key: AttemptKey,
    pub(in super::super) cause: StopCause,
}

/// Makes the bot take nothing new (its gauges says so, too) and reply when its running attempts have
/// ended. Sent repeatedly; only the last sender is answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct Drain(pub(in super::super) oneshot::Sender<()>);

/// Ends every attempt and gives the tasks back; replies when that is recorded.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct StopAll(pub(in super::super) oneshot::Sender<()>);

impl Handler<Dispatch> for BotActor {
    type Result = ();

    fn handle(&mut self, dispatch: Dispatch, ctx: &mut Self::Context) {
        let mut tasks = dispatch.tasks;
        if dispatch.incarnation != self.incarnation {
            // Most were given back already: their reports are stale.
            self.send_back(&tasks, ctx);
            return;
        }
        self.received += tasks.len() as u64;
        let room = match self.takes_none() {
            true => 0,
            false => self.slots_left(),
        };
        let too_many = tasks.split_off(tasks.len().min(room));
        if !too_many.is_empty() {
            // Otherwise they would come back at once: nothing more until the next heartbeat.
            self.withdraw();
            self.send_back(&too_many, ctx);
            self.free_slots(too_many.len());
        }
        let isolates = self.executor.is_pulled();
        let (suspects, others): (Vec<_>, Vec<_>) = tasks
            .into_iter()
            .partition(|claimed| !isolates && claimed.task.toll().runs_alone());
        for claimed in others {
            self.begin(claimed, ctx);
        }
        if !suspects.is_empty() {
            self.withdraw();
            self.alone.extend(suspects);
            self.begin_next_suspect(ctx);
            self.report_capacity(ctx);
        }
        self.send_reports(ctx);
    }
}

impl Handler<CancelAttempt> for BotActor {
    type Result = ();

    fn handle(&mut self, cancel: CancelAttempt, ctx: &mut Self::Context) {
        let CancelAttempt { key, words } = cancel;
        if self.attempts.contains_key(&key) {
            self.stop_attempt(key, StopCause::Cancelled(words));
        } else if let Some(at) = self.alone.iter().position(|it| AttemptKey::of(it) == key) {
            if let Some(claimed) = self.alone.remove(at) {
                let result = ExecutionResult::bare(AttemptEnd::Cancelled, 0);
                self.reports
                    .push(reports::report(key, claimed.lease, None, result));
            }
            self.send_reports(ctx);
        } else {
            self.cancelled.insert(key, (Instant::now(), words));
        }
    }
}

impl Handler<EndAttempt> for BotActor {
    type Result = ();

    fn handle(&mut self, EndAttempt { key, cause }: EndAttempt, _: &mut Self::Context) {
        self.stop_attempt(key, cause);
    }
}

impl Handler<Drain> for BotActor {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, ctx: &mut Self::Context) {
        self.withdraw();
        self.drained = Some(done);
        self.send_reports(ctx);
    }
}

impl Handler<StopAll> for BotActor {
    type Result = ();

    fn handle(&mut self, StopAll(done): StopAll, ctx: &mut Self::Context) {
        self.withdraw();
        self.stopped = Some(done);
        self.return_suspects();
        if let Some(stopping) = self.executor.stop() {
            self.executor_stops = true;
            ctx.spawn(stopping.into_actor(self).map(|(), this, ctx| {
                this.executor_stops = false;
                this.send_reports(ctx);
            }));
        }
        for attempt in self.attempts.values() {
            attempt.stop(StopCause::BotStopping);
        }
        self.send_reports(ctx);
    }
}
