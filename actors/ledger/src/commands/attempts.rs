//! Commands about attempts at tasks: for the scheduler and the bots.

use std::time::Duration;

use deia_model::{AttemptEnd, BotName, LeaseToken, Task, TaskId, TaskStatus, Timestamp};

use super::{Command, Reply, ledger_command};

/// A ready task that a bot shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The task.
    pub task: TaskId,
    /// The bot.
    pub bot: BotName,
    /// The token that every later write about this attempt carries.
    pub lease: LeaseToken,
    /// The start of the bot that holds it.
    pub incarnation: u64,
    /// The lease expires after so long, unless it is extended; `None`: it ends with its
    /// bot.
    pub expires_after: Option<Duration>,
}

/// A claimed task with all that its executor needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedTask {
    /// The task as it now stands, content included.
    pub task: Task,
    /// The bot that has it.
    pub bot: BotName,
    /// Number of the start of the bot that it was claimed for. No other start gets it.
    pub incarnation: u64,
    /// The token of this attempt.
    pub lease: LeaseToken,
}

/// A report of the holder of a lease on the end of its attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptReport {
    /// The task.
    pub task: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The token of the attempt.
    pub lease: LeaseToken,
    /// The end.
    pub end: AttemptEnd,
    /// The answer of the bot.
    pub output: Option<String>,
    /// Length of the whole output in bytes, when it is in a file.
    pub output_bytes: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// Exit code of a program.
    pub exit_code: Option<i32>,
    /// Time that it ran, in milliseconds.
    pub execution_time_ms: u64,
    /// Tokens used.
    pub tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    pub cost_cents: Option<u64>,
}

impl AttemptReport {
    /// Reports that a task goes back unharmed.
    pub fn given_back(claimed: &ClaimedTask, reason: &str) -> Self {
        Self {
            task: claimed.task.id,
            attempt: claimed.task.attempt,
            lease: claimed.lease,
            end: AttemptEnd::GivenBack,
            output: None,
            output_bytes: None,
            error: Some(reason.to_owned()),
            exit_code: None,
            execution_time_ms: 0,
            tokens_used: None,
            cost_cents: None,
        }
    }
}

/// A report on the progress of a running attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProgressReport {
    /// The task.
    pub task: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The token of the attempt.
    pub lease: LeaseToken,
    /// Progress, 0 to 1.
    pub progress: f64,
}

/// The outcome of one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishOutcome {
    /// Recorded; the task is now in this status.
    Recorded(TaskStatus),
    /// The lease is not, or no longer, in force. Nothing was changed.
    Stale,
}

/// Increments of the counters of a bot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BotDelta {
    /// Attempts that ended well.
    pub completed: u64,
    /// Attempts that ended badly.
    pub failed: u64,
}

/// Gives ready tasks to bots. Tasks that are no longer ready are left out of the reply.
#[derive(Clone, Debug)]
pub struct ClaimTasks(pub Vec<Claim>);

/// Result of [`ClaimTasks`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// Claimed tasks, in the order of the claims.
    pub tasks: Vec<ClaimedTask>,
    /// Tasks that are ready but were not claimed: paused, or too much at once.
    pub deferred: Vec<TaskId>,
}

ledger_command!(ClaimTasks, Command::ClaimTasks, Claimed, Reply::Claimed(claimed) => claimed);

/// Records how attempts ended, each on its own. Replies with one outcome for each
/// report, in order.
#[derive(Clone, Debug)]
pub struct FinishAttempts(pub Vec<AttemptReport>);

ledger_command!(
    FinishAttempts,
    Command::FinishAttempts,
    Vec<FinishOutcome>,
    Reply::Finished(outcomes) => outcomes
);

/// Extends leases that expire. Replies for each, in order, with `true` if it is in force.
#[derive(Clone, Debug)]
pub struct ExtendLeases {
    /// The leases.
    pub leases: Vec<HeldLease>,
    /// Time after which they expire.
    pub expires_after: Duration,
}

ledger_command!(ExtendLeases, Command::ExtendLeases, Vec<bool>, Reply::Extended(held) => held);

/// The lease of an attempt, as its holder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// The task.
    pub task: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The token of the attempt.
    pub lease: LeaseToken,
}

/// Gives back the tasks that these bots hold by leases of this node that end with their
/// bot. Leases that expire are left: their holders may work elsewhere. Replies with the
/// number of tasks.
#[derive(Clone, Debug)]
pub struct ReleaseLeases {
    /// The bots.
    pub bots: Vec<BotName>,
    /// Only attempts that started before then; later ones are those of a newer
    /// incarnation of the bot than the caller knows of.
    pub started_before: Option<Timestamp>,
    /// End of their attempts.
    pub end: AttemptEnd,
    /// Reason, in a sentence.
    pub reason: String,
}

ledger_command!(ReleaseLeases, Command::ReleaseLeases, u64, Reply::Done(n) => n);

/// Notes how far attempts are. Stale reports are left out. Replies with how many were
/// noted.
#[derive(Clone, Debug)]
pub struct NoteProgress(pub Vec<ProgressReport>);

ledger_command!(NoteProgress, Command::NoteProgress, u64, Reply::Done(n) => n);
