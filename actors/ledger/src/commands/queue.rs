//! Commands about the queue as a whole.

use deia_model::{TaskId, TaskType};

use super::{Command, Reply, ledger_command};

/// Does the work that is due: makes tasks ready whose time has come, fails those that
/// have expired, settles those that depend on ended ones; at most `limit` each. Replies
/// with how many were touched.
#[derive(Clone, Debug)]
pub struct RunDue {
    /// Maximum number of each.
    pub limit: u32,
}

ledger_command!(RunDue, Command::RunDue, u64, Reply::Done(n) => n);

/// Starts no more tasks, or none of one type. Replies with whether that is new.
#[derive(Clone, Debug)]
pub struct PauseQueue {
    /// Type of the tasks; `None`: all.
    pub task_type: Option<TaskType>,
    /// Name of the caller.
    pub actor: String,
    /// Reason for those who ask why nothing starts.
    pub reason: Option<String>,
}

ledger_command!(PauseQueue, Command::PauseQueue, bool, Reply::Done(n) => n > 0);

/// Starts tasks again. Another pause may still hold them. Replies with whether there was
/// such a pause.
#[derive(Clone, Debug)]
pub struct ResumeQueue {
    /// The pause of this type; `None`: that of the whole queue.
    pub task_type: Option<TaskType>,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(ResumeQueue, Command::ResumeQueue, bool, Reply::Done(n) => n > 0);

/// Forgets these tasks if they are past their retention, and idempotency keys that are
/// past their time.
#[derive(Clone, Debug)]
pub struct Prune {
    /// The tasks.
    pub tasks: Vec<TaskId>,
}

/// Result of [`Prune`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Tasks that are gone.
    pub tasks: Vec<TaskId>,
    /// True if there may be more idempotency keys past their time.
    pub more_keys: bool,
}

ledger_command!(Prune, Command::Prune, Pruned, Reply::Pruned(pruned) => pruned);
