//! The result of an attempt, derived from the end of its program. Pure.

use std::{io, process::ExitStatus};

use deia_model::AttemptEnd;

use crate::bots::{
    attempt::{ExecutionResult, FaultPhase, StopCause},
    output::{SpoolError, result_text::text},
    program::exit::{RUNNER_KILLED, how},
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

/// Returns the result of a program that did not end by itself.
fn broken_off(ending: ProcessExit, execution_time_ms: u64) -> ExecutionResult {
    match ending {
        ProcessExit::Stopped(cause) => ExecutionResult::stopped(cause, execution_time_ms),
        ProcessExit::NotSpooled(fault) => {
            ExecutionResult::output_not_kept(fault, execution_time_ms)
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

/// Maximum number of lines of standard error in the error of an attempt. Fixed: keeps
/// messages readable.
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

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
                ProcessExit::NotSpooled(SpoolError::NoRoom { max_bytes: 7 }),
                "x",
                AttemptEnd::Failed,
                Some("out"),
                Some(
                    "there is no room for what it printed: the outputs of running programs take 7 bytes, the limit of all outputs together (tasks.max_outputs_bytes): x",
                ),
            ),
            (
                ProcessExit::NotSpooled(SpoolError::Storage("no room".into())),
                "x",
                AttemptEnd::BotFault,
                Some("out"),
                Some("its output cannot be kept: no room: x"),
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
    fn silent_success_has_an_empty_answer_and_silent_failure_none() {
        for (code, expected) in [(0, Some("")), (1, None)] {
            let status = ExitStatus::from_raw(code << 8);
            let (outcome, _) = classify_exit(ProcessExit::Exited(status), Vec::new(), "", 0);
            assert_eq!(outcome.output.as_deref(), expected, "{code}");
            assert_eq!(outcome.exit_code, Some(code));
        }
    }
}
