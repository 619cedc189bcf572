//! Classes of failures, the same for all executors, and the cost of each: one table.

use serde::{Deserialize, Serialize};

use crate::AttemptEnd;

/// The class of a failure. An executor names the class; [`FailureClass::cost`] decides
/// what it costs the task and the bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Credentials of the bot were refused.
    Auth,
    /// The bot or its provider takes no requests for a while.
    RateLimited,
    /// A quota of the bot at its provider is used up.
    Quota,
    /// The bot or its provider has no capacity now.
    Overloaded,
    /// The task does not fit into the context of the model.
    Context,
    /// The attempt used up its own budget of steps, tokens or money.
    Budget,
    /// The connection to the bot failed after the task may have reached it.
    Transport,
    /// The task can never succeed on any bot.
    Permanent,
    /// The attempt was never begun: the task did not reach the bot.
    NotStarted,
    /// The attempt ran out of time.
    TimedOut,
    /// The attempt failed otherwise.
    Internal,
}

/// The cost of a failure to its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskCost {
    /// Nothing: the task goes back to the queue uncounted.
    Nothing,
    /// One of its attempts.
    Attempt,
    /// All of its attempts: another would fail as well.
    AllAttempts,
}

/// The cost of a failure to its bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BotCost {
    /// Nothing.
    Nothing,
    /// A failure that counts for the circuit of the bot.
    Strike,
    /// The bot takes no tasks until the time that came with the failure, or for a default.
    Pause,
    /// A fault: the bot holds back for a time that doubles, and is shown as unhealthy.
    Fault,
}

/// The cost of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCost {
    /// The cost to the task.
    pub task: TaskCost,
    /// The cost to the bot.
    pub bot: BotCost,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 11] = [
        Self::Auth,
        Self::RateLimited,
        Self::Quota,
        Self::Overloaded,
        Self::Context,
        Self::Budget,
        Self::Transport,
        Self::Permanent,
        Self::NotStarted,
        Self::TimedOut,
        Self::Internal,
    ];

    /// Returns the cost of a failure of this class.
    pub fn cost(self) -> FailureCost {
        let (task, bot) = match self {
            // Another bot may have valid credentials, so the task is not at fault.
            Self::Auth | Self::NotStarted => (TaskCost::Nothing, BotCost::Fault),
            Self::RateLimited | Self::Quota | Self::Overloaded => {
                (TaskCost::Nothing, BotCost::Pause)
            }
            Self::Context | Self::Budget | Self::Permanent => {
                (TaskCost::AllAttempts, BotCost::Nothing)
            }
            // The task may have been carried out: an attempt that counts bounds how often
            // that can happen.
            Self::Transport | Self::TimedOut | Self::Internal => {
                (TaskCost::Attempt, BotCost::Strike)
            }
        };
        FailureCost { task, bot }
    }

    /// Returns the end of an attempt that failed with this class.
    pub fn end(self) -> AttemptEnd {
        match self.cost() {
            FailureCost {
                task: TaskCost::Attempt,
                ..
            } => AttemptEnd::Failed,
            FailureCost {
                task: TaskCost::AllAttempts,
                ..
            } => AttemptEnd::FailedForGood,
            FailureCost {
                task: TaskCost::Nothing,
                bot: BotCost::Fault,
            } => AttemptEnd::BotFault,
            FailureCost {
                task: TaskCost::Nothing,
                ..
            } => AttemptEnd::Refused,
        }
    }

    /// Returns the name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::RateLimited => "rate_limited",
            Self::Quota => "quota",
            Self::Overloaded => "overloaded",
            Self::Context => "context",
            Self::Budget => "budget",
            Self::Transport => "transport",
            Self::Permanent => "permanent",
            Self::NotStarted => "not_started",
            Self::TimedOut => "timed_out",
            Self::Internal => "internal",
        }
    }

    /// Returns the class of that name. A name of a later version is an internal failure.
    pub fn from_stored(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|it| it.as_str() == name);
        known.unwrap_or(Self::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_cost() {
        use {BotCost as Bot, TaskCost as Task};
        for (class, task, bot, end) in [
            (
                FailureClass::Auth,
                Task::Nothing,
                Bot::Fault,
                AttemptEnd::BotFault,
            ),
            (
                FailureClass::RateLimited,
                Task::Nothing,
                Bot::Pause,
                AttemptEnd::Refused,
            ),
            (
                FailureClass::Quota,
                Task::Nothing,
                Bot::Pause,
                AttemptEnd::Refused,
            ),
            (
                FailureClass::Overloaded,
                Task::Nothing,
                Bot::Pause,
                AttemptEnd::Refused,
            ),
            (
                FailureClass::Context,
                Task::AllAttempts,
                Bot::Nothing,
                AttemptEnd::FailedForGood,
            ),
            (
                FailureClass::Budget,
                Task::AllAttempts,
                Bot::Nothing,
                AttemptEnd::FailedForGood,
            ),
            (
                FailureClass::Transport,
                Task::Attempt,
                Bot::Strike,
                AttemptEnd::Failed,
            ),
            (
                FailureClass::Permanent,
                Task::AllAttempts,
                Bot::Nothing,
                AttemptEnd::FailedForGood,
            ),
            (
                FailureClass::NotStarted,
                Task::Nothing,
                Bot::Fault,
                AttemptEnd::BotFault,
            ),
            (
                FailureClass::TimedOut,
                Task::Attempt,
                Bot::Strike,
                AttemptEnd::Failed,
            ),
            (
                FailureClass::Internal,
                Task::Attempt,
                Bot::Strike,
                AttemptEnd::Failed,
            ),
        ] {
            assert_eq!(class.cost(), FailureCost { task, bot }, "{class:?}");
            assert_eq!(class.end(), end, "{class:?}");
            assert_eq!(FailureClass::from_stored(class.as_str()), class);
        }
        assert_eq!(
            FailureClass::from_stored("of tomorrow"),
            FailureClass::Internal
        );
    }
}
