//! Judgement of the leases that reports come under.

use std::time::Duration;

use deia_ledger::{Apply, ExtendLeases, HeldLease};
use deia_model::{BotName, Executor, Principal, Task, TaskId};

use super::{
    super::{STORED_LEASE_FACTOR, heartbeat_of},
    RemoteWork, not_found,
};
use crate::HiveError;

impl RemoteWork {
    /// Returns the bot whose reports the caller may make: its own, or, for a caller of no bot,
    /// the one that holds the task.
    pub(super) async fn holder(&self, who: &Principal, task: TaskId) -> Result<BotName, HiveError> {
        if let Some(own) = &who.bot {
            return Ok(own.clone());
        }
        let stored = self.ledger.visible_task(task, who.visibility()).await?;
        let bot = stored.and_then(|task| task.assigned_bot);
        bot.ok_or_else(|| not_found(task))
    }

    /// Returns the error for a report under a lease that is not in force: a task of another bot is
    /// none that the caller may know of.
    pub(super) async fn stale(&self, who: &Principal, lease: HeldLease) -> HiveError {
        match self.ledger.visible_task(lease.task, who.visibility()).await {
            Ok(Some(task)) => HiveError::StaleLease {
                task: lease.task,
                attempt: lease.attempt,
                status: task.status,
            },
            Ok(None) => not_found(lease.task),
            Err(error) => error.into(),
        }
    }

    /// Extends a lease in the store, and returns whether it is in force.
    pub(super) async fn is_in_force(
        &self,
        who: &Principal,
        bot: &BotName,
        lease: HeldLease,
        lasts: Duration,
    ) -> Result<bool, HiveError> {
        let is_its = |task: Task| task.assigned_bot.as_ref() == Some(bot);
        let stored = self
            .ledger
            .visible_task(lease.task, who.visibility())
            .await?;
        if !stored.is_some_and(is_its) {
            return Ok(false);
        }
        let extend = ExtendLeases {
            leases: vec![lease],
            expires_after: lasts * STORED_LEASE_FACTOR,
        };
        Ok(self.ledger.apply(extend).await?.contains(&true))
    }

    /// Returns the time for which a worker of the bot may be silent.
    pub(super) async fn lease_time(&self, bot: &BotName) -> Result<Duration, HiveError> {
        let settings = self.config().bots.remote;
        let default = settings.heartbeat;
        let heartbeat = match self.ledger.bot(bot.clone()).await? {
            Some(record) => match &record.spec.executor {
                Executor::Remote(spec) => heartbeat_of(spec, default),
                _ => default,
            },
            None => default,
        };
        Ok(heartbeat * settings.missed_heartbeats)
    }
}
