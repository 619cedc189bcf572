//! Errors of commands, their remedies, and their exit codes.

mod exit;
mod hints;

use std::{io, path::PathBuf, time::Duration};

use deia_client::{ClientError, Problem};
use deia_model::{BotName, ReplayId, TaskId, TaskType, WebhookId};

pub use self::exit::Exit;
use super::{format, interrupt::Stays};
use crate::telemetry::redact::redact;

/// Reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The call to the hive failed.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The hive requires a key, and there was none to send.
    #[error("the hive at {url} requires a key, and none was found: {reason}")]
    NoKey {
        /// The hive.
        url: String,
        /// The place where a key was looked for.
        reason: String,
    },
    /// The hive refuses the key.
    #[error("{error}")]
    KeyRefused {
        /// The file of the key.
        path: PathBuf,
        /// The environment variable that names the file, if one does.
        variable: Option<&'static str>,
        /// The answer of the hive.
        error: ClientError,
    },
    /// The key file does not exist or holds no key.
    #[error("key file {path}: {reason}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The error in the file.
        reason: String,
    },
    /// The key file may not be read.
    #[error("key file {path}: {error}")]
    KeyFileDenied {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// Another input is wrong.
    #[error("{what}: {reason}")]
    Input {
        /// The input.
        what: String,
        /// The error, and what would be valid.
        reason: String,
    },
    /// A settings file cannot be used.
    #[error("{what} cannot be used")]
    Settings {
        /// The file.
        what: String,
        /// All errors in the file.
        problems: Vec<String>,
    },
    /// Nothing has the given name.
    #[error("there is no {what}")]
    NoSuch {
        /// The requested name.
        what: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// The command asks for confirmation, and there is no terminal.
    #[error("this would {action}, and there is no terminal to ask on")]
    CannotAsk {
        /// The action to be confirmed.
        action: String,
        /// The options that avoid the question.
        options: &'static str,
    },
    /// The action would end the access of the key in use, without consent.
    #[error("this would {action}: the access that this command uses itself")]
    OwnAccess {
        /// The action.
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
    /// A job on the archive failed.
    #[error("the job failed: {0}")]
    JobFailed(String),
    /// Some steps to a fleet were not carried out.
    #[error("{} of {of} bots are not as the file has them", failed + conflicts)]
    AppliedInPart {
        /// Number of steps that failed.
        failed: usize,
        /// Number of bots that somebody changed meanwhile.
        conflicts: usize,
        /// Number of steps.
        of: usize,
    },
    /// A profile of that name exists.
    #[error("profile {name} exists already")]
    ProfileExists {
        /// The profile.
        name: String,
    },
    /// A bot did not reach the desired state.
    #[error("bot {name} is {status}: {reason}")]
    BotWentWrong {
        /// The bot.
        name: BotName,
        /// Status of the bot.
        status: &'static str,
        /// The reason.
        reason: String,
    },
    /// A task failed or was cancelled.
    #[error("{id} did not succeed: {how}")]
    TaskFailed {
        /// The task.
        id: TaskId,
        /// The way in which it ended.
        how: String,
    },
    /// A bot has not reached the desired state in time.
    #[error("bot {name} is still {status} after {}{}", format::duration(*after), in_hand(*running))]
    BotNotThere {
        /// The bot.
        name: BotName,
        /// Number of tasks that the bot still runs.
        running: u32,
        /// Status of the bot.
        status: &'static str,
        /// Time waited.
        after: Duration,
    },
    /// The new start of a restart failed, and the previous one continues.
    #[error("the restart failed, and the server continues as before: {reason}")]
    RestartFailed {
        /// The reason.
        reason: String,
    },
    /// A restart is not complete in time.
    #[error("the server is not ready again after {}; check with deia system status", format::duration(*within))]
    NotRestarted {
        /// Time waited.
        within: Duration,
    },
    /// A task has not ended yet.
    #[error("{id} has not ended after {}{}", format::duration(*after), because(why.as_deref()))]
    TaskNotEnded {
        /// The task.
        id: TaskId,
        /// The reason, if it is known.
        why: Option<String>,
        /// Time waited.
        after: Duration,
    },
    /// Tasks still run after a drain.
    #[error("{} after {}", format::count(*running, "task still runs", "tasks still run"), format::duration(*after))]
    NotDrained {
        /// The paused type; `None`: the whole queue.
        task_type: Option<TaskType>,
        /// Number of running tasks.
        running: u64,
        /// Time waited.
        after: Duration,
    },
    /// The hive has no object of that name.
    #[error("{problem}")]
    NotThere {
        /// The answer of the hive.
        problem: Box<Problem>,
        /// Similar names that exist.
        nearest: Vec<String>,
    },
    /// Some of the named tasks were left as they are.
    #[error("{} not put back", format::count(*skipped, "task was", "tasks were"))]
    SomeSkipped {
        /// Number of these tasks.
        skipped: u64,
        /// Reasons, each with its task.
        reasons: Vec<String>,
        /// True if none of these tasks exists.
        all_missing: bool,
    },
    /// A file of tasks was submitted in part.
    #[error("{error}")]
    SubmittedInPart {
        /// The error that stopped the submission.
        error: Box<CliError>,
        /// Number of accepted tasks.
        accepted: usize,
        /// The idempotency key, with which the command can be repeated safely.
        idempotency_key: String,
    },
    /// The output of a task was shown in part.
    #[error("{error}")]
    OutputInPart {
        /// The error that stopped the output.
        error: Box<CliError>,
        /// The task.
        id: TaskId,
        /// The attempt that printed the output.
        attempt: u32,
        /// The byte at which to continue.
        offset: u64,
    },
    /// An export ended early.
    #[error("the export is not complete: {error}")]
    ExportInPart {
        /// The error that ended the export.
        error: Box<CliError>,
    },
    /// An endpoint did not accept a test.
    #[error("the test was not delivered: {reason}")]
    TestNotDelivered {
        /// The endpoint.
        webhook: WebhookId,
        /// The reason.
        reason: String,
    },
    /// A replay was stopped before its end.
    #[error("{replay} was stopped at {}", format::percent(*progress_percent))]
    ReplayStopped {
        /// The endpoint.
        webhook: WebhookId,
        /// The replay.
        replay: ReplayId,
        /// Share of the range that is done, in percent.
        progress_percent: f64,
    },
    /// The user interrupted the command.
    #[error("interrupted{}", stays.told())]
    Interrupted {
        /// Effects that remain.
        stays: Stays,
    },
    /// The command succeeded, and its answer could not be written.
    #[error("{done}, and that could not be shown: {error}")]
    NotShown {
        /// Effect of the command, with the id of the created object.
        done: String,
        /// Advice on how to proceed.
        next: String,
        /// Error of the operating system.
        error: Box<CliError>,
    },
    /// The answer is no.
    #[error("no: {reason}")]
    No {
        /// The reason.
        reason: String,
    },
    /// An audit trail has faults.
    #[error("the audit trail in {} is not sound: {}", dir.display(), format::count(*faults, "fault", "faults"))]
    NotSound {
        /// The directory of the trail.
        dir: PathBuf,
        /// Number of faults.
        faults: u64,
    },
    /// The hive is not healthy.
    #[error("the hive is not healthy: {0}")]
    Unhealthy(String),
    /// The file of an option could not be written.
    #[error("{option} {path}: {error}")]
    FileOf {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// Standard output or input failed.
    #[error("{stream}: {error}")]
    Stream {
        /// Name of the stream.
        stream: &'static str,
        /// The error of the system.
        error: io::Error,
    },
    /// The answer of the hive cannot be written in that format.
    #[error("the answer cannot be written: {0}")]
    Render(#[from] serde_json::Error),
    /// The runtime could not be started.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl CliError {
    /// Returns the exit code.
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
            Self::AppliedInPart { conflicts: 1.., .. } => Exit::Conflict,
            Self::AppliedInPart { .. } | Self::JobFailed(_) => Exit::Failed,
            Self::BotExists { .. } | Self::ProfileExists { .. } | Self::SomeSkipped { .. } => {
                Exit::Conflict
            }
            Self::BotNotThere { .. }
            | Self::TaskNotEnded { .. }
            | Self::NotRestarted { .. }
            | Self::NotDrained { .. } => Exit::TimedOut,
            Self::SubmittedInPart { error, .. }
            | Self::OutputInPart { error, .. }
            | Self::ExportInPart { error } => error.exit(),
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::Unhealthy(_) => Exit::Unhealthy,
            Self::Stream { error, .. } if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::NotConfirmed
            | Self::NotShown { .. }
            | Self::No { .. }
            | Self::BotWentWrong { .. }
            | Self::RestartFailed { .. }
            | Self::TaskFailed { .. }
            | Self::TestNotDelivered { .. }
            | Self::NotSound { .. }
            | Self::ReplayStopped { .. }
            | Self::File { .. }
            | Self::FileOf { .. }
            | Self::Stream { .. }
            | Self::Render(_)
            | Self::Runtime(_) => Exit::Failed,
        }
    }

    /// Prints the error on standard error.
    pub(super) fn report(&self) -> Exit {
        let exit = self.exit();
        let silent = matches!(self, Self::Interrupted { stays } if *stays == Stays::Watching);
        if exit != Exit::Ok && !silent {
            for line in self.message() {
                // A key in the wrong place of the command line is repeated in errors.
                eprintln!("{}", format::printable(&redact(&line)));
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
            format::count(n.into(), "task still runs", "tasks still run")
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
