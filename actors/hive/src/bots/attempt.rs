//! One attempt at a task, from the view of its executor.

use std::sync::Arc;

use deia_model::{AttemptEnd, FailureClass, Timestamp};
use tokio::sync::watch;

use super::output::SpoolError;

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
    /// The attempt neither wrote output nor reported progress.
    Idle {
        /// The limit, in seconds.
        for_seconds: u64,
    },
    /// The attempt used more than a limit of its bot allows.
    OverLimit {
        /// Class of the failure.
        class: FailureClass,
        /// The limit, and what was used.
        words: Arc<str>,
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
    /// Class of the failure; `None` without one.
    pub(crate) class: Option<FailureClass>,
    /// True if nothing is to be reported: the end is recorded already, or the lease goes on
    /// without the bot.
    pub(crate) is_settled: bool,
    /// End of the pause that came with a refusal; `None` for the default.
    pub(crate) paused_until: Option<Timestamp>,
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
            class: None,
            is_settled: false,
            paused_until: None,
        }
    }

    /// Returns the result of an attempt whose end was recorded elsewhere, as it was reported;
    /// `None` if the attempt goes on without the bot.
    pub(crate) fn settled(reported: Option<Self>) -> Self {
        Self {
            is_settled: true,
            ..reported.unwrap_or_else(|| Self::bare(AttemptEnd::GivenBack, 0))
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
        Self::failed_as(FailureClass::Internal, error, execution_time_ms)
    }

    /// Returns a failure of that class, with the end that the class leads to.
    pub(crate) fn failed_as(
        class: FailureClass,
        error: impl Into<String>,
        execution_time_ms: u64,
    ) -> Self {
        let end = class.end();
        Self {
            error: Some(error.into()),
            fault: (end == AttemptEnd::BotFault).then_some(FaultPhase::Start),
            class: Some(class),
            ..Self::bare(end, execution_time_ms)
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
            class: Some(FailureClass::NotStarted).filter(|_| phase == FaultPhase::Start),
            ..Self::bare(AttemptEnd::BotFault, execution_time_ms)
        }
    }

    /// Returns the result of an attempt whose output could not be kept whole.
    pub(crate) fn output_not_kept(fault: SpoolError, execution_time_ms: u64) -> Self {
        match fault {
            SpoolError::TooMuch { max_bytes } => {
                let error = format!(
                    "printed more than {max_bytes} bytes, the limit of an output (tasks.max_output_file_bytes)"
                );
                Self::failed(error, execution_time_ms)
            }
            SpoolError::NoRoom { max_bytes } => {
                let error = format!(
                    "there is no room for what it printed: the outputs of running programs take {max_bytes} bytes, the limit of all outputs together (tasks.max_outputs_bytes)"
                );
                Self::failed(error, execution_time_ms)
            }
            SpoolError::Storage(reason) => {
                let error = format!("its output cannot be kept: {reason}");
                Self::bot_fault(FaultPhase::End, error, execution_time_ms)
            }
        }
    }

    /// Returns the result of an attempt that was stopped for this cause.
    pub(crate) fn stopped(cause: StopCause, execution_time_ms: u64) -> Self {
        match cause {
            StopCause::Cancelled(_) => Self::bare(AttemptEnd::Cancelled, execution_time_ms),
            StopCause::TimedOut { after_seconds } => Self::failed_as(
                FailureClass::TimedOut,
                format!("timed out after {after_seconds} s"),
                execution_time_ms,
            ),
            StopCause::Idle { for_seconds } => Self::failed_as(
                FailureClass::TimedOut,
                format!("no output or progress for {for_seconds} s"),
                execution_time_ms,
            ),
            StopCause::OverLimit { class, words } => {
                Self::failed_as(class, &*words, execution_time_ms)
            }
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
            (
                StopCause::Idle { for_seconds: 7 },
                AttemptEnd::Failed,
                Some("no output or progress for 7 s"),
            ),
            (
                StopCause::OverLimit {
                    class: FailureClass::Internal,
                    words: "it had 3 processes".into(),
                },
                AttemptEnd::Failed,
                Some("it had 3 processes"),
            ),
            (
                StopCause::OverLimit {
                    class: FailureClass::Budget,
                    words: "it had 3 processes".into(),
                },
                AttemptEnd::FailedForGood,
                Some("it had 3 processes"),
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
