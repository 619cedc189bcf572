//! What a store tells right after a commit. Hints may be lost, so whoever acts
//! on one also looks at the store from time to time.

use deia_model::{BotGeneration, BotName, NewEvent, Priority, TaskId, TaskType};

use super::{Demand, Flow};

/// A ready task, as small as the scheduler needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyTask {
    /// The task.
    pub id: TaskId,
    /// Its place in the order of submission; opaque but for its order.
    pub order: i64,
    /// Demand on the bot.
    pub demand: Demand,
    /// How urgent it is.
    pub priority: Priority,
    /// Since when it is ready, in milliseconds since the epoch.
    pub ready_at: i64,
}

/// A running attempt that is to be cancelled. The number of the attempt fences
/// the order: it never reaches a later attempt at the same task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelling {
    /// The task.
    pub task: TaskId,
    /// The attempt that ran when the cancellation was asked for.
    pub attempt: u32,
    /// The bot that has it.
    pub bot: BotName,
    /// The words of the task about it, such as `cancelled by ada`.
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

/// Something that a commit has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A task became ready.
    Ready(ReadyTask),
    /// A task waits until that time (milliseconds since the epoch).
    Due(i64),
    /// A task reached its final status.
    Finished(TaskId),
    /// A running task shall be cancelled.
    CancelRequested(Cancelling),
    /// A bot or what is desired of it changed.
    BotChanged {
        /// The bot.
        bot: BotName,
        /// The generation that may be given tasks from this commit on, if any.
        eligible: Option<BotGeneration>,
    },
    /// Keys changed.
    KeysChanged,
    /// Sessions in browsers changed.
    LoginsChanged,
    /// What is paused changed.
    PausesChanged,
    /// An event was recorded of which the server's log tells.
    Logged(Box<NewEvent>),
    /// Events were appended; this is the number of the newest.
    EventsAppended(u64),
    /// What flowed through each lane in this commit.
    Flow(Vec<(TaskType, Priority, Flow)>),
}
