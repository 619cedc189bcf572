//! The result of an attempt whose program could not be started. Pure.

use std::{io, path::Path};

use super::{exit::RUNNER_KILLED, lookup::Missing};
use crate::bots::attempt::{ExecutionResult, FaultPhase};

/// The reason why a program could not be started, and whether the task is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bots) struct NotStarted {
    pub(in crate::bots) reason: String,
    /// True if the kernel can start no such program or the program did harm at once: no other bot
    /// could run the task.
    task_is_at_fault: bool,
}

impl NotStarted {
    /// Returns a fault of the bot or its host: the attempt never ran.
    pub(in crate::bots) fn bot(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            task_is_at_fault: false,
        }
    }

    /// Returns the result of the attempt.
    pub(in crate::bots) fn outcome(self, execution_time_ms: u64) -> ExecutionResult {
        if self.task_is_at_fault {
            ExecutionResult::failed(self.reason, execution_time_ms)
        } else {
            ExecutionResult::bot_fault(FaultPhase::Start, self.reason, execution_time_ms)
        }
    }
}

/// Returns the reason why the program could not be started in that directory.
pub(in crate::bots) fn not_started(
    program: &str,
    directory: &Path,
    error: &io::Error,
) -> NotStarted {
    let reason = match error.kind() {
        io::ErrorKind::ConnectionAborted => {
            return NotStarted {
                reason: RUNNER_KILLED.to_owned(),
                task_is_at_fault: true,
            };
        }
        io::ErrorKind::NotFound if !directory.is_dir() => {
            return NotStarted::bot(format!(
                "the working directory {} does not exist",
                directory.display()
            ));
        }
        io::ErrorKind::NotFound => {
            "there is no such file (or its interpreter is missing)".to_owned()
        }
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ArgumentListTooLong => {
            "its arguments and environment are too long".to_owned()
        }
        _ if error.raw_os_error() == Some(nix::errno::Errno::ENOEXEC as i32) => {
            "it is neither a program nor a script with a #! line".to_owned()
        }
        _ => error.to_string(),
    };
    NotStarted {
        reason: format!("the program {program:?} cannot be started: {reason}"),
        task_is_at_fault: error.kind() == io::ErrorKind::ArgumentListTooLong,
    }
}

/// Returns the reason why the program was not found.
pub(in crate::bots) fn not_found(program: &str, missing: Missing) -> NotStarted {
    NotStarted::bot(match missing {
        Missing::NotFound => format!("the program {program:?} was not found in PATH"),
        Missing::NotExecutable => {
            format!("the program {program:?} cannot be started: permission denied")
        }
    })
}
