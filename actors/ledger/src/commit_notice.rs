//! Notices that a store sends right after a commit. They may be lost, so their
//! receivers also poll the store from time to time.

use deia_model::{BotGeneration, BotName, NewEvent, Priority, TaskId, TaskType, WebhookId};

use super::{Demand, LaneStats};

/// A ready task, reduced to what the scheduler needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyTask {
    /// The task.
    pub id: TaskId,
    /// Position in the order of submission; opaque but for its order.
    pub order: i64,
    /// Demand on the bot.
    pub demand: Demand,
    /// Priority of the task.
    pub priority: Priority,
    /// Time at which it became ready, in milliseconds since the epoch.
    pub ready_at: i64,
    /// Bot of its last attempt: another one is preferred. `None` before the first.
    pub last_bot: Option<BotName>,
}

/// A running attempt that is to be cancelled. The number of the attempt fences
/// the order: it never reaches a later attempt at the same task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelling {
    /// The task.
    pub task: TaskId,
    /// The attempt that ran when the cancellation was requested.
    pub attempt: u32,
    /// The bot that runs it.
    pub bot: BotName,
    /// The reason stored with the task, such as `cancelled by ada`.
    pub words: String,
}

/// The number of ready tasks of one demand and priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyLane {
    /// Their demand.
    pub demand: Demand,
    /// Their priority.
    pub priority: Priority,
    /// Number of tasks.
    pub tasks: u64,
}

/// A change made by a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitNotice {
    /// A task became ready.
    Ready(ReadyTask),
    /// A task waits until this time (milliseconds since the epoch).
    Due(i64),
    /// A task reached its final status.
    Finished(TaskId),
    /// Cancellation of a running task was requested.
    CancelRequested(Cancelling),
    /// A bot or its desired state changed.
    BotChanged {
        /// The bot.
        bot: BotName,
        /// The generation that may take tasks from this commit on, if any.
        eligible: Option<BotGeneration>,
    },
    /// Keys changed.
    KeysChanged,
    /// Web sessions changed.
    WebSessionsChanged,
    /// Endpoints changed.
    WebhooksChanged,
    /// An endpoint has this version now.
    WebhookVersion(WebhookId, u64),
    /// There is work for an endpoint: a delivery that is due, or a replay began or ended.
    WebhookWork(WebhookId),
    /// A bot has a new message.
    MessageSent(BotName),
    /// The pauses changed.
    PausesChanged,
    /// An event was recorded that belongs into the server's log.
    Logged(Box<NewEvent>),
    /// Events were appended; the number is that of the newest.
    EventsAppended(u64),
    /// Statistics of each lane in this commit.
    LaneStats(Vec<(TaskType, Priority, LaneStats)>),
}
