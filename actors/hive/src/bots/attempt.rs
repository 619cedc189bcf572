//! One attempt at a task, as its executor sees it.

use std::sync::Arc;

use deia_model::AttemptEnd;
use tokio::sync::watch;

/// Why a running attempt is to end before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The task was cancelled, with the words of the task about that.
    Cancelled(Arc<str>),
    /// It took longer than it may.
    TimedOut {
        /// How long it may take, in seconds.
        after_seconds: u64,
    },
    /// The bot, or the whole server, is stopping.
    BotStopping,
}

/// Where a running attempt learns that it is to end: `None` until then. The
/// first cause stays; a dropped sender counts as [`StopCause::BotStopping`].
pub(crate) type StopSignal = watch::Receiver<Option<StopCause>>;

/// Waits until the attempt is to end. May be dropped and called again.
pub(crate) async fn stop_requested(stop: &mut StopSignal) -> StopCause {
    match stop.wait_for(Option::is_some).await {
        Ok(cause) => cause.clone().unwrap_or(StopCause::BotStopping),
        Err(_) => StopCause::BotStopping,
    }
}

/// Stage in which a fault of the bot ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultPhase {
    /// It could not be started.
    Start,
    /// It ran, and its end or its output could not be had.
    End,
}

/// The result of an attempt, as its executor gives it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExecutionResult {
    /// How it ended.
    pub(crate) end: AttemptEnd,
    /// What the bot answered.
    pub(crate) output: Option<String>,
    /// How long the whole of it is, in bytes, when it is in a file.
    pub(crate) output_bytes: Option<u64>,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// Exit code of a program that ended by itself.
    pub(crate) exit_code: Option<i32>,
    /// How long it ran, in milliseconds.
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
    /// One that ended so, with nothing to show for it.
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

    /// A success with this answer.
    pub(crate) fn succeeded(output: String, execution_time_ms: u64) -> Self {
        Self {
            output: Some(output),
            ..Self::bare(AttemptEnd::Succeeded, execution_time_ms)
        }
    }

    /// A failure for this reason.
    pub(crate) fn failed(error: impl Into<String>, execution_time_ms: u64) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::bare(AttemptEnd::Failed, execution_time_ms)
        }
    }

    /// An attempt that never had a chance, for a reason that is the bot's or the
    /// host's and not the task's.
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

    /// What an attempt comes to that was ended for this cause.
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
    async fn the_signal_is_seen_before_and_after_it_is_given() {
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
