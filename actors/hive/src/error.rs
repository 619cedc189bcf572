//! Errors of the hive: of a start, and of requests while it runs.

use std::{borrow::Cow, path::PathBuf};

use deia_ledger::{Rejection, Shortage, StoreError, store::OpenError};
use deia_model::{BotName, KeyError, KeyId, Permission, TaskId, TaskStatus, Violation};
use deia_supervision::StartError;

use crate::{config::ConfigError, data_dir::DataDirError};

/// Reason why the hive did not carry out a request. Each variant has one stable code in the
/// catalogue of errors.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HiveError {
    /// The object does not exist, or the caller may not know of it.
    #[error("there is no {kind} {id:?}")]
    NotFound {
        /// Kind of the object.
        kind: &'static str,
        /// Id of the object.
        id: String,
    },
    /// The caller would give away what they do not have.
    #[error("only permissions that you have can be granted, and you do not have {}", .0.as_str())]
    MayNotGive(Permission),
    /// Messages of a bot may be taken only by the bot itself, or with this permission.
    #[error(
        "taking messages out of the inbox of a bot needs the permission {} as well",
        .0.as_str()
    )]
    NotOwnInbox(Permission),
    /// The key may be used from addresses that the caller's key may not.
    #[error(
        "only access that you have can be granted, and key {0} may be used from more addresses than yours"
    )]
    BeyondOwnKey(KeyId),
    /// The input is wrong, in these places.
    #[error("the input is not valid")]
    Invalid(Vec<Violation>),
    /// The task has no result yet.
    #[error("task {task} is {}", status.as_str())]
    TaskNotFinished {
        /// Id of the task.
        task: TaskId,
        /// Status of the task.
        status: TaskStatus,
    },
    /// No output of the task is available now.
    #[error("there is no output: {0}")]
    NoOutput(String),
    /// The output of an attempt was not kept, with the reason.
    #[error("{0}")]
    OutputMissing(String),
    /// The lease on the attempt is not in force.
    #[error("the lease on attempt {attempt} of task {task} is not in force; the task is {}", status.as_str())]
    StaleLease {
        /// Id of the task.
        task: TaskId,
        /// Number of the attempt.
        attempt: u32,
        /// Status of the task.
        status: TaskStatus,
    },
    /// The bot has another executor than the request needs.
    #[error("bot {bot} is a {kind} bot, not a {needed} one")]
    WrongExecutor {
        /// The bot.
        bot: BotName,
        /// Kind of its executor.
        kind: &'static str,
        /// The kind that the request needs.
        needed: &'static str,
    },
    /// Output between the reported piece and the end of the output so far is missing.
    #[error("the output so far has {length} bytes; send it from offset {length} on")]
    OutputGap {
        /// Length of the output so far, in bytes.
        length: u64,
    },
    /// The output of the attempt would be longer than allowed.
    #[error("the output would be longer than {max_bytes} bytes (tasks.max_output_file_bytes)")]
    OutputTooLarge {
        /// The limit, in bytes.
        max_bytes: u64,
    },
    /// The outputs of running attempts take all the room that outputs may take.
    #[error("the outputs of running attempts take tasks.max_outputs_bytes; nothing was stored")]
    OutputsFull,
    /// The output is shorter than the requested offset.
    #[error("the output is {length} bytes long")]
    BeyondOutput {
        /// Length of the output in bytes.
        length: u64,
    },
    /// The id of the last event is not one to go on from, with the reason.
    #[error("{0}")]
    BadEventId(String),
    /// The command does not fit what is stored.
    #[error(transparent)]
    Refused(Rejection),
    /// No program of the bot reads lines of people now, or not about that task.
    #[error("{0}")]
    BotTakesNoInput(String),
    /// The cursor is not one that this list gave out.
    #[error("the cursor is not one of this list")]
    BadCursor,
    /// The disk is full.
    #[error("the disk is full{0}; nothing was changed")]
    StorageFull(Shortage),
    /// The files of the hive are no longer where they were opened.
    #[error("{0}")]
    DataGone(String),
    /// Too much waits already.
    #[error("the hive is overloaded")]
    Overloaded,
    /// The read took longer than it may.
    #[error("the read took longer than store.read_timeout")]
    ReadTimeout,
    /// The settings file cannot be used, with its problems.
    #[error("the settings cannot be used: {}", .0.join("; "))]
    SettingsInvalid(Vec<String>),
    /// A part of the hive refuses the settings, with its reason.
    #[error("the settings were refused: {0}; nothing was changed")]
    SettingsRefused(String),
    /// These keys take effect at a start only.
    #[error(
        "{} {} effect at the next start; nothing was changed",
        .0.join(", "),
        if .0.len() == 1 { "takes" } else { "take" }
    )]
    RestartNeeded(Vec<String>),
    /// The settings in force wait for their confirmation.
    #[error("version {version} of the settings waits for its confirmation")]
    ConfirmationPending {
        /// The version.
        version: u64,
    },
    /// Nothing waits for a confirmation.
    #[error("no change of settings waits for a confirmation")]
    NothingToConfirm,
    /// There is no other version to put back.
    #[error("there is no such earlier version of the settings")]
    NothingToUndo,
    /// There is no restart: a new start would fail, or one is under way.
    #[error("{0}")]
    RestartRefused(String),
    /// The request about the archive is not possible now.
    #[error("{0}")]
    RecoveryRefused(String),
    /// The action is not possible for this part of the tree, or not now.
    #[error("{0}")]
    PartRefused(String),
    /// The feature is suspended.
    #[error("the feature {feature} is suspended; {instead}")]
    FeatureSuspended {
        /// Name of the feature.
        feature: &'static str,
        /// The way to do without it, or the reason.
        instead: Cow<'static, str>,
    },
    /// The hive is read-only.
    #[error("the hive is read-only; {0}")]
    ReadOnly(String),
    /// Submissions of these priorities are refused for now.
    #[error("tasks of P2 and P3 are refused for now; {reason}")]
    SubmissionsShed {
        /// The level, and its reason.
        reason: String,
        /// The places of the refused tasks.
        refused: Vec<Violation>,
    },
    /// The audit trail cannot be written, so nothing may happen that needs an entry.
    #[error("{0}; nothing was changed")]
    AuditUnavailable(String),
    /// The hive is starting or stopping.
    #[error("the hive is {0}")]
    Unavailable(&'static str),
    /// The request was accepted, and it is not known whether it was carried out.
    #[error(
        "the store's writer ended while the request was under way; it may or may not have been carried out"
    )]
    OutcomeUnknown,
    /// The archive cannot be written, and every change must be in it before its answer.
    #[error("the archive cannot be written, and recovery.mode is sync; nothing was changed")]
    ArchiveUnreachable,
    /// A bug or a broken machine. The text is for the log, not for callers.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<StoreError> for HiveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Full(shortage) => Self::StorageFull(shortage),
            StoreError::Gone(adrift) => Self::DataGone(adrift.to_string()),
            StoreError::Busy => Self::Overloaded,
            StoreError::ReadTimeout => Self::ReadTimeout,
            StoreError::Closed => Self::Unavailable("starting or stopping"),
            StoreError::Unknown => Self::OutcomeUnknown,
            StoreError::Unarchived => Self::ArchiveUnreachable,
            StoreError::BadCursor => Self::BadCursor,
            StoreError::Failed(reason) => Self::Internal(reason),
        }
    }
}

