//! Ends of attempts, as the code that does a task returns them.

use std::time::Duration;

use deia_model::{CompletionReport, FailureClass, FailureReport, LeasedTask};

/// Longest reason of a failure, in characters: that of [`FailureReport`]. Fact: the API,
/// whose schema states it.
const MAX_REASON: usize = 10_000;

/// The success of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The output. It follows the pieces that were appended before.
    pub output: String,
    /// Tokens used.
    pub tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    pub cost_cents: Option<u64>,
}

impl Completion {
    /// Creates a success with this output.
    pub fn of(output: impl Into<String>) -> Self {
        Self {
            output: output.into(),
            ..Self::default()
        }
    }

    /// Creates the report, with the part of the output that was not sent yet.
    pub(super) fn report(&self, task: &LeasedTask, rest: Option<String>) -> CompletionReport {
        CompletionReport {
            attempt: task.attempt,
            lease_token: task.lease_token,
            output: rest,
            tokens_used: self.tokens_used,
            cost_cents: self.cost_cents,
        }
    }
}

/// The failure of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class, which decides what the failure costs the task and the bot.
    pub class: FailureClass,
    /// The reason, in a sentence.
    pub reason: String,
    /// Time for which the bot takes no tasks, for the classes that pause it.
    pub retry_after: Option<Duration>,
    /// Exit code of a program.
    pub exit_code: Option<i32>,
    /// Tokens used.
    pub tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    pub cost_cents: Option<u64>,
}

impl Failure {
    /// Creates a failure of this class.
    pub fn of(class: FailureClass, reason: impl Into<String>) -> Self {
        Self {
            class,
            reason: reason.into(),
            retry_after: None,
            exit_code: None,
            tokens_used: None,
            cost_cents: None,
        }
    }

    /// Creates the report. A reason that the hive would refuse is replaced or cut: a failure
    /// must not get lost over its words.
    pub(super) fn report(&self, task: &LeasedTask) -> FailureReport {
        let error: String = match self.reason.is_empty() {
            true => "the worker gave no reason".to_owned(),
            false => self.reason.chars().take(MAX_REASON).collect(),
        };
        FailureReport {
            attempt: task.attempt,
            lease_token: task.lease_token,
            error,
            class: Some(self.class),
            retry_after_seconds: self.retry_after.map(|time| time.as_secs()),
            exit_code: self.exit_code,
            tokens_used: self.tokens_used,
            cost_cents: self.cost_cents,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    /// Creates an internal failure, for errors that the code does not class.
    fn from(error: E) -> Self {
        Self::of(FailureClass::Internal, error.to_string())
    }
}
