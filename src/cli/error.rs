//! What can go wrong, what to do about it, and how the process ends then.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use deia_hive::model::{BotName, TaskId};

use crate::client::{ClientError, Problem};

use super::human;

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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

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
    /// It asks first, and nobody can be asked.
    #[error("this would {action}, and there is no terminal to ask on")]
    CannotAsk {
        /// What would be done.
        action: String,
    },
    /// The answer was no.
    #[error("nothing was done")]
    NotConfirmed,
    /// A bot of that name exists.
    #[error("bot {name} exists already (version {version})")]
    BotExists {
        /// The bot.
        name: BotName,
        /// Its version.
        version: u64,
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
    #[error("{id} did not succeed: {reason}")]
    TaskFailed {
        /// The task.
        id: TaskId,
        /// Why.
        reason: String,
    },
    /// A bot is not yet where it was sent.
    #[error("bot {name} is still {status} after {}", human::duration(*after))]
    BotNotThere {
        /// The bot.
        name: BotName,
        /// Its status.
        status: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// A task has not ended yet.
    #[error("{id} has not ended after {}", human::duration(*after))]
    TaskNotEnded {
        /// The task.
        id: TaskId,
        /// How long was waited.
        after: Duration,
    },
    /// The hive says that it is not healthy.
    #[error("the hive is not healthy: {0}")]
    Unhealthy(String),
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
            Self::Input { .. } | Self::KeyFile { .. } | Self::CannotAsk { .. } => Exit::Usage,
            Self::NoKey { .. } | Self::KeyFileDenied { .. } => Exit::Denied,
            Self::BotExists { .. } => Exit::Conflict,
            Self::BotNotThere { .. } | Self::TaskNotEnded { .. } => Exit::TimedOut,
            Self::Unhealthy(_) => Exit::Unhealthy,
            Self::Stream { error, .. } if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::NotConfirmed
            | Self::BotWentWrong { .. }
            | Self::TaskFailed { .. }
            | Self::File { .. }
            | Self::Stream { .. }
            | Self::Render(_)
            | Self::Runtime(_) => Exit::Failed,
        }
    }

    /// What to do next, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => hint_of(error),
            Self::NoKey { .. } => Some(
                "give --key-file FILE or set DEIA_KEY_FILE; on the hive's own machine give \
                 --data-dir DIR, where its admin.key is"
                    .into(),
            ),
            Self::KeyFileDenied { .. } => {
                Some("run as the user that the hive runs as, or give another --key-file".into())
            }
            Self::CannotAsk { .. } => Some("give --yes to do it without being asked".into()),
            Self::BotExists { name, .. } => Some(format!(
                "give --replace to change it, or look at it: deia-admin bot show {name}"
            )),
            Self::BotWentWrong { name, .. } | Self::BotNotThere { name, .. } => Some(format!(
                "see why: deia-admin bot logs {name}; deia-admin supervisors"
            )),
            Self::TaskFailed { id, .. } => {
                Some(format!("all that is known: deia-admin task show {id}"))
            }
            Self::TaskNotEnded { id, .. } => {
                Some(format!("wait again: deia-admin task result {id} --wait"))
            }
            Self::Unhealthy(_) => Some("look closer: deia-admin supervisors".into()),
            _ => None,
        }
    }

    /// Tells the user on standard error.
    pub(super) fn report(&self) -> Exit {
        let exit = self.exit();
        if exit != Exit::Ok {
            for line in self.message() {
                eprintln!("{}", human::printable(&line));
            }
        }
        exit
    }

    /// What the user is told, line by line.
    pub fn message(&self) -> Vec<String> {
        let mut lines = match self {
            Self::Client(ClientError::Problem(problem)) => {
                vec![format!("error: {problem} ({})", problem.code)]
            }
            Self::Client(ClientError::Unreachable { url, reason }) => {
                vec![format!("error: no hive answers at {url} ({reason})")]
            }
            other => vec![format!("error: {other}")],
        };
        if let Self::Client(ClientError::Problem(problem)) = self {
            lines.extend(problem.errors.iter().map(|violation| {
                let place = match violation.pointer.as_str() {
                    "" => "the input",
                    pointer => pointer,
                };
                format!("  {place}: {}", violation.detail)
            }));
        }
        lines.extend(self.hint().map(|hint| format!("  next: {hint}")));
        lines
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Invalid { .. } => Exit::Usage,
        ClientError::Unreachable { .. } => Exit::Unreachable,
        ClientError::TimedOut { .. } => Exit::TimedOut,
        ClientError::Protocol { .. } => Exit::Failed,
        ClientError::Problem(problem) => exit_of_status(problem.status),
    }
}

fn exit_of_status(status: u16) -> Exit {
    match status {
        400 | 405 | 413 | 414 | 415 | 422 => Exit::Usage,
        401 | 403 => Exit::Denied,
        404 | 410 => Exit::NotFound,
        409 | 412 | 428 => Exit::Conflict,
        408 | 504 => Exit::TimedOut,
        _ => Exit::Failed,
    }
}