impl From<Rejection> for HiveError {
    fn from(refusal: Rejection) -> Self {
        match refusal {
            Rejection::NoSuchTask(id) => Self::NotFound {
                kind: "task",
                id: id.to_string(),
            },
            Rejection::NoSuchBot(name) => Self::NotFound {
                kind: "bot",
                id: name.to_string(),
            },
            Rejection::NoSuchKey(id) => Self::NotFound {
                kind: "key",
                id: id.to_string(),
            },
            Rejection::NoSuchUser(name) => Self::NotFound {
                kind: "user",
                id: name,
            },
            Rejection::NoSuchAlert(id) => Self::NotFound {
                kind: "alert",
                id: id.to_string(),
            },
            Rejection::NoSuchSession(id) => Self::NotFound {
                kind: "session",
                id: id.to_string(),
            },
            Rejection::NoSuchMessage(id) => Self::NotFound {
                kind: "message",
                id: id.to_string(),
            },
            Rejection::NoSuchWebhook(id) => Self::NotFound {
                kind: "webhook",
                id: id.to_string(),
            },
            Rejection::NoSuchDelivery(id) => Self::NotFound {
                kind: "delivery",
                id: id.to_string(),
            },
            Rejection::NoSuchReplay(id) => Self::NotFound {
                kind: "replay",
                id: id.to_string(),
            },
            Rejection::NoSuchSecret(name) => Self::NotFound {
                kind: "secret",
                // Bots are named as their user names them: without the scope.
                id: name.for_bots().unwrap_or(name.as_str()).to_owned(),
            },
            Rejection::Invalid(violations) => Self::Invalid(violations),
            other => Self::Refused(other),
        }
    }
}

impl From<KeyError> for HiveError {
    fn from(error: KeyError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// An error that keeps a hive from starting.
#[derive(Debug, thiserror::Error)]
pub enum HiveStartError {
    /// A restored store cannot take its place.
    #[error(
        "a restore in place cannot be finished: {0}; see the directory restore in the data directory"
    )]
    Restore(std::io::Error),
    /// The settings do not fit the restored store.
    #[error("the settings cannot be used with the restored store: {0}")]
    RestoredSettings(ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] OpenError),
    /// The store does not accept the writes of a start.
    #[error("the store cannot be written: {0}")]
    Write(#[from] StoreError),
    /// The settings were changed by another process while this one started.
    #[error("the settings were changed by another process during the start; start again")]
    SettingsMoved,
    /// A part did not start.
    #[error("{0}")]
    Part(#[from] StartError),
    /// The keys of the secret store cannot be read or made.
    #[error("{path}: the keys of the secret store cannot be used: {reason}")]
    SecretsKey {
        /// Path of the file with the keys.
        path: PathBuf,
        /// Reason of the failure.
        reason: String,
    },
    /// Programs cannot be watched.
    #[error("the reaper of the bots' programs cannot be started: {0}")]
    Reaper(std::io::Error),
    /// The first admin key cannot be made.
    #[error("{path}: the admin key cannot be written: {reason}")]
    AdminKey {
        /// Path of the file for the key.
        path: PathBuf,
        /// Reason of the failure.
        reason: String,
    },
}

impl From<Rejection> for HiveStartError {
    fn from(refusal: Rejection) -> Self {
        Self::Write(refusal.into())
    }
}

impl From<HiveStartError> for HiveError {
    fn from(error: HiveStartError) -> Self {
        Self::Internal(error.to_string())
    }
}
