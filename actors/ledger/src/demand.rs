//! The demand of a task on its bot.

use deia_model::TaskType;

/// The demand of a task on the bot that carries it out. Tasks of equal demand may go to the same
/// bots, so they wait in one lane, and the first of them stands for all.
///
/// Whatever else the choice of a bot comes to depend on (the side of a rollout, the bot of a
/// session) is a field here. Keys of limits are none: they decide whether a task is ready,
/// which the store knows, and not which bot it goes to (decision 43).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Demand {
    /// Type of the task. A specialised bot takes only some.
    pub task_type: TaskType,
}

impl Demand {
    /// Returns the demand of a task of that type that asks for nothing else.
    pub fn of_type(task_type: TaskType) -> Self {
        Self { task_type }
    }

    /// Returns a demand that is not greater than any other, and that no task has.
    pub fn least() -> Self {
        Self::of_type(TaskType::least())
    }
}
