//! Commands of callers about tasks.

use deia_model::{NewTask, Role, Submitted, Task, TaskId};

use super::{Command, Reply, ledger_command};

/// Makes a repeated request harmless: the same key and fingerprint give the same
/// answer, another fingerprint is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's `Idempotency-Key`.
    pub key: String,
    /// SHA-256 of the request.
    pub fingerprint: [u8; 32],
}

/// Accepts tasks, all or none.
#[derive(Clone, Debug)]
pub struct Submit {
    /// Tasks, already checked against the limits.
    pub tasks: Vec<NewTask>,
    /// Name of the caller.
    pub submitter: String,
    /// Role that the caller acts with.
    pub role: Role,
    /// Makes a repetition harmless.
    pub idempotency: Option<Idempotency>,
}

/// Accepted tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The answers, one for each task, in order.
    pub tasks: Vec<Submitted>,
    /// True if this is the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

ledger_command!(Submit, Command::Submit, Submission, Reply::Submitted(done) => done);

/// Cancels a task. A running task is marked, and its bot notified. Replies with the
/// changed task.
#[derive(Clone, Debug)]
pub struct CancelTask {
    /// The task.
    pub task: TaskId,
    /// Name of the caller.
    pub actor: String,
    /// If true, refuses to cancel a running task.
    pub only_waiting: bool,
}

ledger_command!(CancelTask, Command::CancelTask, Task, Reply::Task(task) => *task);

/// Puts a finished task back into the queue, with all its attempts restored. Replies
/// with the changed task.
#[derive(Clone, Debug)]
pub struct RetryTask {
    /// The task.
    pub task: TaskId,
    /// Name of the caller.
    pub actor: String,
    /// If true, refuses unless the task failed, since somebody else may have put it
    /// back meanwhile.
    pub only_failed: bool,
    /// Role that the caller acts with.
    pub role: Role,
}

ledger_command!(RetryTask, Command::RetryTask, Task, Reply::Task(task) => *task);

/// Erases the content and the outcome of a finished task; its record stays. Replies
/// with `false` if it was erased before.
#[derive(Clone, Debug)]
pub struct EraseTask {
    /// The task.
    pub task: TaskId,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(EraseTask, Command::EraseTask, bool, Reply::Done(n) => n > 0);
