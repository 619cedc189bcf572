//! How the process ends.

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for was done.
    Ok = 0,
    /// It was not.
    Failed = 1,
    /// The command or its input is wrong.
    Usage = 2,
    /// The hive answers and is not healthy.
    Unhealthy = 3,
    /// There is no such thing.
    NotFound = 4,
    /// The key may not do that, or is none.
    Denied = 5,
    /// It does not fit how things stand.
    Conflict = 6,
    /// No hive answers.
    Unreachable = 7,
    /// It was not done in time.
    TimedOut = 8,
    /// The user interrupted it, as a shell counts that (128 + SIGINT).
    Interrupted = 130,
}

impl Exit {
    /// All of them, by their number.
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

    /// What it says, for the documents.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "what was asked for was done",
            Self::Failed => {
                "it was not: the hive refused or failed, or the task that was waited for did"
            }
            Self::Usage => "the command or its input is wrong",
            Self::Unhealthy => "the hive answers and is not healthy",
            Self::NotFound => "there is no such thing",
            Self::Denied => "the key may not do that, or is none",
            Self::Conflict => "it does not fit how things stand",
            Self::Unreachable => "no hive answers",
            Self::TimedOut => "it was not done in time",
            Self::Interrupted => "you interrupted it",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
