//! Explains the state of a task: why it has not started, or where it is.

use deia_model::{
    AwaitedTask, Bot, BotFit, BotName, CircuitState, Facts, Principal, TaskExplanation, TaskId,
    explain,
};

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
        // No other bot than that of its session may run the task.
        let session = match task.session_id {
            Some(session) => ledger.session(session, None).await?,
            None => None,
        };
        let own = session.and_then(|session| session.bot);
        let fits = |bot: &Bot| {
            let types = &bot.capabilities.specializations;
            let may = own.as_ref().is_none_or(|own| *own == bot.id);
            may && (types.is_empty() || types.contains(&task.task_type))
        };
        let all = self.bots.list().await?;
        // Another bot that is out, and would take the task. A task of a session waits for its bot.
        let instead_of = |bot: &Bot| {
            if own.is_some() {
                return None;
            }
            let mut others = bot.stands_in_for.iter();
            let is_out = |name: &&BotName| all.iter().any(|it| it.id == **name && fits(it));
            others.find(is_out).cloned()
        };
        let takers = all.iter().filter_map(|bot| match fits(bot) {
            true => Some((bot.clone(), None)),
            false => Some((bot.clone(), Some(instead_of(bot)?))),
        });
        let takers: Vec<(Bot, Option<BotName>)> = takers.collect();
        let fit = |(bot, instead_of): (Bot, Option<BotName>)| BotFit {
            id: bot.id.to_string(),
            stands_in_for: instead_of.map(|other| other.to_string()),
            status: bot.status,
            in_hand: self.registry.snapshot(&bot.id).running,
            places: bot.capabilities.max_concurrent_tasks,
            pause: bot.pause,
            unreachable: bot.unreachable,
            fault: bot.fault.filter(|fault| fault.in_a_row > 0),
            circuit: bot
                .circuit
                .filter(|circuit| circuit.state != CircuitState::Closed),
        };
        let awaited = position.waits_for.into_iter();
        let told = explain(Facts {
            bots: takers.into_iter().map(fit).collect(),
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
