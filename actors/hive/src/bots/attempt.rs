//! One attempt at a task, from the view of its executor.

use std::sync::Arc;

use deia_model::AttemptEnd;
use tokio::sync::watch;

/// Reason to end a running attempt early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The task was cancelled; carries the reason recorded with the task.
    Cancelled(Arc<str>),
    /// The attempt exceeded its time limit.
    TimedOut {
        /// The limit, in seconds.
        after_seconds: u64,
    },
    /// The bot, or the whole server, is stopping.
    BotStopping,
}

/// The signal that asks a running attempt to end: `None` until then. The first cause stays; a
/// dropped sender counts as [`StopCause::BotStopping`].
pub(crate) type StopSignal = watch::Receiver<Option<StopCause>>;

/// Waits for the stop signal. Cancel safe.
pub(crate) async fn stop_requested(stop: &mut StopSignal) -> StopCause {
    match stop.wait_for(Option::is_some).await {
        Ok(cause) => cause.clone().unwrap_or(StopCause::BotStopping),
        Err(_) => StopCause::BotStopping,
    }
}

/// Stage in which a fault of the bot ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultPhase {
    /// The attempt could not be started.
    Start,
    /// The attempt ran, but its exit status or its output was lost.
    End,
}

/// The result of an attempt, as its executor reports it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExecutionResult {
    /// End of the attempt.
    pub(crate) end: AttemptEnd,
    /// Answer of the bot.
    pub(crate) output: Option<String>,
    /// Length of the whole output in bytes, if it is in a file.
    pub(crate) output_bytes: Option<u64>,
    /// Reason of the failure.
    pub(crate) error: Option<String>,
    /// Exit code of a program that ended by itself.
    pub(crate) exit_code: Option<i32>,
    /// Run time, in milliseconds.
    pub(crate) execution_time_ms: u64,
    /// Tokens used.
    pub(crate) tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    pub(crate) cost_cents: Option<u64>,
    /// Stage in which a fault of the bot ended the attempt; `None` without such a
    /// fault.
    pub(crate) fault: Option<FaultPhase>,
}

impl ExecutionResult {
    /// Returns a result without output or error.
    pub(crate) fn bare(end: AttemptEnd, execution_time_ms: u64) -> Self {
        Self {
            end,
            output: None,
            output_bytes: None,
            error: None,
            exit_code: None,
            execution_time_ms,
            tokens_used: None,
            cost_cents: None,
            fault: None,
        }
    }

    /// Returns a success with this answer.
    pub(crate) fn succeeded(output: String, execution_time_ms: u64) -> Self {
        Self {
            output: Some(output),
            ..Self::bare(AttemptEnd::Succeeded, execution_time_ms)
        }
    }

    /// Returns a failure for this reason.
    pub(crate) fn failed(error: impl Into<String>, execution_time_ms: u64) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::bare(AttemptEnd::Failed, execution_time_ms)
        }
    }

    /// Returns the result of an attempt that never ran because of the bot or the host; the task is
    /// not at fault.
    pub(crate) fn bot_fault(
        phase: FaultPhase,
        error: impl Into<String>,
        execution_time_ms: u64,
    ) -> Self {
        Self {
            error: Some(error.into()),
            fault: Some(phase),
            ..Self::bare(AttemptEnd::BotFault, execution_time_ms)
        }
    }

    /// Returns the result of an attempt that was stopped for this cause.
    pub(crate) fn stopped(cause: StopCause, execution_time_ms: u64) -> Self {
        match cause {
            StopCause::Cancelled(_) => Self::bare(AttemptEnd::Cancelled, execution_time_ms),
            StopCause::TimedOut { after_seconds } => Self::failed(
                format!("timed out after {after_seconds} s"),
                execution_time_ms,
            ),
            StopCause::BotStopping => Self::bare(AttemptEnd::GivenBack, execution_time_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_end() {
        for (cause, end, error) in [
            (
                StopCause::Cancelled("cancelled by ada".into()),
                AttemptEnd::Cancelled,
                None,
            ),
            (
                StopCause::TimedOut { after_seconds: 7 },
                AttemptEnd::Failed,
                Some("timed out after 7 s"),
            ),
            (StopCause::BotStopping, AttemptEnd::GivenBack, None),
        ] {
            let outcome = ExecutionResult::stopped(cause.clone(), 12);
            assert_eq!(outcome.end, end, "{cause:?}");
            assert_eq!(outcome.error.as_deref(), error, "{cause:?}");
            assert_eq!(outcome.execution_time_ms, 12, "{cause:?}");
        }
    }

    #[tokio::test]
    async fn stop_signal_reaches_waiters_before_and_after_it_is_sent() {
        let (send, mut stop) = watch::channel(None);
        send.send_replace(Some(StopCause::Cancelled("cancelled by ada".into())));
        assert_eq!(
            stop_requested(&mut stop).await,
            StopCause::Cancelled("cancelled by ada".into())
        );
        assert_eq!(
            stop_requested(&mut stop).await,
            StopCause::Cancelled("cancelled by ada".into())
        );

        let (send, mut stop) = watch::channel(None);
        drop(send);
        assert_eq!(stop_requested(&mut stop).await, StopCause::BotStopping);
    }
}
