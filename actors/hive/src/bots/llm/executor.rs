//! The executor of language models.

use std::sync::Arc;

use deia_ledger::ClaimedTask;
use deia_model::{LlmExecutor, Violation};
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::{LlmContext, run};
use crate::{
    bots::{
        attempt::StopSignal,
        executor::{
            BotDown, Execution, Executor, ExecutorFactory, IncarnationParts, Offer, Started,
        },
        progress::Progress,
        service::{ProbeBy, ProbeLimits, Prober, ServiceContext, refusal},
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
        let slots = incarnation.record.spec.capabilities.max_concurrent_tasks;
        let line = incarnation.services.line(settings.connect_timeout);
        let cx = Arc::new(LlmContext {
            spec: self.spec.clone(),
            service: Arc::new(ServiceContext::new(&incarnation, line)),
            idle_timeout: settings.idle_timeout,
            max_event_bytes: usize::try_from(settings.max_event_bytes.as_u64())
                .unwrap_or(usize::MAX),
        });
        // A request would cost tokens; a connection shows whether the provider is there.
        let by = ProbeBy::Connection {
            url: self.spec.base_url.clone(),
        };
        let limits = ProbeLimits {
            every: settings.probe_every,
            timeout: settings.probe_timeout,
            failures: settings.probe_failures,
        };
        let prober = Prober::new(cx.service.clone(), by, limits, slots);
        Box::new(Model {
            cx,
            offers: prober.offers(),
            prober: Some(prober),
        })
    }

    fn violations(&self, config: &Config) -> Vec<Violation> {
        let refused = refusal(&config.bots, "/executor/base_url", &self.spec.base_url);
        refused.into_iter().collect()
    }
}

/// The executor of one incarnation.
struct Model {
    cx: Arc<LlmContext>,
    offers: watch::Receiver<Offer>,
    prober: Option<Prober>,
}

impl Executor for Model {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let cx = Arc::clone(&self.cx);
        Started::Running(Execution {
            end: Box::pin(async move { Ok(run(&cx, &claimed, stop).await) }),
            progress: Progress::told(),
        })
    }

    fn offer(&self) -> Option<watch::Receiver<Offer>> {
        Some(self.offers.clone())
    }

    /// Returns the probes: they run for as long as the bot, and never take it down.
    fn down(&mut self) -> Option<LocalBoxFuture<'static, BotDown>> {
        let prober = self.prober.take()?;
        Some(Box::pin(async move { match prober.run().await {} }))
    }
}
