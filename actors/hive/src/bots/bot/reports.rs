//! Results of attempts on their way to the store.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{
    Apply, AttemptReport, ClaimedTask, FinishAttempts, ReportAck, StoreError, failpoint,
};
use deia_model::{AttemptEnd, LeaseToken};
use deia_supervision::Context;

use super::{AttemptKey, BotActor};
use crate::bots::{attempt::ExecutionResult, attempt_span::AttemptSpan};

/// Delay before a report that the store refused is sent again. Fixed: a fault is not
/// tried in a loop, and its end is noticed soon.
const REPORT_AGAIN_AFTER: Duration = Duration::from_millis(200);

impl BotActor {
    /// Leaves the unrecorded reports, and those of the attempts that end with the bot, to the gauges
    /// and starts recording them. If the bot ends first, its next incarnation records them.
    pub(super) fn leave_reports(&mut self) {
        let reports = self.last_reports();
        if reports.is_empty() {
            return;
        }
        self.gauges.left.add(reports);
        self.clerk.record(&self.gauges);
    }

    fn last_reports(&mut self) -> Vec<AttemptReport> {
        // Some of the reports in flight may have been recorded: a second report is stale and
        // changes nothing.
        let mut reports = std::mem::take(&mut self.sending);
        self.return_suspects();
        reports.append(&mut self.reports);
        // Their leases go on; the next incarnation takes them over.
        let executor = &self.executor;
        self.attempts.retain(|key, _| !executor.outlives(*key));
        let running = self.attempts.len();
        let ended_with_the_bot = self.attempts.drain().map(|(key, attempt)| {
            let end = self.downfall.end_of(key, running);
            let error = match end {
                AttemptEnd::BotDied | AttemptEnd::Suspected => {
                    format!("bot {} went down while working on it", self.name)
                }
                _ => format!("bot {} was stopped", self.name),
            };
            let result = ExecutionResult {
                error: Some(error),
                ..ExecutionResult::bare(end, attempt.ran_for_ms())
            };
            report(key, attempt.lease, attempt.span, result)
        });
        let ended_with_the_bot: Vec<_> = ended_with_the_bot.collect();
        self.judge_death(&ended_with_the_bot);
        reports.extend(ended_with_the_bot);
        reports
    }

    /// Gives back tasks that this incarnation of the bot cannot take.
    pub(super) fn send_back(&mut self, tasks: &[ClaimedTask], ctx: &mut Context<Self>) {
        if !tasks.is_empty() {
            let back = |claimed: &ClaimedTask| {
                AttemptReport::given_back(claimed, "its bot could not take it")
            };
            self.return_reports(tasks.iter().map(back).collect(), ctx);
        }
    }

    fn return_reports(&mut self, reports: Vec<AttemptReport>, ctx: &mut Context<Self>) {
        let ledger = self.ledger.clone();
        let sending = async move {
            (
                ledger.apply_deferred(FinishAttempts(reports.clone())).await,
                reports,
            )
        };
        ctx.spawn(
            sending
                .into_actor(self)
                .map(|(outcome, reports), this, ctx| {
                    if outcome.is_err() {
                        ctx.run_later(REPORT_AGAIN_AFTER, |this, ctx| {
                            this.return_reports(reports, ctx)
                        });
                    } else {
                        this.send_reports(ctx);
                    }
                }),
        );
    }

    /// Sends all pending reports in one command.
    pub(super) fn send_reports(&mut self, ctx: &mut Context<Self>) {
        self.gauges.set_running(self.incarnation, self.in_hand());
        if self.sending.is_empty() && !self.reports.is_empty() {
            self.sending = std::mem::take(&mut self.reports);
            self.send(ctx);
        } else if self.in_hand() == 0 {
            if !self.executor_stops {
                self.stopped.take().map(|stopped| stopped.send(()));
            }
            self.drained.take().map(|drained| drained.send(()));
        }
    }

    fn send(&mut self, ctx: &mut Context<Self>) {
        failpoint::hit("before_report");
        let (ledger, reports) = (self.ledger.clone(), self.sending.clone());
        let command = FinishAttempts(reports);
        let sending = async move { ledger.apply_deferred(command).await };
        ctx.spawn(
            sending
                .into_actor(self)
                .map(|outcome, this, ctx| this.sent(outcome, ctx)),
        );
    }

    fn sent(&mut self, outcome: Result<Vec<ReportAck>, StoreError>, ctx: &mut Context<Self>) {
        match outcome {
            Ok(_) => {
                let sent = std::mem::take(&mut self.sending);
                self.free_slots(sent.len());
                self.send_reports(ctx);
            }
            Err(error) => {
                // Their slots stay taken, so the number of waiting reports is bounded.
                tracing::warn!(
                    bot = %self.name,
                    %error,
                    retry_in_ms = u64::try_from(REPORT_AGAIN_AFTER.as_millis()).unwrap_or(u64::MAX),
                    "results could not be recorded; retrying"
                );
                ctx.run_later(REPORT_AGAIN_AFTER, Self::send);
            }
        }
    }
}

/// Builds the report of an ended attempt.
pub(super) fn report(
    key: AttemptKey,
    lease: LeaseToken,
    span: Option<AttemptSpan>,
    result: ExecutionResult,
) -> AttemptReport {
    if let Some(span) = span {
        span.end(&result);
    }
    AttemptReport {
        task: key.task,
        attempt: key.number,
        lease,
        end: result.end,
        output: result.output,
        output_bytes: result.output_bytes,
        error: result.error,
        exit_code: result.exit_code,
        execution_time_ms: result.execution_time_ms,
        tokens_used: result.tokens_used,
        cost_cents: result.cost_cents,
        failure_class: result.class,
    }
}
