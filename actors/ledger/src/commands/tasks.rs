//! Commands about tasks, for those who submit them.

use deia_model::{NewTask, Role, Submitted, Task, TaskId};

use super::{Command, Reply, ledger_command};

/// Makes a repeated submission harmless: the same key and fingerprint give the
/// same answer, another fingerprint is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// The caller's `Idempotency-Key`.
    pub key: String,
    /// SHA-256 of what the caller sent.
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
    pub dedup: Option<Dedup>,
}

/// Accepted tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The answers, one for each task, in order.
    pub tasks: Vec<Submitted>,
    /// True if this repeats the answer to an earlier request with the same key.
    pub replayed: bool,
}

ledger_command!(Submit, Command::Submit, Submission, Reply::Submitted(done) => done);

/// Cancels a task. A running one is marked, and its bot told. Replies with the task as
/// it now stands.
#[derive(Clone, Debug)]
pub struct CancelTask {
    /// The task.
    pub task: TaskId,
    /// Name of the caller.
    pub actor: String,
    /// Refuse if the task runs.
    pub only_waiting: bool,
}

ledger_command!(CancelTask, Command::CancelTask, Task, Reply::Task(task) => *task);

/// Puts a task that has ended back into the queue, with all its attempts. Replies with
/// the task as it now stands.
#[derive(Clone, Debug)]
pub struct RetryTask {
    /// The task.
    pub task: TaskId,
    /// Name of the caller.
    pub actor: String,
    /// Refuse if the task did not fail: somebody else has put it back meanwhile.
    pub only_failed: bool,
    /// Role that the caller acts with.
    pub role: Role,
}

ledger_command!(RetryTask, Command::RetryTask, Task, Reply::Task(task) => *task);

/// Erases the content of a task that has ended, and all that came of it; its record
/// stays. Replies with `false` when that was done before.
#[derive(Clone, Debug)]
pub struct EraseTask {
    /// The task.
    pub task: TaskId,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(EraseTask, Command::EraseTask, bool, Reply::Done(n) => n > 0);
