//! The API of remote workers: leases, signs of life, output, and ends.
//!
//! The store decides about each report, by the bot, the attempt and the lease. The desk only saves
//! it the frequent questions, and learns of ends after they are recorded.

mod ends;
mod holding;

use std::{sync::Arc, time::Duration};

use deia_ledger::{HeldLease, Ledger};
use deia_model::{
    BotName, Executor, HeartbeatAnswer, HeartbeatReport, LeaseRequest, LeaseToken, Leased,
    LeasedTask, Principal, Task, TaskId, Timestamp,
};

use super::{desk::Desk, heartbeat_of, held::Asker, pull::pull};
use crate::{
    HiveError,
    access::AccessApi,
    bots::{output::Outputs, registry::BotRegistry},
    config::{Config, Settings},
};

/// The API of remote workers.
#[derive(Clone)]
pub struct RemoteWork {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
    registry: BotRegistry,
    outputs: Outputs,
}

impl RemoteWork {
    pub(in crate::bots) fn new(
        settings: Settings,
        ledger: Ledger,
        access: AccessApi,
        registry: BotRegistry,
        outputs: Outputs,
    ) -> Self {
        Self {
            settings,
            ledger,
            access,
            registry,
            outputs,
        }
    }

    fn config(&self) -> Arc<Config> {
        self.settings.get()
    }

    fn desk(&self, bot: &BotName) -> Desk {
        self.registry.gauges(bot).desk.clone()
    }

    /// Leases up to `max` tasks for a worker of the bot, and waits up to `wait_ms` for the first
    /// (at most `server.max_wait`).
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also for the key of another bot; [`HiveError::WrongExecutor`].
    pub async fn lease(
        &self,
        who: &Principal,
        bot: &BotName,
        request: LeaseRequest,
    ) -> Result<Leased, HiveError> {
        let violations = request.violations();
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let (desk, heartbeat) = self.desk_for(who, bot).await?;
        let wait = Duration::from_millis(request.wait_ms).min(self.config().server.max_wait);
        let asker = Asker {
            worker: request.worker,
            request: request.request,
        };
        let given = pull(&desk, &asker, request.max as usize, wait).await;
        let tasks = given
            .iter()
            .map(|claimed| leased(&claimed.task, claimed.lease, heartbeat))
            .collect();
        Ok(Leased { tasks })
    }

    /// Returns the desk at which the caller may lease tasks of the bot, and the interval of
    /// heartbeats. While the bot runs, its desk knows that without the store: workers ask all the
    /// time.
    async fn desk_for(
        &self,
        who: &Principal,
        bot: &BotName,
    ) -> Result<(Desk, Duration), HiveError> {
        let not_found = || HiveError::NotFound {
            kind: "bot",
            id: bot.to_string(),
        };
        if who.bot.as_ref().is_some_and(|own| own != bot) {
            return Err(not_found());
        }
        if let Some(desk) = self.registry.desk_of_running(bot) {
            let heartbeat = desk.heartbeat();
            return Ok((desk, heartbeat));
        }
        let record = self.ledger.bot(bot.clone()).await?.ok_or_else(not_found)?;
        let Executor::Remote(spec) = &record.spec.executor else {
            return Err(HiveError::WrongExecutor {
                bot: bot.clone(),
                kind: record.spec.executor.kind(),
                needed: "remote",
            });
        };
        let heartbeat = heartbeat_of(spec, self.config().bots.remote.heartbeat);
        Ok((self.desk(bot), heartbeat))
    }

    /// Takes a sign of life of the worker that holds an attempt.
    ///
    /// # Errors
    /// [`HiveError::StaleLease`], [`HiveError::NotFound`].
    pub async fn heartbeat(
        &self,
        who: &Principal,
        task: TaskId,
        report: HeartbeatReport,
    ) -> Result<HeartbeatAnswer, HiveError> {
        let lease = held(task, report.attempt, report.lease_token);
        let bot = self.holder(who, task).await?;
        let answer = |lease: Duration, cancelled: Option<Arc<str>>| HeartbeatAnswer {
            lease_expires_at: Timestamp::now().plus_millis(millis(lease)),
            cancel: cancelled.is_some(),
            reason: cancelled.map(|words| words.to_string()),
        };
        if let Some(heard) = self.desk(&bot).hear(&lease, report.progress) {
            return Ok(answer(heard.lease, heard.cancelled));
        }
        // The bot's actor has not adopted the attempt yet.
        let lasts = self.lease_time(&bot).await?;
        match self.is_in_force(who, &bot, lease, lasts).await? {
            true => Ok(answer(lasts, None)),
            false => Err(self.stale(who, lease).await),
        }
    }
}

/// Returns the lease that a report names.
fn held(task: TaskId, attempt: u32, lease: LeaseToken) -> HeldLease {
    HeldLease {
        task,
        attempt,
        lease,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn not_found(task: TaskId) -> HiveError {
    HiveError::NotFound {
        kind: "task",
        id: task.to_string(),
    }
}

fn leased(task: &Task, lease: LeaseToken, heartbeat: Duration) -> LeasedTask {
    let started = task.started_at.unwrap_or_else(Timestamp::now);
    LeasedTask {
        id: task.id,
        attempt: task.attempt,
        lease_token: lease,
        task_type: task.task_type.clone(),
        priority: task.priority,
        content: task.content.clone().unwrap_or_default(),
        tags: task.tags.clone(),
        metadata: task.metadata.clone(),
        timeout_seconds: task.timeout_seconds,
        deadline_at: started.plus_millis(task.timeout_seconds.saturating_mul(1_000)),
        heartbeat_seconds: heartbeat.as_secs(),
        session_id: task.session_id,
        traceparent: task.traceparent.clone(),
    }
}
