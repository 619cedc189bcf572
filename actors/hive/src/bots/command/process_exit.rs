//! The result of an attempt, derived from the end of its program. Pure.

use std::{
    borrow::Cow, io, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus,
};

use deia_model::AttemptEnd;
use nix::sys::signal::Signal;

use super::environment::Missing;
use crate::bots::{
    attempt::{ExecutionResult, FaultPhase, StopCause},
    output::SpoolError,
    reaper_handle::Ended,
};

/// The end of a program.
#[derive(Debug)]
pub(super) enum ProcessExit {
    /// The program ended by itself.
    Exited(ExitStatus),
    /// The program was stopped.
    Stopped(StopCause),
    /// The program was killed because its output could not be stored, or storing it failed after
    /// its end.
    NotSpooled(SpoolError),
    /// The end is unknown: the runner between deia and the program was killed, by the program or
    /// from outside, or did not answer.
    RunnerKilled,
    /// The end is unknown: an operation of deia itself failed.
    Lost(io::Error),
}

impl ProcessExit {
    /// Returns whether the program exited with status 0.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }

    /// Returns a note for an attempt that has no error, if it says more than the end of the attempt
    /// does.
    pub(super) fn told(&self) -> Option<String> {
        match self {
            Self::Stopped(StopCause::Cancelled(words)) => Some(format!("the task was {words}")),
            _ => None,
        }
    }
}

/// Returns the result of an attempt. `stdout` is the whole output, `stderr` the tail of standard
/// error. The second value says whether the output had bytes that are not UTF-8, which were
/// replaced.
pub(super) fn classify_exit(
    ending: ProcessExit,
    stdout: Vec<u8>,
    stderr: &str,
    execution_time_ms: u64,
) -> (ExecutionResult, bool) {
    let (output, replaced) = text(stdout);
    let status = match ending {
        ProcessExit::Exited(status) => status,
        other => {
            let mut outcome = broken_off(other, execution_time_ms);
            outcome.output = Some(output).filter(|output| !output.is_empty());
            add_stderr(&mut outcome, stderr);
            return (outcome, replaced);
        }
    };
    let mut outcome = if status.success() {
        ExecutionResult::succeeded(output, execution_time_ms)
    } else {
        let mut outcome = ExecutionResult {
            output: Some(output).filter(|output| !output.is_empty()),
            ..ExecutionResult::failed(how(status), execution_time_ms)
        };
        add_stderr(&mut outcome, stderr);
        outcome
    };
    outcome.exit_code = status.code();
    debug_assert_eq!(outcome.end == AttemptEnd::Succeeded, status.success());
    (outcome, replaced)
}

/// Error of an attempt whose runner was lost.
const RUNNER_KILLED: &str = "the runner above the program was killed or stopped while it ran";

/// Returns the result of a program that did not end by itself.
fn broken_off(ending: ProcessExit, execution_time_ms: u64) -> ExecutionResult {
    match ending {
        ProcessExit::Stopped(cause) => ExecutionResult::stopped(cause, execution_time_ms),
        ProcessExit::NotSpooled(SpoolError::TooMuch { max_bytes }) => {
            let error = format!(
                "printed more than {max_bytes} bytes, the limit of an output (tasks.max_output_file_bytes)"
            );
            ExecutionResult::failed(error, execution_time_ms)
        }
        ProcessExit::NotSpooled(SpoolError::Storage(reason)) => {
            let error = format!("what it printed cannot be kept: {reason}");
            ExecutionResult::bot_fault(FaultPhase::End, error, execution_time_ms)
        }
        // Counted: a task whose program kills its runner would otherwise be retried forever.
        ProcessExit::RunnerKilled => ExecutionResult::failed(RUNNER_KILLED, execution_time_ms),
        ProcessExit::Lost(error) => {
            let error = format!("lost track of the program: {error}");
            ExecutionResult::bot_fault(FaultPhase::End, error, execution_time_ms)
        }
        ProcessExit::Exited(status) => ExecutionResult::failed(how(status), execution_time_ms),
    }
}

/// Maximum number of lines of standard error in the error of an attempt.
const STDERR_LINES: usize = 5;

