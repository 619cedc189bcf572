//! The executor of workers.

use std::rc::Rc;

use deia_ledger::ClaimedTask;
use deia_model::WorkerExecutor;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, watch};

use super::{
    WorkerContext,
    attempt::attend,
    desk::{Desk, Wish},
    session::Session,
};
use crate::{
    bots::{
        attempt::{ExecutionResult, StopSignal},
        executor::{
            BotDown, Execution, Executor, ExecutorFactory, IncarnationParts, Offer, Preflight,
            Started,
        },
        output::OutputLimits,
        program::preflight::preflight,
        progress::Progress,
    },
    secrets::BotSecrets,
};

/// Factory for executors whose program is started once.
pub(in crate::bots) struct WorkerFactory {
    spec: WorkerExecutor,
}

impl WorkerFactory {
    pub(in crate::bots) fn new(spec: WorkerExecutor) -> Self {
        Self { spec }
    }
}

impl ExecutorFactory for WorkerFactory {
    fn make(&self, incarnation: IncarnationParts) -> Box<dyn Executor> {
        Box::new(Worker::new(&self.spec, incarnation))
    }

    fn preflight(&self) -> Option<Preflight> {
        let program = self.spec.program();
        Some(Box::new(move || preflight(&program)))
    }
}

/// The executor of one incarnation.
struct Worker {
    cx: Rc<WorkerContext>,
    desk: Rc<Desk>,
    /// Taken when the bot begins to follow it.
    session: Option<Session>,
}

impl Worker {
    fn new(spec: &WorkerExecutor, parts: IncarnationParts) -> Self {
        let settings = parts.config.bots.worker.clone();
        let waiting = settings.max_waiting_inputs.max(1) as usize;
        let (sender, inputs) = mpsc::channel(waiting);
        parts.gauges.set_input(sender);
        let cx = Rc::new(WorkerContext::new(spec, parts));
        let desk = Rc::new(Desk::new());
        let session = Session {
            cx: Rc::clone(&cx),
            desk: Rc::clone(&desk),
            inputs,
        };
        Self {
            cx,
            desk,
            session: Some(session),
        }
    }
}

impl Executor for Worker {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let already = stop.borrow().clone();
        if let Some(cause) = already {
            return Started::Done(ExecutionResult::stopped(cause, 0));
        }
        let (task, attempt) = (claimed.task.id, claimed.task.attempt);
        let limits = self.cx.output_limits;
        let spool = self.cx.outputs.keep(task, attempt, limits);
        let progress = Progress::told();
        let ticket = self.desk.open(claimed, spool, progress.clone());
        let (cx, desk) = (Rc::clone(&self.cx), Rc::clone(&self.desk));
        Started::Running(Execution {
            end: Box::pin(attend(cx, desk, ticket, stop)),
            progress,
        })
    }

    fn offer(&self) -> Option<watch::Receiver<Offer>> {
        Some(self.desk.offer())
    }

    fn down(&mut self) -> Option<LocalBoxFuture<'static, BotDown>> {
        let session = self.session.take()?;
        Some(Box::pin(session.run()))
    }

    fn stop(&mut self) -> Option<LocalBoxFuture<'static, ()>> {
        self.desk.wish(Wish::Stop);
        let desk = Rc::clone(&self.desk);
        Some(Box::pin(async move { desk.until_over().await }))
    }
}

impl WorkerContext {
    fn new(spec: &WorkerExecutor, parts: IncarnationParts) -> Self {
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
            spec: spec.program(),
            settings: config.bots.worker.clone(),
            grace: config.bots.term_grace,
            bot: record.name.clone(),
            limits: record.spec.limits,
            port: record.port,
            places: record.spec.capabilities.max_concurrent_tasks,
            secrets: BotSecrets::new(record.spec.secrets.clone(), secrets),
            hive_id,
            work_dir: config.bot_work_dir(&record.name),
            outputs,
            output_limits: OutputLimits {
                memory: config.tasks.max_output_bytes.as_u64(),
                file: config.tasks.max_output_file_bytes.as_u64(),
            },
            kept_outputs: config.tasks.kept_outputs,
            reaper,
            log,
            pids: gauges.pids.clone(),
            meters: gauges.meters.clone(),
            incarnation,
        }
    }
}