fn hint_of(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable { .. } => {
            Some("start a hive with `deia`, or say where one is with --url or DEIA_URL".into())
        }
        ClientError::TimedOut { .. } => Some(
            "look before you repeat it, it may have been done; --request-timeout waits longer"
                .into(),
        ),
        ClientError::Protocol { .. } => Some("check --url: is that a hive of this version?".into()),
        ClientError::Invalid { .. } => None,
        ClientError::Problem(problem) => hint_of_problem(problem),
    }
}

fn hint_of_problem(problem: &Problem) -> Option<String> {
    if let Some(after) = problem.retry_after {
        return Some(format!("try again in {}", human::duration(after)));
    }
    match (problem.status, problem.code.as_str()) {
        (401, _) => Some("give another key with --key-file; whoami shows who a key is".into()),
        (403, _) => {
            Some("see what the key is for with whoami; an admin makes keys: key create".into())
        }
        (_, "task_not_finished") => Some("wait for it with --wait".into()),
        (_, "task_not_found") => Some("see what there is: deia-admin task list".into()),
        (_, "bot_not_found") => Some("see what there is: deia-admin bot list".into()),
        (_, "key_not_found") => Some("see what there is: deia-admin key list".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use deia_hive::model::Violation;

    use super::*;

    fn problem(status: u16, code: &str) -> ClientError {
        ClientError::Problem(Box::new(Problem {
            status,
            code: code.into(),
            title: "Title".into(),
            detail: Some("what is wrong".into()),
            errors: vec![],
            retry_after: None,
        }))
    }

    #[test]
    fn the_table_of_exit_codes() {
        for (status, expected) in [
            (400, Exit::Usage),
            (413, Exit::Usage),
            (422, Exit::Usage),
            (401, Exit::Denied),
            (403, Exit::Denied),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (412, Exit::Conflict),
            (429, Exit::Failed),
            (500, Exit::Failed),
            (503, Exit::Failed),
            (504, Exit::TimedOut),
            (507, Exit::Failed),
        ] {
            let error = CliError::Client(problem(status, "x"));
            assert_eq!(error.exit(), expected, "{status}");
        }
        let url = || "http://h".to_owned();
        let reason = || "r".to_owned();
        let after = Duration::from_secs(1);
        for (error, expected) in [
            (
                ClientError::Invalid {
                    what: url(),
                    reason: reason(),
                },
                2,
            ),
            (
                ClientError::Unreachable {
                    url: url(),
                    reason: reason(),
                },
                7,
            ),
            (ClientError::TimedOut { what: url(), after }, 8),
            (
                ClientError::Protocol {
                    url: url(),
                    reason: reason(),
                },
                1,
            ),
        ] {
            assert_eq!(CliError::Client(error).exit() as u8, expected);
        }
        let name: BotName = "b-1".parse().unwrap();
        let broken = |kind: io::ErrorKind| CliError::Stream {
            stream: "standard output",
            error: kind.into(),
        };
        for (error, expected) in [
            (CliError::CannotAsk { action: reason() }, 2),
            (CliError::NotConfirmed, 1),
            (CliError::Unhealthy(reason()), 3),
            (
                CliError::NoKey {
                    url: url(),
                    reason: reason(),
                },
                5,
            ),
            (
                CliError::BotExists {
                    name: name.clone(),
                    version: 1,
                },
                6,
            ),
            (
                CliError::BotNotThere {
                    name: name.clone(),
                    status: "starting",
                    after,
                },
                8,
            ),
            (
                CliError::BotWentWrong {
                    name,
                    status: "failing",
                    reason: reason(),
                },
                1,
            ),
            (
                CliError::TaskFailed {
                    id: TaskId::new(),
                    reason: reason(),
                },
                1,
            ),
            (
                CliError::TaskNotEnded {
                    id: TaskId::new(),
                    after,
                },
                8,
            ),
            (broken(io::ErrorKind::BrokenPipe), 0),
            (broken(io::ErrorKind::StorageFull), 1),
        ] {
            assert_eq!(error.exit() as u8, expected, "{error:?}");
        }
    }

    #[test]
    fn messages_say_what_where_and_what_next() {
        let unreachable = CliError::Client(ClientError::Unreachable {
            url: "http://127.0.0.1:8000".into(),
            reason: "Connection refused".into(),
        });
        assert_eq!(
            unreachable.message(),
            [
                "error: no hive answers at http://127.0.0.1:8000 (Connection refused)",
                "  next: start a hive with `deia`, or say where one is with --url or DEIA_URL"
            ]
        );
        let mut invalid = problem(422, "invalid_input");
        if let ClientError::Problem(problem) = &mut invalid {
            problem.errors = ["/content", ""]
                .map(|pointer| Violation {
                    pointer: pointer.into(),
                    detail: "is wrong".into(),
                })
                .into();
        }
        assert_eq!(
            CliError::Client(invalid).message(),
            [
                "error: what is wrong (invalid_input)",
                "  /content: is wrong",
                "  the input: is wrong"
            ]
        );
        let mut busy = problem(429, "rate_limited");
        if let ClientError::Problem(problem) = &mut busy {
            problem.retry_after = Some(Duration::from_secs(3));
        }
        let lines = CliError::Client(busy).message();
        assert_eq!(lines[1], "  next: try again in 3s");
    }
}
