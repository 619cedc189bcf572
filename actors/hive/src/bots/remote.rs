//! The executor of remote workers: attempts lie on a [`Desk`] until a worker asks for them, and
//! end when it reports or is not heard of any more.
//!
//! Leases of such attempts expire by time, not with the bot: neither a restart of the bot's actor
//! nor one of the hive ends the work of a worker. The end that a worker reports is recorded by
//! [`RemoteWork`] without the bot's actor, which learns of it afterwards.

mod desk;
mod expected;
mod held;
mod pieces;
mod pull;
mod work;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deia_ledger::{ClaimedTask, HeldAttempt, HeldLease};
use deia_model::{AttemptEnd, FailureClass, RemoteExecutor};
use tokio::sync::watch;

use self::held::HeldEnd;
pub use self::work::RemoteWork;
pub(super) use self::{desk::Desk, expected::Expected};
use super::{
    attempt::{ExecutionResult, StopCause, StopSignal, stop_requested},
    bot::AttemptKey,
    executor::{
        Execution, ExecutionEnd, Executor, ExecutorFactory, IncarnationParts, Offer, Started,
    },
    progress::Progress,
};

/// Times by which a lease in the store outlasts the one in memory. The store's is renewed after a
/// third of the time, and a worker must survive a restart of the hive. Fixed: a lease in the store
/// must not end while it is renewed in memory.
const STORED_LEASE_FACTOR: u32 = 2;

/// Returns the interval in which workers of this bot send heartbeats.
pub(super) fn heartbeat_of(spec: &RemoteExecutor, default: Duration) -> Duration {
    spec.heartbeat_seconds.map_or(default, Duration::from_secs)
}

/// Factory for executors of remote workers.
pub(super) struct RemoteFactory {
    spec: RemoteExecutor,
}

impl RemoteFactory {
    pub(super) fn new(spec: RemoteExecutor) -> Self {
        Self { spec }
    }
}

impl ExecutorFactory for RemoteFactory {
    fn make(&self, incarnation: IncarnationParts) -> Box<dyn Executor> {
        let settings = incarnation.config.bots.remote;
        let heartbeat = heartbeat_of(&self.spec, settings.heartbeat);
        let desk = incarnation.gauges.desk.clone();
        let places = incarnation.record.spec.capabilities.max_concurrent_tasks;
        desk.begin(heartbeat, settings.missed_heartbeats, places);
        desk.set_outlives(true);
        Box::new(Workers {
            desk,
            lease: heartbeat * settings.missed_heartbeats,
            missed_heartbeats: settings.missed_heartbeats,
            hive_stops: incarnation.hive_stops,
        })
    }
}

/// The executor of one incarnation.
struct Workers {
    desk: Desk,
    lease: Duration,
    missed_heartbeats: u32,
    hive_stops: Arc<AtomicBool>,
}

impl Workers {
    fn execution(&self, key: AttemptKey, on_desk: OnDesk, stop: StopSignal) -> Execution {
        let OnDesk { end, progress } = on_desk;
        let attempt = RunningAttempt {
            desk: self.desk.clone(),
            key,
            grace: self.lease,
            missed_heartbeats: self.missed_heartbeats,
            hive_stops: self.hive_stops.clone(),
            began: Instant::now(),
        };
        Execution {
            end: Box::pin(attempt.run(end, stop)),
            progress,
        }
    }
}

/// The view that the bot's actor has of an attempt on the desk.
struct OnDesk {
    end: tokio::sync::oneshot::Receiver<HeldEnd>,
    progress: Progress,
}

impl Executor for Workers {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let key = AttemptKey::of(&claimed);
        let on_desk = self.desk.put(claimed);
        Started::Running(self.execution(key, on_desk, stop))
    }

    fn adopt(&mut self, held: &HeldAttempt, stop: StopSignal) -> Option<Execution> {
        let key = AttemptKey::of_lease(&held.lease);
        let on_desk = self.desk.adopt(held);
        Some(self.execution(key, on_desk, stop))
    }

    fn offer(&self) -> Option<watch::Receiver<Offer>> {
        Some(self.desk.offer())
    }

    fn is_pulled(&self) -> bool {
        true
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease * STORED_LEASE_FACTOR)
    }

    fn lease_lost(&mut self, lease: &HeldLease) {
        self.desk.lease_lost(lease);
    }

    fn beat(&mut self) -> Vec<HeldLease> {
        self.desk.look(Instant::now())
    }
}

/// An attempt that waits on the desk, or is at a worker.
struct RunningAttempt {
    desk: Desk,
    key: AttemptKey,
    /// Time that the worker of a cancelled attempt has to report its end.
    grace: Duration,
    missed_heartbeats: u32,
    hive_stops: Arc<AtomicBool>,
    began: Instant,
}

impl RunningAttempt {
    async fn run(
        self,
        mut end: tokio::sync::oneshot::Receiver<HeldEnd>,
        mut stop: StopSignal,
    ) -> ExecutionEnd {
        let cause = tokio::select! {
            biased;
            ended = &mut end => return Ok(self.ended(ended.ok())),
            cause = stop_requested(&mut stop) => cause,
        };
        match &cause {
            StopCause::Cancelled(words) => {
                let at_worker = self.desk.ask_to_end(self.key, words);
                if at_worker && let Ok(ended) = tokio::time::timeout(self.grace, &mut end).await {
                    return Ok(self.ended(ended.ok()));
                }
            }
            // The lease goes on: the worker reports to the next start of the hive.
            StopCause::BotStopping if self.hive_stops.load(Ordering::Relaxed) => {
                return Ok(ExecutionResult::settled(None));
            }
            StopCause::TimedOut { .. }
            | StopCause::Idle { .. }
            | StopCause::OverLimit { .. }
            | StopCause::BotStopping => {}
        }
        self.desk.remove(self.key);
        Ok(ExecutionResult::stopped(cause, self.elapsed_ms()))
    }

    /// Returns the result of an attempt that the desk has ended.
    fn ended(&self, end: Option<HeldEnd>) -> ExecutionResult {
        match end {
            Some(HeldEnd::Reported(result)) => ExecutionResult::settled(Some(*result)),
            // The desk dropped it: another incarnation has taken it over.
            None => ExecutionResult::settled(None),
            Some(HeldEnd::NotFetched) => ExecutionResult {
                error: Some("no worker of the bot asked for it in time".to_owned()),
                ..ExecutionResult::bare(AttemptEnd::GivenBack, self.elapsed_ms())
            },
            Some(HeldEnd::LeaseLost) => ExecutionResult::settled(None),
            Some(HeldEnd::Vanished { end, worker }) => ExecutionResult {
                error: Some(format!(
                    "{} gave no sign of life for {}",
                    worker.map_or_else(|| "its worker".to_owned(), |name| format!("worker {name}")),
                    heartbeats(self.missed_heartbeats)
                )),
                class: Some(FailureClass::Transport),
                ..ExecutionResult::bare(end, self.elapsed_ms())
            },
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns a number of heartbeats in words.
fn heartbeats(number: u32) -> String {
    match number {
        1 => "a heartbeat".to_owned(),
        3 => "three heartbeats".to_owned(),
        other => format!("{other} heartbeats"),
    }
}
