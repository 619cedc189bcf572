//! Executors: the ways in which bots run attempts.
//!
//! A new executor is one file with its [`Executor`] and its [`ExecutorFactory`], and one line in
//! [`factory_of`]. No other part of a bot knows its executor.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use deia_ledger::{ClaimedTask, HeldAttempt, HeldLease, Ledger};
use deia_model::{BotRecord, Executor as ExecutorSpec, Violation};
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::{
    attempt::{ExecutionResult, StopSignal},
    bot::AttemptKey,
    command::CommandFactory,
    http::HttpFactory,
    llm::LlmFactory,
    log::BotLog,
    output::Outputs,
    progress::Progress,
    reaper_handle::ReaperHandle,
    registry::BotGauges,
    remote::RemoteFactory,
    service::Services,
    simulated::SimulatedFactory,
    worker::WorkerFactory,
};
use crate::{config::Config, secrets::SecretResolver};

/// Returns the factory for executors of that specification: the registry, one line each.
pub(crate) fn factory_of(spec: &ExecutorSpec) -> Arc<dyn ExecutorFactory> {
    match spec {
        ExecutorSpec::Command(spec) => Arc::new(CommandFactory::new(spec.clone())),
        ExecutorSpec::Remote(spec) => Arc::new(RemoteFactory::new(spec.clone())),
        ExecutorSpec::Worker(spec) => Arc::new(WorkerFactory::new(spec.clone())),
        ExecutorSpec::Simulated(spec) => Arc::new(SimulatedFactory::new(spec)),
        ExecutorSpec::Http(spec) => Arc::new(HttpFactory::new(spec.clone())),
        ExecutorSpec::Llm(spec) => Arc::new(LlmFactory::new((**spec).clone())),
    }
}

/// Factory for the executors of one bot, one for each incarnation. Owns the state that outlives an
/// incarnation.
pub(crate) trait ExecutorFactory: Send + Sync {
    /// Makes the executor of an incarnation.
    fn make(&self, incarnation: IncarnationParts) -> Box<dyn Executor>;

    /// Returns a check that an attempt could be started now, if that can be checked without a task.
    fn preflight(&self) -> Option<Preflight> {
        None
    }

    /// Returns the errors in the specification that depend on the settings.
    fn violations(&self, _config: &Config) -> Vec<Violation> {
        Vec::new()
    }
}

/// A check that returns why an attempt could not be started now. Blocks on file system calls.
pub(crate) type Preflight = Box<dyn FnOnce() -> Option<String> + Send>;

/// The parts of an incarnation of a bot that an executor may use.
pub(crate) struct IncarnationParts {
    pub(super) config: Arc<Config>,
    pub(super) hive_id: String,
    pub(super) ledger: Ledger,
    pub(super) secrets: Arc<SecretResolver>,
    pub(super) outputs: Outputs,
    pub(super) reaper: ReaperHandle,
    pub(super) record: Arc<BotRecord>,
    pub(super) gauges: Arc<BotGauges>,
    pub(super) log: BotLog,
    pub(super) services: Services,
    /// Number of the incarnation.
    pub(super) incarnation: u64,
    /// True once the whole hive stops.
    pub(super) hive_stops: Arc<AtomicBool>,
}

/// Runs the attempts of one incarnation of a bot.
pub(crate) trait Executor {
    /// Starts an attempt. When `stop` is signalled, the attempt ends early with the result for its
    /// cause.
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started;

    /// Returns how many attempts the executor can run now, if that is not always
    /// `max_concurrent_tasks`: a program that is still starting runs none. The bot follows the
    /// changes.
    fn offer(&self) -> Option<watch::Receiver<Offer>> {
        None
    }

    /// Returns a future that resolves when the executor itself is down, whether or not an attempt
    /// runs; `None` for an executor that cannot go down between attempts. Called once.
    fn down(&mut self) -> Option<LocalBoxFuture<'static, BotDown>> {
        None
    }

    /// Returns whether there may be attempts of an earlier incarnation or start of the hive to take
    /// over.
    fn adopts(&self) -> bool {
        self.lease().is_some()
    }

    /// Returns whether an attempt goes on without the bot's actor, for its next incarnation to take
    /// over.
    fn outlives(&self, attempt: AttemptKey) -> bool {
        let _ = attempt;
        self.is_pulled()
    }

    /// Takes over an attempt of an earlier incarnation or start of the hive, whose lease is still
    /// in force; `None` if the executor cannot.
    fn adopt(&mut self, held: &HeldAttempt, stop: StopSignal) -> Option<Execution> {
        let _ = (held, stop);
        None
    }

    /// Begins to end what the executor runs beside the attempts, because the bot stops. The bot is
    /// stopped when the future resolves; `None` if there is nothing to end. The attempts are asked
    /// to stop as well.
    fn stop(&mut self) -> Option<LocalBoxFuture<'static, ()>> {
        None
    }

    /// Returns whether attempts wait until somebody outside of the hive fetches them. Then more may
    /// arrive than are offered, suspects run alone by the executor's own means, and attempts outlive
    /// the bot's actor.
    fn is_pulled(&self) -> bool {
        false
    }

    /// Returns the time after which leases expire unless they are extended; `None`: they end with
    /// the bot.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// Looks after running attempts, with each heartbeat of the bot. Returns the leases to extend.
    fn beat(&mut self) -> Vec<HeldLease> {
        Vec::new()
    }

    /// Notes that the store no longer has a lease.
    fn lease_lost(&mut self, lease: &HeldLease) {
        let _ = lease;
    }
}

/// The number of attempts that an executor can run now, and its readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Attempts at a time, running ones included.
    pub(crate) slots: u32,
    pub(crate) readiness: Readiness,
}

/// Ability of an executor to run attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The executor runs attempts.
    #[default]
    Ready,
    /// The executor runs none yet.
    Starting,
    /// The executor cannot be reached; carries the reason, for people.
    Unreachable(&'static str),
}

impl Readiness {
    /// Returns the reason why the executor cannot be reached, for people.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Ready | Self::Starting => None,
            Self::Unreachable(reason) => Some(reason),
        }
    }
}

/// A started attempt.
pub(crate) enum Started {
    /// The attempt has ended already.
    Done(ExecutionResult),
    /// The attempt is running.
    Running(Execution),
}

/// A running attempt.
pub(crate) struct Execution {
    /// Resolves when the attempt has ended. Dropping it ends the attempt at once, with all
    /// its processes.
    pub(super) end: LocalBoxFuture<'static, ExecutionEnd>,
    /// Progress that the attempt reports.
    pub(super) progress: Progress,
}

/// The end of an attempt, or of its bot.
pub(crate) type ExecutionEnd = Result<ExecutionResult, BotDown>;

/// The death of the bot. That of an execution is charged to its attempt alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BotDown {
    pub(super) reason: Cow<'static, str>,
    /// Result of the attempt that took the bot down; `None` for that of a death that is charged
    /// as usual.
    pub(super) result: Option<Box<ExecutionResult>>,
}
