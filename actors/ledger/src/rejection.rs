//! Reasons why commands are refused.

use deia_model::{
    AlertId, BotMessageId, BotName, DeliveryStatus, KeyId, MessageId, Position, ReplayId,
    SecretName, SessionId, TaskId, TaskStatus, Violation, WebSessionId, WebhookId,
};

/// Reason why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such task.
    #[error("there is no task \"{0}\"")]
    NoSuchTask(TaskId),
    /// No such bot.
    #[error("there is no bot \"{0}\"")]
    NoSuchBot(BotName),
    /// No such key.
    #[error("there is no key \"{0}\"")]
    NoSuchKey(KeyId),
    /// The task has a final status already.
    #[error("task {0} is {1} already", task, status.as_str())]
    TaskIsFinal {
        /// The task.
        task: TaskId,
        /// Status of the task.
        status: TaskStatus,
    },
    /// The task is running.
    #[error("task {0} is running already")]
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
    /// The cursor of a follower is not at the expected position.
    #[error("the follower's cursor is at {at}")]
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
    /// The maximum number of secrets is reached.
    #[error("there are {limit} secrets already (secrets.max)")]
    TooManySecrets {
        /// Maximum number of secrets.
        limit: u32,
    },
    /// Too many tasks wait for a task that this one depends on.
    #[error(
        "{limit} tasks wait for {parent}, a dependency of this task; that is the limit (tasks.max_dependents)"
    )]
    TooManyDependents {
        /// The task that this one depends on.
        parent: TaskId,
        /// Maximum number of tasks that may wait for it.
        limit: u32,
    },
    /// The submitter has as many waiting tasks, or bytes, as allowed.
    #[error(
        "{waiting} {what} of this submitter wait, and the limit is {limit} (tasks.per_submitter.*.{setting})"
    )]
    QueueShareUsedUp {
        /// The unit: tasks or bytes.
        what: &'static str,
        /// The amount that waits.
        waiting: u64,
        /// The maximum amount.
        limit: u64,
        /// The key of the setting.
        setting: &'static str,
    },
    /// The maximum number of waiting tasks is reached.
    #[error("{limit} tasks wait, and that is the limit (tasks.max_waiting)")]
    QueueFull {
        /// Maximum number of tasks that may wait.
        limit: u64,
    },
    /// Another unfinished task has the same `dedup_key`.
    #[error("the unfinished task {0} has the same dedup_key")]
    DedupKeyInUse(TaskId),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// The stored version differs.
    #[error("version {expected} was expected, {actual} is stored")]
    VersionMismatch {
        /// Expected version; 0: none.
        expected: u64,
        /// Stored version; 0: none.
        actual: u64,
    },
    /// The bot is launched, or holds tasks.
    #[error("bot \"{0}\" is launched or runs tasks; stop it first")]
    BotInUse(BotName),
    /// The maximum number of bots is reached, or no port is left.
    #[error("no more bots can be added: {0}")]
    NoRoomForBot(String),
    /// No such endpoint.
    #[error("there is no webhook {0}")]
    NoSuchWebhook(WebhookId),
    /// No such delivery to that endpoint.
    #[error("there is no delivery {0}, or it is past webhooks.history")]
    NoSuchDelivery(MessageId),
    /// No such replay.
    #[error("there is no replay {0}")]
    NoSuchReplay(ReplayId),
    /// The maximum number of endpoints is reached.
    #[error("no more webhooks can be registered: {0}")]
    TooManyWebhooks(&'static str),
    /// The endpoint is disabled.
    #[error("webhook {0} is disabled; enable it first")]
    WebhookDisabled(WebhookId),
    /// A replay of the endpoint runs.
    #[error("a replay of webhook {0} is running; wait for its end or stop it")]
    ReplayRunning(WebhookId),
    /// No such session, or none of the caller.
    #[error("there is no session {0}")]
    NoSuchSession(SessionId),
    /// The user has as many active sessions as allowed.
    #[error(
        "this user has {limit} active sessions, and that is the limit (messaging.sessions.max_per_user)"
    )]
    TooManySessions {
        /// Maximum number of active sessions of a user.
        limit: u32,
    },
    /// No such message, or none that the caller may see.
    #[error("there is no message {0}")]
    NoSuchMessage(BotMessageId),
    /// The message failed or expired before it was read.
    #[error("message {message} is {status}; it cannot be read any more")]
    MessageIsOver {
        /// The message.
        message: BotMessageId,
        /// State of the message.
        status: DeliveryStatus,
    },
    /// The receiver has as many unread messages as allowed.
    #[error(
        "the inbox of bot \"{receiver}\" has {limit} unread messages, and that is the limit (messaging.max_inbox)"
    )]
    InboxFull {
        /// The receiver.
        receiver: BotName,
        /// Maximum number of unread messages.
        limit: u32,
    },
    /// No such user.
    #[error("there is no user {0:?}")]
    NoSuchUser(String),
    /// A user of this name exists already.
    #[error("there is a user {0:?} already")]
    UserExists(String),
    /// There are tasks of a deleted user of the same name.
    #[error(
        "there are tasks of an earlier user {0:?}, which a new one would see; choose another name, or cancel those that wait and try again when all are past their retention"
    )]
    NameHasTasks(String),
    /// The key was revoked or has expired.
    #[error("key {0} is revoked or has expired; create a new one")]
    KeyNotInForce(KeyId),
    /// Two keys of the same family are in force.
    #[error("key {0} is being rotated: two keys are in force; revoke one of them first")]
    RotationRunning(KeyId),
    /// The maximum number of users or keys is reached.
    #[error("the limit is reached: {0}")]
    NoRoomForAccess(&'static str),
    /// The change would leave nobody who can create keys.
    #[error(
        "this is the last admin key in force, or the last that neither expires nor is restricted to addresses"
    )]
    LastAdminKey,
    /// An earlier request with the same idempotency key created the key, whose text is
    /// not stored.
    #[error("this request created the key {0} already; its text was shown only then")]
    KeyMadeAlready(KeyId),
    /// The change would leave no user who can create keys.
    #[error(
        "the user {0:?} has the last admin key in force, or the last that neither expires nor is restricted to addresses"
    )]
    LastAdmin(String),
    /// The maximum number of sessions is reached.
    #[error("the maximum number of web sessions is open (auth.sessions.max)")]
    TooManyWebSessions,
    /// An earlier request with the same idempotency key opened the session, whose
    /// cookie is not stored.
    #[error("this request opened the session {0} already; its cookie was sent only then")]
    WebSessionOpenedAlready(WebSessionId),
    /// The caller's access has changed since the request was admitted.
    #[error("the access of the caller changed while the request was under way")]
    AccessChanged,
    /// The input cannot be stored as it is.
    #[error("the input is not valid")]
    Invalid(Vec<Violation>),
}
