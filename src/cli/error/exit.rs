//! Exit codes.

use std::process::ExitCode;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Ok = 0,
    /// The command failed.
    Failed = 1,
    /// The command or its input is wrong.
    Usage = 2,
    /// The hive answers and is not healthy.
    Unhealthy = 3,
    /// The object does not exist.
    NotFound = 4,
    /// Permission denied, or not authenticated.
    Denied = 5,
    /// The request conflicts with the current state.
    Conflict = 6,
    /// No hive answers.
    Unreachable = 7,
    /// The time-out expired.
    TimedOut = 8,
    /// The user interrupted the command, encoded as by a shell (128 + SIGINT).
    Interrupted = 130,
}

impl Exit {
    /// All exit codes, by their number.
    pub const ALL: [Exit; 10] = [
        Exit::Ok,
        Exit::Failed,
        Exit::Usage,
        Exit::Unhealthy,
        Exit::NotFound,
        Exit::Denied,
        Exit::Conflict,
        Exit::Unreachable,
        Exit::TimedOut,
        Exit::Interrupted,
    ];

    /// Returns the meaning, for the documents.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "success",
            Self::Failed => "failure: the hive refused or failed, or the awaited task did",
            Self::Usage => "wrong usage: the command or its input is invalid",
            Self::Unhealthy => "the hive answers and is not healthy",
            Self::NotFound => "not found",
            Self::Denied => "permission denied or not authenticated",
            Self::Conflict => "conflict with the current state",
            Self::Unreachable => "no hive answers",
            Self::TimedOut => "timed out",
            Self::Interrupted => "interrupted by the user",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
