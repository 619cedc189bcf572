//! Commands, and what comes of them.

use deia_model::{
    AttemptEnd, BotDesired, BotName, BotRecord, BotSpec, KeyInfo, LeaseToken, NewEvent, NewTask,
    Principal, Role, Submitted, Task, TaskId, TaskResult, TaskStatus, TaskType, Timestamp, User,
};

use super::{AccessCommand, Advance, LoginCommand, SecretCommand};

/// Makes a repeated submission harmless: the same key and fingerprint give the
/// same answer, another fingerprint is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// The caller's `Idempotency-Key`.
    pub key: String,
    /// SHA-256 of what the caller sent.
    pub fingerprint: [u8; 32],
}

/// A ready task that a bot shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The task.
    pub task: TaskId,
    /// The bot.
    pub bot: BotName,
    /// The token that every later write about this attempt carries.
    pub lease: LeaseToken,
}

/// A claimed task with all that its executor needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedTask {
    /// The task as it now stands, content included.
    pub task: Task,
    /// The bot that has it.
    pub bot: BotName,
    /// The token of this attempt.
    pub lease: LeaseToken,
}

/// How an attempt ended, reported by whoever holds the lease.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptReport {
    /// The task.
    pub task: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The token of the attempt.
    pub lease: LeaseToken,
    /// How it ended.
    pub end: AttemptEnd,
    /// What the bot answered.
    pub output: Option<String>,
    /// How long the whole of it is, in bytes, when it is in a file.
    pub output_bytes: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// Exit code of a program.
    pub exit_code: Option<i32>,
    /// How long it ran, in milliseconds.
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

/// How far a running attempt is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProgressReport {
    /// The task.
    pub task: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The token of the attempt.
    pub lease: LeaseToken,
    /// How far, 0 to 1.
    pub progress: f64,
}

/// What a report came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishOutcome {
    /// Recorded; the task is now in this status.
    Recorded(TaskStatus),
    /// The lease is not, or no longer, in force. Nothing was changed.
    Stale,
}

