//! Commands about the queue as a whole.

use deia_model::{TaskId, TaskType};

use super::{Command, Reply, ledger_command};

/// Does the work that is due: makes tasks ready whose time has come, fails those that
/// have expired, settles those that depend on finished ones; at most `limit` of each.
/// Replies with the number of changed tasks.
#[derive(Clone, Debug)]
pub struct RunDue {
    /// Maximum number of each.
    pub limit: u32,
}

ledger_command!(RunDue, Command::RunDue, u64, Reply::Done(n) => n);

/// Pauses the queue, or one task type. Replies with `false` if it was paused already.
#[derive(Clone, Debug)]
pub struct PauseQueue {
    /// The task type; `None`: all.
    pub task_type: Option<TaskType>,
    /// Name of the caller.
    pub actor: String,
    /// Reason, shown in the state of the queue.
    pub reason: Option<String>,
}

ledger_command!(PauseQueue, Command::PauseQueue, bool, Reply::Done(n) => n > 0);

/// Ends a pause. Another pause may still apply. Replies with whether there was such a
/// pause.
#[derive(Clone, Debug)]
pub struct ResumeQueue {
    /// The pause of this type; `None`: that of the whole queue.
    pub task_type: Option<TaskType>,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(ResumeQueue, Command::ResumeQueue, bool, Reply::Done(n) => n > 0);

/// Deletes these tasks if they are past their retention, and idempotency keys that are
/// past theirs.
#[derive(Clone, Debug)]
pub struct Prune {
    /// The tasks.
    pub tasks: Vec<TaskId>,
}

/// Result of [`Prune`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Tasks that were deleted.
    pub tasks: Vec<TaskId>,
    /// True if there may be more idempotency keys past their time.
    pub more_keys: bool,
}

ledger_command!(Prune, Command::Prune, Pruned, Reply::Pruned(pruned) => pruned);
