//! The history of a task: its events, and its lines in the logs of bots.

use std::collections::BTreeSet;

use deia_model::{BotName, Event, Principal, TaskId, TaskLog};

use super::TasksApi;
use crate::{HiveError, bots::log};

impl TasksApi {
    /// Returns the events of a task, oldest first, at most the last 1,000. For a confined caller
    /// they are numbered from 1 on within the task, because their positions in the log would
    /// reveal how much happened between them.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn events(&self, who: &Principal, id: TaskId) -> Result<Vec<Event>, HiveError> {
        self.get(who, id).await?;
        Ok(self.ledger.task_events(id, who.visibility()).await?)
    }

    /// Returns the last lines in the logs of bots about a task, of one attempt or all: the
    /// standard error of its programs, and notes about them.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also if the caller may not see the task.
    pub async fn log(
        &self,
        who: &Principal,
        id: TaskId,
        attempt: Option<u32>,
        lines: usize,
    ) -> Result<TaskLog, HiveError> {
        let task = self.get(who, id).await?;
        let failed = task
            .failed_attempts
            .iter()
            .filter_map(|it| it.bot.parse().ok());
        let bots: BTreeSet<BotName> = failed.chain(task.assigned_bot.clone()).collect();
        let logs: Vec<_> = bots
            .into_iter()
            .map(|bot| (self.config().bot_log_path(&bot), bot))
            .collect();
        let reading = tokio::task::spawn_blocking(move || {
            let (mut found, mut total) = (Vec::new(), 0);
            for (path, bot) in logs {
                let (lines, of_bot) = log::of_task(&path, &bot, id, attempt, lines)?;
                found.extend(lines);
                total += of_bot;
            }
            found.sort_by_key(|line| line.at);
            found.drain(..found.len().saturating_sub(lines));
            Ok::<_, std::io::Error>(TaskLog {
                lines: found,
                total,
            })
        });
        let read = reading
            .await
            .map_err(|error| HiveError::Internal(error.to_string()))?;
        read.map_err(|error| {
            HiveError::Internal(format!("the logs of {id} cannot be read: {error}"))
        })
    }
}