/// Something durable to do. Applied whole or not at all.
#[derive(Clone, Debug)]
pub enum Command {
    /// Apply a command for a caller, unless the caller's access has changed since
    /// they were let in: the key is no longer in force, the session is over, the
    /// user is not active, or the rights are others. Checked in the transaction, so
    /// that revocation holds from the next effect on.
    For {
        /// The caller, as they were let in.
        who: Box<Principal>,
        /// The command, which is not itself of this kind.
        command: Box<Command>,
    },
    /// Accept tasks, all or none.
    Submit {
        /// The tasks, already checked against the limits.
        tasks: Vec<NewTask>,
        /// Who submits.
        submitter: String,
        /// The role that they act with.
        role: Role,
        /// To make a repetition harmless.
        dedup: Option<Dedup>,
    },
    /// Give ready tasks to bots. What is no longer ready is left out of the answer.
    Claim(Vec<Claim>),
    /// Record how attempts ended, each on its own.
    Finish(Vec<AttemptReport>),
    /// Give back what these bots have in hand.
    GiveBack {
        /// The bots.
        bots: Vec<BotName>,
        /// Only attempts that started before then; later ones are those of a
        /// newer incarnation of the bot than the caller knows of.
        started_before: Option<Timestamp>,
        /// End of their attempts.
        end: AttemptEnd,
        /// Why, in a sentence.
        reason: String,
    },
    /// Call a task off. A running one is marked, and its bot told.
    Cancel {
        /// The task.
        task: TaskId,
        /// Name of the caller.
        actor: String,
        /// Refuse if it runs.
        only_waiting: bool,
    },
    /// Put a task that has ended back into the queue, with all its attempts.
    Retry {
        /// The task.
        task: TaskId,
        /// Name of the caller.
        actor: String,
        /// Refuse if it did not fail: somebody else has put it back meanwhile.
        only_failed: bool,
        /// The role that they act with.
        role: Role,
    },
    /// Erase the content of a task that has ended, and all that came of it; its
    /// record stays. Answered with 0 when that was done before.
    Erase {
        /// The task.
        task: TaskId,
        /// Name of the caller.
        actor: String,
    },
    /// Note how far attempts are. What is stale is left out.
    Progress(Vec<ProgressReport>),
    /// Do what is due: make tasks ready whose time has come, fail those that
    /// have expired, settle what depends on ended ones; at most `limit` each.
    Promote {
        /// At most this many.
        limit: u32,
    },
    /// Start no more tasks, or none of one type.
    Pause {
        /// Of this type; `None`: at all.
        task_type: Option<TaskType>,
        /// Name of the caller.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// Start tasks again. Another pause may still hold them.
    Resume {
        /// The pause of this type; `None`: that of the whole queue.
        task_type: Option<TaskType>,
        /// Name of the caller.
        actor: String,
    },
    /// Forget these tasks if they are past their retention, and idempotency
    /// keys that are past their time.
    Prune {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Put a bot in place or replace its specification.
    PutBot {
        /// Its name.
        name: BotName,
        /// What it is.
        spec: BotSpec,
        /// Name of the caller.
        actor: String,
        /// Refuse unless the stored version is this one.
        if_version: Option<u64>,
        /// First and last port that may be given to it.
        ports: (u16, u16),
        /// Bots at most.
        max_bots: u32,
    },
    /// Remove a bot that is stopped and has nothing in hand.
    DeleteBot {
        /// Its name.
        name: BotName,
        /// Name of the caller.
        actor: String,
    },
    /// Say whether a bot is meant to run.
    SetDesired {
        /// Its name.
        name: BotName,
        /// Whether.
        desired: BotDesired,
        /// Name of the caller.
        actor: String,
    },
    /// A draining bot has nothing in hand any more: it is stopped, unless
    /// something else is wanted of it by now.
    Drained(BotName),
    /// Do something about users and keys.
    Access(AccessCommand),
    /// Something about sessions in browsers.
    Login(LoginCommand),
    /// Do something about stored secrets.
    Secret(SecretCommand),
    /// Move a follower's cursor, with what comes of the events on the way.
    Advance(Advance),
    /// Forget events that are past retention: the oldest first.
    PruneEvents {
        /// The newest of them.
        upto: u64,
        /// At most this many.
        max: u32,
    },
    /// Record events that come with no other change.
    Record(Vec<NewEvent>),
    /// Write a page that says nothing: a submission could be committed as well.
    Probe,
    /// Note whether the hive is running (so that the next start knows how this run ended).
    MarkRunning(bool),
}

impl Command {
    /// Returns the command that changes something: the inner one of [`Self::For`].
    pub fn effect(&self) -> &Self {
        match self {
            Self::For { command, .. } => command.effect(),
            own => own,
        }
    }
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Of `Submit`.
    Submitted {
        /// One for each task, in order.
        tasks: Vec<Submitted>,
        /// Whether this is the remembered answer to an earlier request.
        replayed: bool,
    },
    /// Of `Claim`.
    Claimed {
        /// What was claimed, in the order of the claims.
        tasks: Vec<ClaimedTask>,
        /// What is ready but was not claimed: paused, or too much at once.
        deferred: Vec<TaskId>,
    },
    /// Of `Finish`: one for each report, in order.
    Finished(Vec<FinishOutcome>),
    /// Of `Cancel` and `Retry`: the task as it now stands.
    Task(Box<Task>),
    /// Of `PutBot` and `SetDesired`.
    Bot {
        /// The bot as it now stands.
        record: Box<BotRecord>,
        /// Whether it is new.
        created: bool,
    },
    /// Of what adds, rotates or revokes a key: the new one, or the one it was.
    Key(Box<KeyInfo>),
    /// Of what adds a key: the new one, whose user was made with it.
    KeyOfNewUser(Box<KeyInfo>),
    /// Of what adds a user.
    NewUser {
        /// As it was made.
        user: User,
        /// Whether an earlier request made it.
        replayed: bool,
    },
    /// Of what changes or removes a user.
    User(User),
    /// Of `Prune`.
    Pruned {
        /// The tasks that are gone.
        tasks: Vec<TaskId>,
        /// Whether there may be more idempotency keys past their time.
        more_keys: bool,
    },
    /// Of the rest: how many were touched.
    Done(u64),
}

/// What commits add to the counters of a bot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BotDelta {
    /// Attempts that ended well.
    pub completed: u64,
    /// Attempts that ended badly.
    pub failed: u64,
}

impl AttemptReport {
    /// The recorded result that this report makes for a final status.
    pub fn into_result(
        self,
        bot: Option<BotName>,
        started_at: Option<Timestamp>,
        completed_at: Timestamp,
    ) -> TaskResult {
        let result = TaskResult {
            task_id: self.task,
            bot_id: bot,
            success: self.end == AttemptEnd::Succeeded,
            output: self.output,
            output_bytes: None,
            output_truncated: false,
            output_url: None,
            error: self.error,
            execution_time_ms: self.execution_time_ms,
            started_at,
            completed_at,
            attempt: self.attempt,
            tokens_used: self.tokens_used,
            cost_cents: self.cost_cents,
            erased_at: None,
            exit_code: self.exit_code,
        };
        result.with_output_bytes(self.output_bytes)
    }
}
