//! Output of attempts, and their ends.

use deia_ledger::{AttemptReport, FinishHeld, HeldAck, HeldLease};
use deia_model::{
    AttemptEnd, BotName, CompletionReport, FailureClass, FailureReport, OutputAnswer, OutputReport,
    Principal, ReportAnswer, TaskId, TaskStatus, Timestamp,
};

use super::{
    super::{
        desk::Desk,
        pieces::{Kept, OutputOf, Pieces},
    },
    RemoteWork, held, millis,
};
use crate::{
    HiveError,
    bots::{attempt::ExecutionResult, bot::AttemptKey, output::OutputLimits},
};

/// The end that a worker reports.
struct ReportedEnd {
    end: AttemptEnd,
    class: Option<FailureClass>,
    output: Option<String>,
    error: Option<String>,
    exit_code: Option<i32>,
    tokens_used: Option<u64>,
    cost_cents: Option<u64>,
    paused_until: Option<Timestamp>,
}

impl RemoteWork {
    /// Takes a piece of the output of an attempt.
    ///
    /// # Errors
    /// [`HiveError::StaleLease`], [`HiveError::NotFound`], [`HiveError::OutputGap`], and
    /// [`HiveError::OutputTooLarge`].
    pub async fn output(
        &self,
        who: &Principal,
        task: TaskId,
        report: OutputReport,
    ) -> Result<OutputAnswer, HiveError> {
        let lease = held(task, report.attempt, report.lease_token);
        let bot = self.holder(who, task).await?;
        let pieces = self.pieces(who, &bot, lease).await?;
        let length = pieces.take(report.offset, report.text.as_bytes()).await?;
        Ok(OutputAnswer { length })
    }

    /// Records that an attempt succeeded. A repeated report is answered as the first.
    ///
    /// # Errors
    /// [`HiveError::StaleLease`], [`HiveError::NotFound`], [`HiveError::OutputTooLarge`].
    pub async fn complete(
        &self,
        who: &Principal,
        task: TaskId,
        report: CompletionReport,
    ) -> Result<ReportAnswer, HiveError> {
        let lease = held(task, report.attempt, report.lease_token);
        let end = ReportedEnd {
            end: AttemptEnd::Succeeded,
            class: None,
            output: report.output,
            error: None,
            exit_code: None,
            tokens_used: report.tokens_used,
            cost_cents: report.cost_cents,
            paused_until: None,
        };
        self.finish(who, lease, end).await
    }

    /// Records that an attempt failed; the class decides what follows. A repeated report is
    /// answered as the first.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], [`HiveError::StaleLease`], [`HiveError::NotFound`].
    pub async fn fail(
        &self,
        who: &Principal,
        task: TaskId,
        report: FailureReport,
    ) -> Result<ReportAnswer, HiveError> {
        let violations = report.violations();
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let lease = held(task, report.attempt, report.lease_token);
        let class = report.class.unwrap_or(FailureClass::Internal);
        let until = |seconds: u64| Timestamp::now().plus_millis(seconds.saturating_mul(1_000));
        let end = ReportedEnd {
            end: class.end(),
            class: Some(class),
            output: None,
            error: Some(report.error),
            exit_code: report.exit_code,
            tokens_used: report.tokens_used,
            cost_cents: report.cost_cents,
            paused_until: report.retry_after_seconds.map(until),
        };
        self.finish(who, lease, end).await
    }

    async fn finish(
        &self,
        who: &Principal,
        lease: HeldLease,
        mut end: ReportedEnd,
    ) -> Result<ReportAnswer, HiveError> {
        let bot = self.holder(who, lease.task).await?;
        let (desk, key) = (self.desk(&bot), AttemptKey::of_lease(&lease));
        let is_success = end.end == AttemptEnd::Succeeded;
        let last = end.output.take().unwrap_or_default();
        let has_pieces = desk.has_pieces(&lease) || self.has_stored(&desk, &lease).await;
        let kept = if has_pieces || last.len() as u64 > self.limits().memory {
            match self.pieces(who, &bot, lease).await {
                Ok(pieces) => pieces.finish(last.as_bytes(), !is_success).await?,
                // The report may repeat an earlier one, whose output is stored.
                Err(HiveError::StaleLease { .. }) => Kept::default(),
                Err(error) => return Err(error),
            }
        } else {
            Kept {
                output: Some(last).filter(|_| is_success),
                output_bytes: None,
            }
        };
        let report = AttemptReport {
            task: lease.task,
            attempt: lease.attempt,
            lease: lease.lease,
            end: end.end,
            output: kept.output,
            output_bytes: kept.output_bytes,
            error: end.error.clone(),
            exit_code: end.exit_code,
            execution_time_ms: self.execution_time(&desk, who, &lease).await?,
            tokens_used: end.tokens_used,
            cost_cents: end.cost_cents,
            failure_class: end.class,
        };
        let result = ExecutionResult {
            end: end.end,
            error: end.error,
            class: end.class,
            paused_until: end.paused_until,
            ..ExecutionResult::settled(None)
        };
        let command = FinishHeld {
            bot: bot.clone(),
            report,
        };
        let (status, repeated) = match self.access.apply_for(who, command).await? {
            HeldAck::Recorded(status) => {
                desk.reported(key, result);
                (status, false)
            }
            HeldAck::Repeated(status) if is_success == (status == TaskStatus::Completed) => {
                (status, true)
            }
            HeldAck::Repeated(_) | HeldAck::Stale => return Err(self.stale(who, lease).await),
        };
        Ok(ReportAnswer {
            task_id: lease.task,
            bot_id: bot,
            status,
            repeated,
        })
    }

    /// Returns whether an earlier start of the hive stored output of an attempt.
    async fn has_stored(&self, desk: &Desk, lease: &HeldLease) -> bool {
        let path = self.outputs.file(lease.task, lease.attempt);
        desk.is_adopted(lease) && tokio::fs::try_exists(path).await.unwrap_or(true)
    }

    /// Returns the output of an attempt so far.
    async fn pieces(
        &self,
        who: &Principal,
        bot: &BotName,
        lease: HeldLease,
    ) -> Result<Pieces, HiveError> {
        let (task, attempt, limits) = (lease.task, lease.attempt, self.limits());
        let begin = || {
            Pieces::new(OutputOf {
                outputs: self.outputs.clone(),
                task,
                attempt,
                limits,
            })
        };
        if let Some(pieces) = self.desk(bot).pieces(&lease, begin) {
            return Ok(pieces);
        }
        let lasts = self.lease_time(bot).await?;
        match self.is_in_force(who, bot, lease, lasts).await? {
            true => Err(HiveError::Unavailable(
                "the bot is starting and has not taken over the attempt yet; repeat the report",
            )),
            false => Err(self.stale(who, lease).await),
        }
    }

    async fn execution_time(
        &self,
        desk: &Desk,
        who: &Principal,
        lease: &HeldLease,
    ) -> Result<u64, HiveError> {
        if let Some(running_for) = desk.running_for(lease) {
            return Ok(millis(running_for));
        }
        let stored = self
            .ledger
            .visible_task(lease.task, who.visibility())
            .await?;
        let started = stored.and_then(|task| task.started_at);
        Ok(started.map_or(0, |at| Timestamp::now().millis_since(at)))
    }

    fn limits(&self) -> OutputLimits {
        OutputLimits::of(&self.config().tasks)
    }
}
