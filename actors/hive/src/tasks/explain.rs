//! Explains the state of a task: why it has not started, or where it is.

use deia_model::{AwaitedTask, Bot, BotFit, Facts, Principal, TaskExplanation, TaskId, explain};

use super::TasksApi;
use crate::{HiveError, lifecycle::State};

impl TasksApi {
    /// Explains why a task has not started, or where it is.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn explain(&self, who: &Principal, id: TaskId) -> Result<TaskExplanation, HiveError> {
        let task = self.get(who, id).await?;
        let ledger = &self.ledger;
        let position = ledger.queue_position(id, who.visibility()).await?;
        let fits = |bot: &Bot| {
            let types = &bot.capabilities.specializations;
            types.is_empty() || types.contains(&task.task_type)
        };
        let fit = |bot: Bot| BotFit {
            id: bot.id.to_string(),
            status: bot.status,
            in_hand: self.registry.snapshot(&bot.id).running,
            places: bot.capabilities.max_concurrent_tasks,
            fault: bot.fault.filter(|fault| fault.in_a_row > 0),
        };
        let bots = self.bots.list().await?.into_iter().filter(fits);
        let awaited = position.waits_for.into_iter();
        let told = explain(Facts {
            bots: bots.map(fit).collect(),
            paused: ledger.pauses().await?,
            ahead: position.ahead,
            waits_for: awaited
                .map(|(id, status)| AwaitedTask { id, status })
                .collect(),
            restarting: self.lifecycle.state() == State::Restarting,
            task,
        });
        Ok(match who.is_restricted() {
            true => told.for_outsiders(),
            false => told,
        })
    }
}
