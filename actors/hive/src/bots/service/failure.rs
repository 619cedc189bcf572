//! Failures of attempts at a service.

use std::time::Duration;

use deia_model::{FailureClass, Timestamp};

use super::Credentials;
use crate::{
    bots::{
        attempt::{ExecutionResult, FaultPhase},
        output::SpoolError,
    },
    outgoing::ExchangeError,
};

/// Characters of an answer that an error repeats. Fixed: keeps messages readable.
const MAX_QUOTE_CHARS: usize = 500;

/// Failure of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bots) struct Failure {
    /// Class of the failure; `None` for a fault of this host, which is none of the service.
    class: Option<FailureClass>,
    /// Reason, for people.
    reason: String,
    /// Time for which the service asked for a pause.
    pause: Option<Duration>,
}

impl Failure {
    pub(in crate::bots) fn new(class: FailureClass, reason: impl Into<String>) -> Self {
        Self {
            class: Some(class),
            reason: reason.into(),
            pause: None,
        }
    }

    /// Returns the failure with the pause that came with it.
    pub(in crate::bots) fn paused_for(self, pause: Option<Duration>) -> Self {
        Self { pause, ..self }
    }

    /// Returns the failure without the values of secrets in its reason.
    pub(in crate::bots) fn redacted(self, credentials: &Credentials) -> Self {
        Self {
            reason: credentials.redact(&self.reason),
            ..self
        }
    }

    /// Returns the failure of an exchange. Until the request was sent the task costs nothing;
    /// after that the service may have carried it out.
    pub(in crate::bots) fn of_exchange(error: &ExchangeError) -> Self {
        let class = match error {
            _ if !error.may_have_arrived() => FailureClass::NotStarted,
            ExchangeError::TimedOut { .. } => FailureClass::TimedOut,
            _ => FailureClass::Transport,
        };
        Self::new(class, error.to_string())
    }

    /// Returns the failure to keep an answer.
    pub(in crate::bots) fn of_spool(fault: SpoolError) -> Self {
        match fault {
            SpoolError::TooMuch { max_bytes } => Self::new(
                FailureClass::Internal,
                format!(
                    "answered more than {max_bytes} bytes, the limit of an output (tasks.max_output_file_bytes)"
                ),
            ),
            SpoolError::NoRoom { max_bytes } => Self::new(
                FailureClass::Internal,
                format!(
                    "there is no room for the answer: the outputs of running attempts take {max_bytes} bytes, the limit of all outputs together (tasks.max_outputs_bytes)"
                ),
            ),
            SpoolError::Storage(reason) => Self {
                class: None,
                reason: format!("the answer cannot be kept: {reason}"),
                pause: None,
            },
        }
    }

    /// Returns the result of the attempt.
    pub(super) fn result(self, execution_time_ms: u64) -> ExecutionResult {
        let Some(class) = self.class else {
            return ExecutionResult::bot_fault(FaultPhase::End, self.reason, execution_time_ms);
        };
        let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        ExecutionResult {
            paused_until: self
                .pause
                .map(|pause| Timestamp::now().plus_millis(millis(pause))),
            ..ExecutionResult::failed_as(class, self.reason, execution_time_ms)
        }
    }
}

/// Returns the beginning of an answer for an error, on one line, without secrets; nothing if the
/// answer is empty.
pub(in crate::bots) fn quoted(answer: &[u8], credentials: &Credentials) -> String {
    let text = String::from_utf8_lossy(answer);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = credentials.redact(&words.join(" "));
    if line.is_empty() {
        return String::new();
    }
    let mut short: String = line.chars().take(MAX_QUOTE_CHARS).collect();
    if short.len() < line.len() {
        short.push('\u{2026}');
    }
    format!(": {short}")
}
