//! Reasons why commands are refused.

use deia_model::{
    AlertId, BotName, KeyId, LoginId, Position, SecretName, TaskId, TaskStatus, Violation,
};

/// Reason why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such task.
    #[error("there is no task \"{0}\"")]
    NoSuchTask(TaskId),
    /// No such bot.
    #[error("there is no bot \"{0}\"")]
    NoSuchBot(BotName),
    /// No such key.
    #[error("there is no key \"{0}\"")]
    NoSuchKey(KeyId),
    /// The task has its final status already.
    #[error("task {0} is {1} already", task, status.as_str())]
    TaskIsFinal {
        /// The task.
        task: TaskId,
        /// Status of the task.
        status: TaskStatus,
    },
    /// The task runs.
    #[error("task {0} runs already")]
    TaskIsRunning(TaskId),
    /// The task has not ended.
    #[error("task {0} is {1}", task, status.as_str())]
    TaskIsUnfinished {
        /// The task.
        task: TaskId,
        /// Status of the task.
        status: TaskStatus,
    },
    /// The content of the task was erased.
    #[error("the content of task {0} was erased")]
    TaskIsErased(TaskId),
    /// The cursor of a follower does not stand where it was said to.
    #[error("the follower's cursor stands at {at}")]
    CursorMoved {
        /// The position of the cursor.
        at: Position,
    },
    /// No such secret.
    #[error("there is no secret \"{0}\"")]
    NoSuchSecret(SecretName),
    /// No such alert.
    #[error("there is no alert \"{0}\"")]
    NoSuchAlert(AlertId),
    /// As many secrets as are allowed.
    #[error("there are {limit} secrets already (secrets.max)")]
    TooManySecrets {
        /// Maximum number of secrets.
        limit: u32,
    },
    /// Too many tasks wait for one that it depends on.
    #[error(
        "{limit} tasks wait for {parent}, which it depends on; that is the limit (tasks.max_dependents)"
    )]
    TooManyDependents {
        /// The task that it depends on.
        parent: TaskId,
        /// Maximum number of tasks that may wait for it.
        limit: u32,
    },
    /// As many tasks, or bytes, of the submitter wait as may.
    #[error(
        "{waiting} {what} of this submitter wait, and the limit is {limit} (tasks.per_submitter.*.{setting})"
    )]
    QueueShareUsedUp {
        /// Unit that is counted: tasks or bytes.
        what: &'static str,
        /// Amount that waits.
        waiting: u64,
        /// Amount that may wait.
        limit: u64,
        /// The key of the limit.
        setting: &'static str,
    },
    /// As many tasks wait as may in all.
    #[error("{limit} tasks wait, and that is the limit (tasks.max_waiting)")]
    QueueFull {
        /// Maximum number of tasks that may wait.
        limit: u64,
    },
    /// Another unfinished task has its `dedup_key`.
    #[error("the unfinished task {0} has the same dedup_key")]
    DedupKeyInUse(TaskId),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// The stored version is another.
    #[error("version {expected} was expected, {actual} is stored")]
    VersionMismatch {
        /// Version that the caller expected; 0: none.
        expected: u64,
        /// Version that is stored; 0: none.
        actual: u64,
    },
    /// The bot is meant to run, or has tasks in hand.
    #[error("bot \"{0}\" is launched or has tasks in hand; stop it first")]
    BotInUse(BotName),
    /// As many bots as are allowed, or no port left.
    #[error("there is room for no more bots: {0}")]
    NoRoomForBot(String),
    /// No such user.
    #[error("there is no user {0:?}")]
    NoSuchUser(String),
    /// There is such a user.
    #[error("there is a user {0:?} already")]
    UserExists(String),
    /// There are tasks of a user of that name who was removed.
    #[error(
        "there are tasks of an earlier user {0:?}, which a new one would see; choose another name, or cancel those that wait and try again when all are past their retention"
    )]
    NameHasTasks(String),
    /// The key was revoked or has expired.
    #[error("key {0} is revoked or has expired; make a new one")]
    KeyNotInForce(KeyId),
    /// Two keys of the same family are in force.
    #[error("key {0} is being rotated: two keys are in force; revoke one of them first")]
    RotationRunning(KeyId),
    /// As many users or keys as are allowed.
    #[error("there is room for no more: {0}")]
    NoRoomForAccess(&'static str),
    /// It would leave nobody who can make keys.
    #[error(
        "this is the last admin key in force, or the last that neither expires nor is held to addresses"
    )]
    LastAdminKey,
    /// An earlier request with the same idempotency key made that key, whose text is
    /// not kept.
    #[error("this request made the key {0} already, and its text was shown then only")]
    KeyMadeAlready(KeyId),
    /// It would leave no user who can make keys.
    #[error(
        "the user {0:?} has the last admin key in force, or the last that neither expires nor is held to addresses"
    )]
    LastAdmin(String),
    /// As many sessions as are allowed.
    #[error("there are as many sessions as may be (auth.sessions.max)")]
    TooManyLogins,
    /// An earlier request with the same idempotency key opened that session, whose
    /// cookie is not kept.
    #[error("this request opened the session {0} already, and its cookie was shown then only")]
    LoginOpenedAlready(LoginId),
    /// The caller's access has changed since the request was let in.
    #[error("the access of the caller changed while the request was under way")]
    AccessChanged,
    /// The input cannot be stored as it is.
    #[error("the input is not valid")]
    Invalid(Vec<Violation>),
}
