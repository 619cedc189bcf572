//! The executor of language models.

use std::sync::Arc;

use deia_ledger::ClaimedTask;
use deia_model::{LlmExecutor, Violation};

use super::{LlmContext, run};
use crate::{
    bots::{
        attempt::StopSignal,
        executor::{Execution, Executor, ExecutorFactory, IncarnationParts, Started},
        progress::Progress,
        service::{ServiceContext, refusal},
    },
    config::Config,
};

/// Factory for executors that send each task to a language model.
pub(in crate::bots) struct LlmFactory {
    spec: LlmExecutor,
}

impl LlmFactory {
    pub(in crate::bots) fn new(spec: LlmExecutor) -> Self {
        Self { spec }
    }
}

impl ExecutorFactory for LlmFactory {
    fn make(&self, incarnation: IncarnationParts) -> Box<dyn Executor> {
        let settings = incarnation.config.bots.llm;
        let line = incarnation.services.line(settings.connect_timeout);
        Box::new(Model(Arc::new(LlmContext {
            spec: self.spec.clone(),
            service: ServiceContext::new(&incarnation, line),
            idle_timeout: settings.idle_timeout,
            max_event_bytes: usize::try_from(settings.max_event_bytes.as_u64())
                .unwrap_or(usize::MAX),
        })))
    }

    fn violations(&self, config: &Config) -> Vec<Violation> {
        let refused = refusal(&config.bots, "/executor/base_url", &self.spec.base_url);
        refused.into_iter().collect()
    }
}

/// The executor of one incarnation.
struct Model(Arc<LlmContext>);

impl Executor for Model {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let cx = Arc::clone(&self.0);
        Started::Running(Execution {
            end: Box::pin(async move { Ok(run(&cx, &claimed, stop).await) }),
            progress: Progress::told(),
        })
    }
}
