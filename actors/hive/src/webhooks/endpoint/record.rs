//! Records of attempts, gathered and written together.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{
    Apply, AttemptRecord, RecordDeliveries, Rejection, ReplayProgress, StoreError, WebhookHealth,
};
use deia_model::{DeliveryState, DisableReason, MessageId, Timestamp, Webhook};
use deia_supervision::Context;

use super::{
    super::sender::text_of,
    EndpointActor, RETRY_AFTER,
    job::{Ended, Job, Source},
    verdict::Verdict,
    work::Work,
};

/// Time for which records are gathered: each write costs a part of a commit. Fixed: each
/// write costs a part of a commit, and nobody sees this delay.
const GATHER: Duration = Duration::from_millis(200);
/// Records that are written at once. Fixed: bounds one step, so that others get their
/// turn; the whole has no limit here.
const WRITE_AT: usize = 256;
/// Records that may wait for the store; beyond, no delivery begins. Fixed: bounds the
/// memory while the store is slow.
const RECORDS_MAX: usize = 1_024;
/// Bytes that these may have. Fixed: bounds the memory while the store is slow.
const BYTES_MAX: usize = 4 << 20;

/// An attempt that waits for the store.
struct Noted {
    record: AttemptRecord,
    /// True if the delivery has no row that waits, so that a success needs no record.
    is_first: bool,
}

/// Records that wait for the store.
#[derive(Default)]
pub(super) struct Records {
    attempts: Vec<Noted>,
    /// Deliveries that are finished once the attempts are recorded.
    finished: Vec<(Source, u64)>,
    health: WebhookHealth,
    is_changed: bool,
    /// Time since which events were deleted before they were read.
    missed_from: Option<Timestamp>,
    is_writing: bool,
    /// Number of writes that have ended.
    writes: u64,
    has_timer: bool,
    then_disable: Option<(DisableReason, String)>,
}

impl Records {
    /// Continues from the stored health of the endpoint.
    pub(super) fn begin_with(&mut self, webhook: &Webhook) {
        self.health = WebhookHealth {
            failures_in_a_row: webhook.failures_in_a_row,
            failing_since: webhook.failing_since,
            last_success_at: webhook.last_success_at,
            last_failure_at: webhook.last_failure_at,
            last_error: webhook.last_error.clone(),
        };
    }

    /// Returns the number of writes that have ended.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn health(&self) -> &WebhookHealth {
        &self.health
    }

    /// Returns the number of records that wait.
    fn waiting(&self) -> usize {
        self.attempts.len()
    }

    /// Returns whether as many records wait as may.
    pub(super) fn is_full(&self) -> bool {
        let bytes = |it: &Noted| it.record.body.len() + it.record.response.len();
        self.attempts.len() >= RECORDS_MAX
            || self.attempts.iter().map(bytes).sum::<usize>() >= BYTES_MAX
    }

    /// Returns whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_changed && !self.is_writing
    }

    /// Returns whether an attempt at that message may wait to be written, or be under way to
    /// the store.
    pub(super) fn may_have(&self, message: MessageId) -> bool {
        self.is_writing || self.attempts.iter().any(|it| it.record.message == message)
    }

    /// Notes that events since that time were deleted before they were read.
    pub(super) fn note_missed(&mut self, from: Timestamp) {
        self.missed_from.get_or_insert(from);
        self.is_changed = true;
    }

    /// Disables the endpoint when the records are written.
    pub(super) fn then_disable(&mut self, reason: DisableReason, why: String) {
        self.then_disable = Some((reason, why));
        self.is_changed = true;
    }

    /// Notes an attempt that has ended.
    pub(super) fn note(&mut self, work: &mut Work, ended: Ended, verdict: Verdict, now: Timestamp) {
        let Ended { job, at, exchange } = ended;
        let succeeded = verdict.state == DeliveryState::Delivered;
        let duration_ms = u64::try_from(exchange.duration.as_millis()).unwrap_or(u64::MAX);
        let (status, error, body, truncated) = match exchange.outcome {
            Ok(answered) => {
                let error =
                    (!succeeded).then(|| format!("the endpoint answered {}", answered.status));
                (
                    Some(answered.status),
                    error,
                    answered.body,
                    answered.truncated,
                )
            }
            Err(error) => (None, Some(error.to_string()), bytes::Bytes::new(), false),
        };
        self.note_health(succeeded, error.as_deref(), now);
        if job.source == Source::Replay
            && let Some(replay) = &mut work.replay
        {
            replay.delivered += u64::from(succeeded);
            replay.failed += u64::from(!succeeded);
        }
        let (response, is_cut) = text_of(&body);
        self.finished.push((job.source, job.at_event.seq));
        let is_first = job.source == Source::Event && !job.may_wait;
        let record = AttemptRecord {
            message: job.message,
            at_event: job.at_event,
            action: job.action,
            owner: job.owner,
            body: String::from_utf8_lossy(&job.body).into_owned(),
            state: verdict.state,
            next_at: verdict.next_at,
            at,
            duration_ms,
            status,
            error,
            response,
            response_truncated: truncated || is_cut,
        };
        self.attempts.push(Noted { record, is_first });
        self.is_changed = true;
    }

    fn note_health(&mut self, succeeded: bool, error: Option<&str>, now: Timestamp) {
        let health = &mut self.health;
        if succeeded {
            health.failures_in_a_row = 0;
            health.failing_since = None;
            health.last_success_at = Some(now);
            return;
        }
        health.failures_in_a_row = health.failures_in_a_row.saturating_add(1);
        health.failing_since.get_or_insert(now);
        health.last_failure_at = Some(now);
        health.last_error = error.map(String::from);
    }

    /// Ends a delivery whose event the owner may no longer see.
    pub(super) fn drop_unseen(&mut self, work: &mut Work, job: &Job, now: Timestamp) {
        self.finished.push((job.source, job.at_event.seq));
        self.is_changed = true;
        if job.source != Source::Retry {
            return work.finish(job.source, job.at_event.seq);
        }
        let record = AttemptRecord {
            message: job.message,
            at_event: job.at_event,
            action: job.action.clone(),
            owner: job.owner.clone(),
            body: String::new(),
            state: DeliveryState::Failed,
            next_at: None,
            at: now,
            duration_ms: 0,
            status: None,
            error: Some(
                "not sent: the owner of the webhook may not see this event any more".into(),
            ),
            response: String::new(),
            response_truncated: false,
        };
        self.attempts.push(Noted {
            record,
            is_first: false,
        });
    }

    /// Takes the attempts to be written: of first attempts that succeeded no more than the
    /// history keeps, and all others.
    fn take(&mut self, history: usize) -> Vec<AttemptRecord> {
        let attempts = std::mem::take(&mut self.attempts);
        let mut to_spare = attempts.len().saturating_sub(history);
        let kept = attempts.into_iter().filter(|noted| {
            let is_delivered = noted.record.state == DeliveryState::Delivered;
            let is_spared = to_spare > 0 && is_delivered && noted.is_first;
            to_spare -= usize::from(is_spared);
            !is_spared
        });
        kept.map(|noted| noted.record).collect()
    }
}

