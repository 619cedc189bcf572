//! The requirements of a task on its bot.

use deia_model::{BotName, TaskType};

/// The requirements of a task on the bot that runs it. Tasks of equal demand can run on
/// the same bots, so they wait in one lane, and the first of them is representative.
///
/// Every further criterion for the choice of a bot (the side of a rollout) becomes a field
/// here. Keys of limits do not: they decide whether a task is
/// ready, which the store knows, and not which bot it goes to (decision 43).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Demand {
    /// Type of the task. A specialised bot takes only some types.
    pub task_type: TaskType,
    /// The bot of the task's session: no other may run the task. `None`: any bot.
    pub bot: Option<BotName>,
}

impl Demand {
    /// Returns the demand of a task of that type without further requirements.
    pub fn of_type(task_type: TaskType) -> Self {
        Self {
            task_type,
            bot: None,
        }
    }

    /// Returns the same demand, on that bot alone if one is given.
    #[must_use]
    pub fn on(self, bot: Option<BotName>) -> Self {
        Self { bot, ..self }
    }

    /// Returns a demand that is not greater than any other, and that no task has.
    pub fn least() -> Self {
        Self::of_type(TaskType::least())
    }
}
