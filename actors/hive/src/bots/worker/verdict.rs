//! The result of an attempt, from its end and from what interrupted it. Pure.

use deia_model::{FailureClass, Timestamp};

use super::{desk::End, protocol::Failure};
use crate::bots::{
    attempt::{ExecutionResult, StopCause},
    meters::Overrun,
    output::SpoolError,
};

/// Reason for which deia ended an attempt before its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    Stop(StopCause),
    NotKept(SpoolError),
}

impl Interruption {
    /// Returns the reason, as the program is told.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Stop(StopCause::Cancelled(words)) => words.to_string(),
            Self::Stop(StopCause::TimedOut { after_seconds }) => {
                format!("timed out after {after_seconds} s")
            }
            Self::Stop(StopCause::Idle { for_seconds }) => {
                format!("no output or progress for {for_seconds} s")
            }
            Self::Stop(StopCause::OverLimit { words, .. }) => words.to_string(),
            Self::Stop(StopCause::BotStopping) => "the bot stops".into(),
            Self::NotKept(SpoolError::TooMuch { max_bytes }) => {
                format!("its output is over {max_bytes} bytes")
            }
            Self::NotKept(SpoolError::NoRoom { .. } | SpoolError::Storage(_)) => {
                "its output cannot be kept".into()
            }
        }
    }
}

/// Returns the result of an attempt, without its output.
pub(super) fn result_of(
    interruption: Option<Interruption>,
    end: End,
    execution_time_ms: u64,
    now: Timestamp,
) -> ExecutionResult {
    let (tokens_used, cost_cents) = match &end {
        End::Success(success) => (success.tokens_used, success.cost_cents),
        End::Failure(failure) => (failure.tokens_used, failure.cost_cents),
        End::Malformed(_) | End::NotKept(_) | End::OverLimit(_) | End::Killed { .. } => {
            (None, None)
        }
    };
    let ms = execution_time_ms;
    let result = match (interruption, end) {
        // Work that is done when the bot stops is not done again.
        (None | Some(Interruption::Stop(StopCause::BotStopping)), End::Success(_)) => {
            ExecutionResult::succeeded(String::new(), ms)
        }
        (Some(Interruption::Stop(cause)), _) => ExecutionResult::stopped(cause, ms),
        (Some(Interruption::NotKept(fault)), _) | (None, End::NotKept(fault)) => {
            ExecutionResult::output_not_kept(fault, ms)
        }
        (None, End::Failure(failure)) => failed(failure, ms, now),
        (None, End::OverLimit(Overrun { class, words })) => {
            ExecutionResult::stopped(StopCause::OverLimit { class, words }, ms)
        }
        (None, End::Malformed(reason)) => {
            let error = format!("the answer of the worker is not understood: {reason}");
            ExecutionResult::failed(error, ms)
        }
        // The bot stops, or another attempt took the program down.
        (None, End::Killed { .. }) => ExecutionResult::stopped(StopCause::BotStopping, ms),
    };
    ExecutionResult {
        tokens_used,
        cost_cents,
        ..result
    }
}

fn failed(failure: Failure, execution_time_ms: u64, now: Timestamp) -> ExecutionResult {
    let class = failure.class.unwrap_or(FailureClass::Internal);
    ExecutionResult {
        paused_until: failure.retry_after_ms.map(|ms| now.plus_millis(ms)),
        ..ExecutionResult::failed_as(class, failure.message, execution_time_ms)
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{AttemptEnd, TaskId};

    use super::*;
    use crate::bots::worker::protocol::Success;

    fn success() -> End {
        End::Success(Success {
            id: TaskId::new(),
            attempt: 1,
            output: None,
            tokens_used: Some(7),
            cost_cents: Some(2),
        })
    }

    fn failure(class: Option<FailureClass>) -> End {
        End::Failure(Failure {
            id: TaskId::new(),
            attempt: 1,
            message: "no".into(),
            class,
            retry_after_ms: Some(500),
            tokens_used: Some(7),
            cost_cents: None,
        })
    }

    fn killed() -> End {
        End::Killed { refused: true }
    }

    #[test]
    fn each_end_has_its_result() {
        let stop = |cause| Some(Interruption::Stop(cause));
        let cancelled = || stop(StopCause::Cancelled("cancelled by ada".into()));
        let timed_out = || stop(StopCause::TimedOut { after_seconds: 3 });
        let stopping = || stop(StopCause::BotStopping);
        let over = |class| {
            End::OverLimit(Overrun {
                class,
                words: "too many processes".into(),
            })
        };
        let too_much = || SpoolError::TooMuch { max_bytes: 9 };
        let too_long =
            "printed more than 9 bytes, the limit of an output (tasks.max_output_file_bytes)";
        for (interruption, end, expected, error) in [
            (None, success(), AttemptEnd::Succeeded, None),
            (stopping(), success(), AttemptEnd::Succeeded, None),
            (stopping(), failure(None), AttemptEnd::GivenBack, None),
            (stopping(), killed(), AttemptEnd::GivenBack, None),
            (None, killed(), AttemptEnd::GivenBack, None),
            (cancelled(), success(), AttemptEnd::Cancelled, None),
            (cancelled(), killed(), AttemptEnd::Cancelled, None),
            (
                timed_out(),
                success(),
                AttemptEnd::Failed,
                Some("timed out after 3 s"),
            ),
            (None, failure(None), AttemptEnd::Failed, Some("no")),
            (
                None,
                failure(Some(FailureClass::Permanent)),
                AttemptEnd::FailedForGood,
                Some("no"),
            ),
            (
                None,
                over(FailureClass::Internal),
                AttemptEnd::Failed,
                Some("too many processes"),
            ),
            (
                None,
                over(FailureClass::Budget),
                AttemptEnd::FailedForGood,
                Some("too many processes"),
            ),
            (
                cancelled(),
                over(FailureClass::Budget),
                AttemptEnd::Cancelled,
                None,
            ),
            (
                None,
                failure(Some(FailureClass::RateLimited)),
                AttemptEnd::Refused,
                Some("no"),
            ),
            (
                None,
                failure(Some(FailureClass::Auth)),
                AttemptEnd::BotFault,
                Some("no"),
            ),
            (
                None,
                End::Malformed("x".into()),
                AttemptEnd::Failed,
                Some("the answer of the worker is not understood: x"),
            ),
            (
                None,
                End::NotKept(too_much()),
                AttemptEnd::Failed,
                Some(too_long),
            ),
            (
                Some(Interruption::NotKept(too_much())),
                success(),
                AttemptEnd::Failed,
                Some(too_long),
            ),
        ] {
            let case = format!("{interruption:?} {end:?}");
            let now = Timestamp::from_millis(1_000);
            let result = result_of(interruption, end, 5, now);
            assert_eq!(result.end, expected, "{case}");
            assert_eq!(result.error.as_deref(), error, "{case}");
        }
    }

    #[test]
    fn use_and_pauses_are_taken_over() {
        let now = Timestamp::from_millis(1_000);
        let result = result_of(None, success(), 5, now);
        assert_eq!((result.tokens_used, result.cost_cents), (Some(7), Some(2)));
        let result = result_of(None, failure(Some(FailureClass::Quota)), 5, now);
        assert_eq!(result.paused_until, Some(Timestamp::from_millis(1_500)));
        assert_eq!(result.tokens_used, Some(7));
    }
}
