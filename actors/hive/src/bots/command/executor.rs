//! The executor of programs.

use std::sync::Arc;

use deia_ledger::ClaimedTask;
use deia_model::CommandExecutor;

use super::{CommandContext, OnStart, run};
use crate::{
    bots::{
        attempt::StopSignal,
        executor::{Execution, Executor, ExecutorFactory, IncarnationParts, Preflight, Started},
        output::OutputLimits,
        program::preflight::preflight,
        progress::Progress,
    },
    secrets::BotSecrets,
};

/// Factory for executors that start a program for each attempt.
pub(in crate::bots) struct CommandFactory {
    spec: CommandExecutor,
}

impl CommandFactory {
    pub(in crate::bots) fn new(spec: CommandExecutor) -> Self {
        Self { spec }
    }
}

impl ExecutorFactory for CommandFactory {
    fn make(&self, incarnation: IncarnationParts) -> Box<dyn Executor> {
        let context = CommandContext::new(self.spec.clone(), incarnation);
        Box::new(Programs(Arc::new(context)))
    }

    fn preflight(&self) -> Option<Preflight> {
        let spec = self.spec.clone();
        Some(Box::new(move || preflight(&spec)))
    }
}

/// The executor of one incarnation.
struct Programs(Arc<CommandContext>);

impl Executor for Programs {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let (cx, progress) = (Arc::clone(&self.0), Progress::told());
        let told = progress.clone();
        Started::Running(Execution {
            end: Box::pin(async move { Ok(run(&cx, &claimed, told, stop).await) }),
            progress,
        })
    }
}

impl CommandContext {
    fn new(spec: CommandExecutor, parts: IncarnationParts) -> Self {
        let IncarnationParts {
            config,
            hive_id,
            secrets,
            outputs,
            reaper,
            record,
            gauges,
            log,
            incarnation,
            ..
        } = parts;
        Self {
            spec,
            bot: record.name.clone(),
            port: record.port,
            secrets: BotSecrets::new(record.spec.secrets.clone(), secrets),
            hive_id,
            work_dir: config.bot_work_dir(&record.name),
            outputs,
            output_limits: OutputLimits::of(&config.tasks),
            kept_outputs: config.tasks.kept_outputs,
            term_grace: config.bots.term_grace,
            reaper,
            log,
            pids: gauges.pids.clone(),
            meters: gauges.meters.clone(),
            limits: record.spec.limits,
            incarnation,
            on_start: OnStart::on(gauges),
        }
    }
}
