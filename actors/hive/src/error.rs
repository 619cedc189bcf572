//! Errors of the hive: of a start, and of requests while it runs.

use std::path::PathBuf;

use deia_ledger::{Rejection, Shortage, StoreError, store::OpenError};
use deia_model::{KeyError, KeyId, Permission, TaskId, TaskStatus, Violation};
use deia_supervision::StartError;

use crate::data_dir::DataDirError;

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
    #[error("nobody gives what they do not have, and you do not have {}", .0.as_str())]
    MayNotGive(Permission),
    /// The key may be used from addresses that the caller's key may not.
    #[error(
        "nobody gives what they do not have, and key {0} may be used from more addresses than yours"
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
    /// The output is shorter than the requested offset.
    #[error("the output is {length} bytes long")]
    BeyondOutput {
        /// Length of the output in bytes.
        length: u64,
    },
    /// The command does not fit what is stored.
    #[error(transparent)]
    Refused(Rejection),
    /// The cursor is not one that this list gave out.
    #[error("the cursor is not one that this list gave out")]
    BadCursor,
    /// The disk is full.
    #[error("the disk is full{0}; nothing was changed")]
    StorageFull(Shortage),
    /// The files of the hive are no longer where they were opened.
    #[error("{0}")]
    DataGone(String),
    /// Too much waits already.
    #[error("the hive has too much to do already")]
    Overloaded,
    /// The read took longer than it may.
    #[error("the read took longer than store.read_timeout")]
    ReadTimeout,
    /// There is no restart: a new start would fail, or one is under way.
    #[error("{0}")]
    RestartRefused(String),
    /// The action is not possible for this part of the tree, or not now.
    #[error("{0}")]
    PartRefused(String),
    /// The hive is starting or stopping.
    #[error("the hive is {0}")]
    Unavailable(&'static str),
    /// The request was accepted, and it is not known whether it was carried out.
    #[error(
        "the store's writer ended while the request was under way; it may or may not have been carried out"
    )]
    OutcomeUnknown,
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
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] OpenError),
    /// The store does not accept the writes of a start.
    #[error("the store cannot be written: {0}")]
    Write(#[from] StoreError),
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
