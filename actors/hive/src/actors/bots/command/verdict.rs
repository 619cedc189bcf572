//! What the end of a program makes of its attempt. Pure.

use std::{
    borrow::Cow, io, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus,
};

use nix::sys::signal::Signal;

use super::environment::Missing;
use crate::{
    actors::bots::attempt::{AttemptOutcome, StopCause},
    model::AttemptEnd,
};

/// How a program came to its end.
#[derive(Debug)]
pub(super) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It was stopped.
    Stopped(StopCause),
    /// It was killed because it printed more than this many bytes.
    TooMuchOutput {
        /// The limit.
        max_bytes: u64,
    },
    /// Nobody knows: something of deia's own failed.
    Lost(io::Error),
}

/// What an attempt comes to. `stdout` is all that was printed, `stderr` the end
/// of what went to the log. The second value says whether the result had bytes
/// that are not UTF-8, which were replaced.
pub(super) fn verdict(
    ending: Ending,
    stdout: Vec<u8>,
    stderr: &str,
    execution_time_ms: u64,
) -> (AttemptOutcome, bool) {
    let status = match ending {
        Ending::Exited(status) => status,
        Ending::Stopped(cause) => {
            return (AttemptOutcome::stopped(cause, execution_time_ms), false);
        }
        Ending::TooMuchOutput { max_bytes } => {
            let error = format!(
                "printed more than {max_bytes} bytes, the limit of a result (tasks.max_output_bytes)"
            );
            return (AttemptOutcome::failed(error, execution_time_ms), false);
        }
        Ending::Lost(error) => {
            let error = format!("the program was lost sight of: {error}");
            return (AttemptOutcome::failed(error, execution_time_ms), false);
        }
    };
    let (output, replaced) = text(stdout);
    let mut outcome = if status.success() {
        AttemptOutcome::succeeded(output, execution_time_ms)
    } else {
        AttemptOutcome {
            output: Some(output).filter(|output| !output.is_empty()),
            ..AttemptOutcome::failed(why(status, stderr), execution_time_ms)
        }
    };
    outcome.exit_code = status.code();
    debug_assert_eq!(outcome.end == AttemptEnd::Succeeded, status.success());
    (outcome, replaced)
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

fn why(status: ExitStatus, stderr: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("ended by signal {number} ({})", signal.as_str()),
            Err(_) => format!("ended by signal {number}"),
        },
        (None, None) => "ended in an unknown way".to_owned(),
    };
    if stderr.is_empty() {
        how
    } else {
        format!("{how}: {stderr}")
    }
}

/// Why the program of that name could not be started in that directory.
pub(super) fn not_started(program: &str, directory: &Path, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::NotFound if !directory.is_dir() => {
            return format!(
                "the working directory {} does not exist",
                directory.display()
            );
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
    format!("the program {program:?} cannot be started: {reason}")
}

/// Why the program of that name was not found.
pub(super) fn not_found(program: &str, missing: Missing) -> String {
    match missing {
        Missing::NotFound => format!("the program {program:?} was not found in PATH"),
        Missing::NotExecutable => {
            format!("the program {program:?} cannot be started: permission denied")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_has_its_outcome() {
        let code = |code: i32| Ending::Exited(ExitStatus::from_raw(code << 8));
        let signal = |signal: i32| Ending::Exited(ExitStatus::from_raw(signal));
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
                Ending::Stopped(StopCause::Cancelled),
                "x",
                AttemptEnd::Cancelled,
                None,
                None,
            ),
            (
                Ending::Stopped(StopCause::BotStopping),
                "x",
                AttemptEnd::GivenBack,
                None,
                None,
            ),
            (
                Ending::TooMuchOutput { max_bytes: 7 },
                "x",
                AttemptEnd::Failed,
                None,
                Some("printed more than 7 bytes, the limit of a result (tasks.max_output_bytes)"),
            ),
            (
                Ending::Lost(io::Error::other("why")),
                "x",
                AttemptEnd::Failed,
                None,
                Some("the program was lost sight of: why"),
            ),
        ] {
            let case = format!("{ending:?}");
            let (outcome, replaced) = verdict(ending, b"out".to_vec(), stderr, 5);
            assert_eq!(outcome.end, end, "{case}");
            assert_eq!(outcome.output.as_deref(), output, "{case}");
            assert_eq!(outcome.error.as_deref(), error, "{case}");
            assert_eq!(outcome.execution_time_ms, 5, "{case}");
            assert!(!replaced, "{case}");
        }
    }

    #[test]
    fn a_success_that_printed_nothing_has_an_empty_answer_and_a_failure_none() {
        for (code, expected) in [(0, Some("")), (1, None)] {
            let status = ExitStatus::from_raw(code << 8);
            let (outcome, _) = verdict(Ending::Exited(status), Vec::new(), "", 0);
            assert_eq!(outcome.output.as_deref(), expected, "{code}");
            assert_eq!(outcome.exit_code, Some(code));
        }
    }
}