impl EndpointActor {
    /// Writes the records soon, with those that come until then.
    pub(super) fn flush_soon(&mut self, ctx: &mut Context<Self>) {
        if self.records.waiting() >= WRITE_AT && !self.records.is_writing {
            return self.flush(ctx);
        }
        self.flush_after(GATHER, ctx);
    }

    fn flush_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.records.has_timer, true) {
            return;
        }
        ctx.run_later(wait, |this, ctx| {
            this.records.has_timer = false;
            this.flush(ctx);
        });
    }

    /// Writes the records now, unless a write is under way.
    pub(super) fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.records.is_writing {
            return self.flush_after(GATHER, ctx);
        }
        let settings = self.shared.settings.get();
        let history = settings.webhooks.history;
        let attempts = self.records.take(history as usize);
        let finished = std::mem::take(&mut self.records.finished);
        let replay = self.replay_progress(&finished);
        let command = RecordDeliveries {
            webhook: self.id,
            attempts,
            health: self.records.health.clone(),
            replay,
            missed_from: self.records.missed_from.take(),
            history,
        };
        self.records.is_changed = false;
        self.records.is_writing = true;
        let (ledger, again) = (self.shared.ledger.clone(), command.clone());
        let writing = async move { ledger.apply(command).await };
        ctx.spawn(writing.into_actor(self).map(move |written, this, ctx| {
            this.records.is_writing = false;
            this.records.writes += 1;
            match written {
                Ok(waiting) => this.recorded(&finished, waiting, ctx),
                Err(StoreError::Refused(Rejection::NoSuchWebhook(_))) => this.is_over = true,
                Err(error) => this.not_recorded(again, finished, &error, ctx),
            }
        }));
    }

    /// Returns the progress of the replay once those deliveries are finished.
    fn replay_progress(&mut self, finished: &[(Source, u64)]) -> Option<ReplayProgress> {
        let replay = self.work.replay.as_mut().filter(|it| !it.is_recorded)?;
        for (source, seq) in finished {
            if *source == Source::Replay {
                replay.tracker.finish(*seq);
            }
        }
        let is_done = replay.is_done();
        replay.is_recorded = is_done;
        Some(ReplayProgress {
            id: replay.id,
            cursor: replay.tracker.finished_to().0,
            delivered: std::mem::take(&mut replay.delivered),
            failed: std::mem::take(&mut replay.failed),
            is_done,
        })
    }

    fn recorded(&mut self, finished: &[(Source, u64)], waiting: u64, ctx: &mut Context<Self>) {
        for (source, seq) in finished {
            self.work.finish(*source, *seq);
        }
        self.acknowledge();
        if finished.iter().any(|(source, _)| *source == Source::Retry) {
            // There may be more of them than one read has brought.
            self.work.look_again();
        }
        if self.records.then_disable.is_some() {
            if !self.records.attempts.is_empty() {
                return self.flush(ctx);
            }
            if let Some((reason, why)) = self.records.then_disable.take() {
                return self.disable(reason, why, ctx);
            }
        }
        let max = self.shared.settings.get().webhooks.max_waiting;
        if waiting > u64::from(max) {
            let why = format!("{waiting} deliveries wait for a retry (webhooks.max_waiting)");
            return self.disable(DisableReason::TooManyWaiting, why, ctx);
        }
        self.pump(ctx);
    }

    /// Puts the records back, and retries.
    fn not_recorded(
        &mut self,
        command: RecordDeliveries,
        finished: Vec<(Source, u64)>,
        error: &StoreError,
        ctx: &mut Context<Self>,
    ) {
        tracing::warn!(webhook = %self.id, %error, "deliveries of a webhook cannot be recorded; retrying");
        let records = &mut self.records;
        let again = command.attempts.into_iter().map(|record| Noted {
            record,
            is_first: false,
        });
        records.attempts.splice(0..0, again);
        records.finished.splice(0..0, finished);
        records.is_changed = true;
        records.missed_from = records.missed_from.or(command.missed_from);
        if let (Some(replay), Some(progress)) = (&mut self.work.replay, command.replay) {
            replay.delivered += progress.delivered;
            replay.failed += progress.failed;
            replay.is_recorded = false;
        }
        self.flush_after(RETRY_AFTER, ctx);
    }
}