/// Separator between the reason of an error and the program's standard error.
const SAID: &str = ": ";

/// Adds the last lines of standard error to the error of an attempt that has one.
fn add_stderr(outcome: &mut ExecutionResult, stderr: &str) {
    let lines: Vec<&str> = stderr.lines().collect();
    let first = lines.len().saturating_sub(STDERR_LINES);
    let end = lines[first..].join("\n");
    if let Some(error) = outcome.error.as_mut().filter(|_| !end.is_empty()) {
        error.push_str(SAID);
        error.push_str(&end);
    }
}

/// Returns the reason of an error, without the program's standard error.
pub(super) fn without_stderr(error: &str) -> &str {
    error.split(SAID).next().unwrap_or(error)
}

/// Maximum size of the part of a stored output that is repeated in the result, in bytes.
const MAX_HEAD_BYTES: u64 = 64 << 10;

/// Cuts the text of an output that is in a file if the text is incomplete or too long for a result.
/// Readers recognise a cut text by its length, which is less than that of the whole output.
pub(super) fn cut(outcome: &mut ExecutionResult, max_bytes: u64) {
    let (Some(whole), Some(text)) = (outcome.output_bytes, &mut outcome.output) else {
        return;
    };
    if whole <= max_bytes && text.len() as u64 <= max_bytes {
        return;
    }
    let most = MAX_HEAD_BYTES.min(max_bytes).min(whole.saturating_sub(1));
    let mut end = usize::try_from(most).unwrap_or(usize::MAX).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

fn text(bytes: Vec<u8>) -> (String, bool) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => match String::from_utf8_lossy(error.as_bytes()) {
            Cow::Borrowed(text) => (text.to_owned(), false),
            Cow::Owned(text) => (text, true),
        },
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("ended by signal {number} ({})", signal.as_str()),
            Err(_) => format!("ended by signal {number}"),
        },
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The reason why a program could not be started, and whether the task is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotStarted {
    pub(super) reason: String,
    /// True if the kernel can start no such program or the program did harm at once: no other bot
    /// could run the task.
    task_is_at_fault: bool,
}

impl NotStarted {
    /// Returns a fault of the bot or its host: the attempt never ran.
    pub(super) fn bot(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            task_is_at_fault: false,
        }
    }

    /// Returns the result of the attempt.
    pub(super) fn outcome(self, execution_time_ms: u64) -> ExecutionResult {
        if self.task_is_at_fault {
            ExecutionResult::failed(self.reason, execution_time_ms)
        } else {
            ExecutionResult::bot_fault(FaultPhase::Start, self.reason, execution_time_ms)
        }
    }
}

/// Returns notes about processes outside of the program's group at its end.
pub(super) fn strays(ended: &Ended) -> Vec<String> {
    let processes = |n: u32| match n {
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    };
    let mut notes = Vec::new();
    if ended.strays > 0 {
        let strays = processes(ended.strays);
        notes.push(format!("ended {strays} that left the process group"));
    }
    if ended.left > 0 {
        let left = processes(ended.left);
        notes.push(format!("{left} cannot be ended: the kernel holds them"));
    }
    notes
}

