//! Commands about attempts at tasks, used by the scheduler and the bots.

use std::time::Duration;

use deia_model::{
    AttemptEnd, BotName, FailureClass, LeaseToken, Task, TaskId, TaskStatus, Timestamp,
};

use super::{Command, Reply, ledger_command};

/// The assignment of a ready task to a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The task.
    pub task: TaskId,
    /// The bot.
    pub bot: BotName,
    /// The token that every later write about this attempt carries.
    pub lease: LeaseToken,
    /// Number of the start of the bot.
    pub incarnation: u64,
    /// Time after which the lease expires unless it is extended; `None`: it ends with
    /// its bot.
    pub expires_after: Option<Duration>,
    /// Bot for which the bot takes the task; `None`: it takes tasks of this type anyway.
    pub stands_in_for: Option<BotName>,
}

/// A claimed task with everything that its executor needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedTask {
    /// The task after the claim, content included.
    pub task: Task,
    /// The bot that it was assigned to.
    pub bot: BotName,
    /// Number of the start of the bot. The task is delivered to no other start.
    pub incarnation: u64,
    /// The token of this attempt.
    pub lease: LeaseToken,
}

/// The report of the end of an attempt, by the holder of its lease.
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
    /// The output of the bot.
    pub output: Option<String>,
    /// Length of the whole output in bytes, if it is stored in a file.
    pub output_bytes: Option<u64>,
    /// Reason for a failure.
    pub error: Option<String>,
    /// Exit code of a program.
    pub exit_code: Option<i32>,
    /// Duration of the attempt, in milliseconds.
    pub execution_time_ms: u64,
    /// Tokens used.
    pub tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    pub cost_cents: Option<u64>,
    /// Class of a failure, if the executor named one.
    pub failure_class: Option<FailureClass>,
}

impl AttemptReport {
    /// Creates a report that a task is returned unharmed.
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
            failure_class: None,
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
pub enum ReportAck {
    /// Recorded; the task is now in this status.
    Recorded(TaskStatus),
    /// The lease is not in force. Nothing was changed.
    Stale,
}

/// Increments of the counters of a bot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BotDelta {
    /// Attempts that succeeded.
    pub completed: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// Assigns ready tasks to bots. Tasks that are no longer ready are left out of the
/// reply.
#[derive(Clone, Debug)]
pub struct ClaimTasks(pub Vec<Claim>);

/// Result of [`ClaimTasks`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// Claimed tasks, in the order of the claims.
    pub tasks: Vec<ClaimedTask>,
    /// Tasks that are ready but were not claimed: paused, or beyond the byte limit.
    pub deferred: Vec<TaskId>,
}

ledger_command!(ClaimTasks, Command::ClaimTasks, Claimed, Reply::Claimed(claimed) => claimed);

/// Records the ends of attempts, each independently. Replies with one outcome for each
/// report, in order.
#[derive(Clone, Debug)]
pub struct FinishAttempts(pub Vec<AttemptReport>);

ledger_command!(
    FinishAttempts,
    Command::FinishAttempts,
    Vec<ReportAck>,
    Reply::Finished(outcomes) => outcomes
);

/// Records the end of an attempt that its bot reports from outside of the hive. Unlike
/// with [`FinishAttempts`], the lease stays with the end, so that a report whose answer
/// was lost can be repeated.
#[derive(Clone, Debug)]
pub struct FinishHeld {
    /// The bot that reports. A report about a task of another bot is stale.
    pub bot: BotName,
    /// The report.
    pub report: AttemptReport,
}

ledger_command!(FinishHeld, boxed, HeldAck, Reply::HeldFinished(ack) => ack);

fn boxed(command: FinishHeld) -> Command {
    Command::FinishHeld(Box::new(command))
}

/// The outcome of a [`FinishHeld`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldAck {
    /// Recorded; the task is now in this status.
    Recorded(TaskStatus),
    /// The attempt was reported under this lease before; the task is now in this status.
    Repeated(TaskStatus),
    /// The lease is not in force. Nothing was changed.
    Stale,
}

/// Extends leases that expire. Replies for each, in order, with `true` if the lease is
/// in force.
#[derive(Clone, Debug)]
pub struct ExtendLeases {
    /// The leases.
    pub leases: Vec<HeldLease>,
    /// Time after which they expire.
    pub expires_after: Duration,
}

/// Makes a lease that ends with its bot one that expires by time: the attempt goes on without the
/// bot and without the hive. Replies `true` if the lease is in force.
#[derive(Clone, Debug)]
pub struct HoldLease {
    /// The lease.
    pub lease: HeldLease,
    /// Time after which it expires.
    pub expires_after: Duration,
}

/// A running attempt under a lease that expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAttempt {
    /// The lease.
    pub lease: HeldLease,
    /// Time of the start.
    pub started_at: Timestamp,
    /// Time at which the lease expires.
    pub expires_at: Timestamp,
    /// Time limit of the attempt, in seconds.
    pub timeout_seconds: u64,
    /// Reason of a requested cancellation.
    pub cancelled: Option<String>,
}

ledger_command!(HoldLease, Command::HoldLease, bool, Reply::Done(n) => n > 0);
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

/// Releases the tasks that these bots hold by leases of this node that end with their
/// bot. Leases with an expiry are left alone: their holders may work elsewhere. Replies
/// with the number of tasks.
#[derive(Clone, Debug)]
pub struct ReleaseLeases {
    /// The bots.
    pub bots: Vec<BotName>,
    /// If set, only attempts that started earlier: later ones belong to a newer
    /// incarnation of the bot than the caller knows.
    pub started_before: Option<Timestamp>,
    /// The end recorded for their attempts.
    pub end: AttemptEnd,
    /// Reason, in a sentence.
    pub reason: String,
}

ledger_command!(ReleaseLeases, Command::ReleaseLeases, u64, Reply::Done(n) => n);

/// Records the progress of attempts. Stale reports are ignored. Replies with the number
/// recorded.
#[derive(Clone, Debug)]
pub struct NoteProgress(pub Vec<ProgressReport>);

ledger_command!(NoteProgress, Command::NoteProgress, u64, Reply::Done(n) => n);
