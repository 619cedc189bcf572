//! What can go wrong, what to do about it, and how the process ends then.

mod advice;
mod exit;

use std::{io, path::PathBuf, time::Duration};

use deia_client::{ClientError, Problem};
use deia_model::{BotName, TaskId, TaskType};

pub use self::exit::Exit;
use super::{human, interrupt::Stays};
use crate::telemetry::redact::redact;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The call to the hive failed.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The hive wants a key, and there was none to send.
    #[error("the hive at {url} wants a key, and there is none: {reason}")]
    NoKey {
        /// The hive.
        url: String,
        /// Where one was looked for.
        reason: String,
    },
    /// The hive does not take the key.
    #[error("{error}")]
    KeyRefused {
        /// Where it came from.
        path: PathBuf,
        /// The variable that names that file, if one does.
        variable: Option<&'static str>,
        /// What the hive said.
        error: ClientError,
    },
    /// The key file does not exist or holds no key.
    #[error("key file {path}: {reason}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file may not be read.
    #[error("key file {path}: {error}")]
    KeyFileDenied {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Something else that was given is wrong.
    #[error("{what}: {reason}")]
    Input {
        /// Which input.
        what: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// A settings file cannot be used.
    #[error("{what} cannot be used")]
    Settings {
        /// The file.
        what: String,
        /// Everything that is wrong with it.
        problems: Vec<String>,
    },
    /// There is nothing of that name.
    #[error("there is no {what}")]
    NoSuch {
        /// What was asked for.
        what: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It asks first, and nobody can be asked.
    #[error("this would {action}, and there is no terminal to ask on")]
    CannotAsk {
        /// What would be done.
        action: String,
        /// The options that do it without being asked.
        options: &'static str,
    },
    /// It would end the access of the key that is used, and nobody said that it may.
    #[error("this would {action}: the access that this command uses itself")]
    OwnAccess {
        /// What would be done.
        action: String,
    },
    /// The answer was no.
    #[error("nothing was done")]
    NotConfirmed,
    /// A bot of that name exists.
    #[error("bot {name} exists already")]
    BotExists {
        /// The bot.
        name: BotName,
    },
    /// A profile of that name exists.
    #[error("profile {name} exists already")]
    ProfileExists {
        /// The profile.
        name: String,
    },
    /// A bot did not get where it was sent.
    #[error("bot {name} is {status}: {reason}")]
    BotWentWrong {
        /// The bot.
        name: BotName,
        /// Its status.
        status: &'static str,
        /// Why.
        reason: String,
    },
    /// A task ended badly.
    #[error("{id} did not succeed: {how}")]
    TaskFailed {
        /// The task.
        id: TaskId,
        /// How it ended.
        how: String,
    },
    /// A bot is not yet where it was sent.
    #[error("bot {name} is still {status} after {}{}", human::duration(*after), in_hand(*running))]
    BotNotThere {
        /// The bot.
        name: BotName,
        /// The tasks that it has in hand.
        running: u32,
        /// Its status.
        status: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The new start of a restart failed, and the one before goes on.
    #[error("the restart failed, and the server goes on as it was: {reason}")]
    RestartFailed {
        /// Why it failed.
        reason: String,
    },
    /// A restart is not through in time.
    #[error("the server is not ready again after {}; look with deia system status", human::duration(*within))]
    NotRestarted {
        /// How long was waited.
        within: Duration,
    },
    /// A task has not ended yet.
    #[error("{id} has not ended after {}{}", human::duration(*after), because(why.as_deref()))]
    TaskNotEnded {
        /// The task.
        id: TaskId,
        /// What holds it, if that is known.
        why: Option<String>,
        /// How long was waited.
        after: Duration,
    },
    /// Tasks still run after a drain.
    #[error("{} after {}", human::count(*running, "task still runs", "tasks still run"), human::duration(*after))]
    NotDrained {
        /// The type that is paused, if it is not the whole queue.
        task_type: Option<TaskType>,
        /// How many.
        running: u64,
        /// How long was waited.
        after: Duration,
    },
    /// The hive has nothing of that name.
    #[error("{problem}")]
    NotThere {
        /// What the hive said.
        problem: Box<Problem>,
        /// Names like it that there are.
        nearest: Vec<String>,
    },
    /// Some of the tasks that were named were left as they are.
    #[error("{} not put back", human::count(*skipped, "task was", "tasks were"))]
    SomeSkipped {
        /// How many.
        skipped: u64,
        /// Reasons, each with its task.
        reasons: Vec<String>,
        /// True if that is all because there are no such tasks.
        all_missing: bool,
    },
    /// A file of tasks was submitted in part.
    #[error("{error}")]
    SubmittedInPart {
        /// Why it stopped.
        error: Box<CliError>,
        /// How many tasks are accepted.
        accepted: usize,
        /// What makes it safe to repeat.
        idempotency_key: String,
    },
    /// The output of a task was shown in part.
    #[error("{error}")]
    OutputInPart {
        /// Why it stopped.
        error: Box<CliError>,
        /// The task.
        id: TaskId,
        /// The attempt whose output it is.
        attempt: u32,
        /// The byte to go on from.
        offset: u64,
    },
    /// The user ended it.
    #[error("interrupted{}", stays.told())]
    Interrupted {
        /// Effects that go on without the command.
        stays: Stays,
    },
    /// It was done, and its answer could not be written.
    #[error("{done}, and that could not be shown: {error}")]
    NotShown {
        /// Effect of the command, with the id of the created object.
        done: String,
        /// Advice on how to proceed.
        next: String,
        /// Error of the operating system.
        error: Box<CliError>,
    },
    /// The hive says no.
    #[error("no: {reason}")]
    No {
        /// Why.
        reason: String,
    },
    /// The hive says that it is not healthy.
    #[error("the hive is not healthy: {0}")]
    Unhealthy(String),
    /// The file of an option could not be written.
    #[error("{option} {path}: {error}")]
    FileOf {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Standard output or input failed.
    #[error("{stream}: {error}")]
    Stream {
        /// Which.
        stream: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// What the hive said cannot be written in that format.
    #[error("the answer cannot be written: {0}")]
    Render(#[from] serde_json::Error),
    /// The system gave no means to run.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl CliError {
    /// How the process ends for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => exit_of(error),
            Self::Input { .. }
            | Self::Settings { .. }
            | Self::KeyFile { .. }
            | Self::OwnAccess { .. }
            | Self::CannotAsk { .. } => Exit::Usage,
            Self::NoKey { .. } | Self::KeyRefused { .. } | Self::KeyFileDenied { .. } => {
                Exit::Denied
            }
            Self::NoSuch { .. }
            | Self::NotThere { .. }
            | Self::SomeSkipped {
                all_missing: true, ..
            } => Exit::NotFound,
            Self::BotExists { .. } | Self::ProfileExists { .. } | Self::SomeSkipped { .. } => {
                Exit::Conflict
            }
            Self::BotNotThere { .. }
            | Self::TaskNotEnded { .. }
            | Self::NotRestarted { .. }
            | Self::NotDrained { .. } => Exit::TimedOut,
            Self::SubmittedInPart { error, .. } | Self::OutputInPart { error, .. } => error.exit(),
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::Unhealthy(_) => Exit::Unhealthy,
            Self::Stream { error, .. } if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::NotConfirmed
            | Self::NotShown { .. }
            | Self::No { .. }
            | Self::BotWentWrong { .. }
            | Self::RestartFailed { .. }
            | Self::TaskFailed { .. }
            | Self::File { .. }
            | Self::FileOf { .. }
            | Self::Stream { .. }
            | Self::Render(_)
            | Self::Runtime(_) => Exit::Failed,
        }
    }

    /// Tells the user on standard error.
    pub(super) fn report(&self) -> Exit {
        let exit = self.exit();
        let silent = matches!(self, Self::Interrupted { stays } if *stays == Stays::Watching);
        if exit != Exit::Ok && !silent {
            for line in self.message() {
                // A key in the wrong place of the command line comes back in errors.
                eprintln!("{}", human::printable(&redact(&line)));
            }
        }
        exit
    }
}

fn in_hand(running: u32) -> String {
    match running {
        0 => String::new(),
        n => format!(
            ": {}",
            human::count(n.into(), "task still runs", "tasks still run")
        ),
    }
}

fn because(why: Option<&str>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Invalid { .. } => Exit::Usage,
        ClientError::Unreachable { .. }
        | ClientError::WrongScheme { .. }
        | ClientError::Untrusted { .. } => Exit::Unreachable,
        ClientError::TimedOut { .. } => Exit::TimedOut,
        ClientError::Protocol { .. } => Exit::Failed,
        ClientError::Problem(problem) => exit_of_status(problem.status),
    }
}

fn exit_of_status(status: u16) -> Exit {
    match status {
        400 | 405 | 413 | 414 | 415 | 416 | 422 => Exit::Usage,
        401 | 403 => Exit::Denied,
        404 | 410 => Exit::NotFound,
        409 | 412 | 428 => Exit::Conflict,
        408 | 504 => Exit::TimedOut,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests;