/// Returns the reason why the program could not be started in that directory.
pub(super) fn not_started(program: &str, directory: &Path, error: &io::Error) -> NotStarted {
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
pub(super) fn not_found(program: &str, missing: Missing) -> NotStarted {
    NotStarted::bot(match missing {
        Missing::NotFound => format!("the program {program:?} was not found in PATH"),
        Missing::NotExecutable => {
            format!("the program {program:?} cannot be started: permission denied")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_has_its_outcome() {
        let code = |code: i32| ProcessExit::Exited(ExitStatus::from_raw(code << 8));
        let signal = |signal: i32| ProcessExit::Exited(ExitStatus::from_raw(signal));
        for (ending, stderr, end, output, error) in [
            (code(0), "", AttemptEnd::Succeeded, Some("out"), None),
            (code(0), "warning", AttemptEnd::Succeeded, Some("out"), None),
            (
                code(3),
                "",
                AttemptEnd::Failed,
                Some("out"),
                Some("exit code 3"),
            ),
            (
                code(3),
                "no: x",
                AttemptEnd::Failed,
                Some("out"),
                Some("exit code 3: no: x"),
            ),
            (
                signal(9),
                "",
                AttemptEnd::Failed,
                Some("out"),
                Some("ended by signal 9 (SIGKILL)"),
            ),
            (
                signal(40),
                "",
                AttemptEnd::Failed,
                Some("out"),
                Some("ended by signal 40"),
            ),
            (
                code(3),
                "1\n2\n3\n4\n5\n6",
                AttemptEnd::Failed,
                Some("out"),
                Some("exit code 3: 2\n3\n4\n5\n6"),
            ),
            (
                ProcessExit::Stopped(StopCause::TimedOut { after_seconds: 3 }),
                "warn",
                AttemptEnd::Failed,
                Some("out"),
                Some("timed out after 3 s: warn"),
            ),
            (
                ProcessExit::Stopped(StopCause::Cancelled("cancelled by ada".into())),
                "x",
                AttemptEnd::Cancelled,
                Some("out"),
                None,
            ),
            (
                ProcessExit::Stopped(StopCause::BotStopping),
                "x",
                AttemptEnd::GivenBack,
                Some("out"),
                None,
            ),
            (
                ProcessExit::NotSpooled(SpoolError::TooMuch { max_bytes: 7 }),
                "x",
                AttemptEnd::Failed,
                Some("out"),
                Some(
                    "printed more than 7 bytes, the limit of an output (tasks.max_output_file_bytes): x",
                ),
            ),
            (
                ProcessExit::NotSpooled(SpoolError::Storage("no room".into())),
                "x",
                AttemptEnd::BotFault,
                Some("out"),
                Some("what it printed cannot be kept: no room: x"),
            ),
            (
                ProcessExit::RunnerKilled,
                "x",
                AttemptEnd::Failed,
                Some("out"),
                Some("the runner above the program was killed or stopped while it ran: x"),
            ),
            (
                ProcessExit::Lost(io::Error::other("why")),
                "x",
                AttemptEnd::BotFault,
                Some("out"),
                Some("lost track of the program: why: x"),
            ),
        ] {
            let case = format!("{ending:?}");
            let (outcome, replaced) = classify_exit(ending, b"out".to_vec(), stderr, 5);
            assert_eq!(outcome.end, end, "{case}");
            assert_eq!(outcome.output.as_deref(), output, "{case}");
            assert_eq!(outcome.error.as_deref(), error, "{case}");
            assert_eq!(outcome.execution_time_ms, 5, "{case}");
            assert!(!replaced, "{case}");
        }
    }

    #[test]
    fn incomplete_or_overlong_text_is_cut() {
        for (text, whole, max_bytes, expected) in [
            ("abc", None, 1, "abc"),
            ("abc", Some(9), 8, "abc"),
            ("abcdefgh", Some(9), 4, "abcd"),
            // Replaced bytes made the text longer: it is complete, but too long.
            ("\u{fffd}\u{fffd}", Some(2), 4, ""),
            ("a\u{fffd}\u{fffd}", Some(3), 4, "a"),
            ("a\u{fffd}\u{fffd}", Some(3), 7, "a\u{fffd}\u{fffd}"),
        ] {
            let mut outcome = ExecutionResult::succeeded(text.into(), 0);
            outcome.output_bytes = whole;
            cut(&mut outcome, max_bytes);
            assert_eq!(
                outcome.output.as_deref(),
                Some(expected),
                "{text} {whole:?}"
            );
        }
    }

    #[test]
    fn silent_success_has_an_empty_answer_and_silent_failure_none() {
        for (code, expected) in [(0, Some("")), (1, None)] {
            let status = ExitStatus::from_raw(code << 8);
            let (outcome, _) = classify_exit(ProcessExit::Exited(status), Vec::new(), "", 0);
            assert_eq!(outcome.output.as_deref(), expected, "{code}");
            assert_eq!(outcome.exit_code, Some(code));
        }
    }
}
