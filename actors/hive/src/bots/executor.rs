//! Executors: the ways in which bots run attempts.
//!
//! A new executor is one file with its [`Executor`] and its [`ExecutorFactory`], and one line in
//! [`factory_of`]. No other part of a bot knows its executor.

use std::sync::Arc;

use deia_ledger::ClaimedTask;
use deia_model::{BotRecord, Executor as ExecutorSpec};
use futures_util::future::LocalBoxFuture;

use super::{
    attempt::{ExecutionResult, StopSignal},
    command::CommandFactory,
    log::BotLog,
    output::Outputs,
    progress::Progress,
    reaper_handle::ReaperHandle,
    registry::BotGauges,
    simulated::SimulatedFactory,
};
use crate::{config::Config, secrets::SecretResolver};

/// Returns the factory for executors of that specification: the registry, one line each.
pub(crate) fn factory_of(spec: &ExecutorSpec) -> Arc<dyn ExecutorFactory> {
    match spec {
        ExecutorSpec::Command(spec) => Arc::new(CommandFactory::new(spec.clone())),
        ExecutorSpec::Simulated(spec) => Arc::new(SimulatedFactory::new(spec)),
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
}

/// A check that returns why an attempt could not be started now. Blocks on file system calls.
pub(crate) type Preflight = Box<dyn FnOnce() -> Option<String> + Send>;

/// The parts of an incarnation of a bot that an executor may use.
pub(crate) struct IncarnationParts {
    pub(super) config: Arc<Config>,
    pub(super) hive_id: String,
    pub(super) secrets: Arc<SecretResolver>,
    pub(super) outputs: Outputs,
    pub(super) reaper: ReaperHandle,
    pub(super) record: Arc<BotRecord>,
    pub(super) gauges: Arc<BotGauges>,
    pub(super) log: BotLog,
    /// Number of the incarnation.
    pub(super) incarnation: u64,
}

/// Runs the attempts of one incarnation of a bot.
pub(crate) trait Executor {
    /// Starts an attempt. When `stop` is signalled, the attempt ends early with the result for its
    /// cause.
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started;
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

/// The death of the bot, charged to the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BotDown {
    pub(super) reason: &'static str,
}
