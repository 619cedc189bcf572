//! The executor of services.

use std::sync::{Arc, Mutex};

use deia_ledger::ClaimedTask;
use deia_model::{HttpExecutor, Violation};
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::{HttpContext, probe::Prober, run};
use crate::{
    bots::{
        attempt::StopSignal,
        executor::{
            BotDown, Execution, Executor, ExecutorFactory, IncarnationParts, Offer, Started,
        },
        remote::{Desk, MISSED_HEARTBEATS},
        service::{ServiceContext, refusal},
    },
    config::Config,
};

/// Factory for executors that post each task to a service.
pub(in crate::bots) struct HttpFactory {
    spec: HttpExecutor,
}

impl HttpFactory {
    pub(in crate::bots) fn new(spec: HttpExecutor) -> Self {
        Self { spec }
    }
}

impl ExecutorFactory for HttpFactory {
    fn make(&self, incarnation: IncarnationParts) -> Box<dyn Executor> {
        let settings = incarnation.config.bots.http;
        let slots = incarnation.record.spec.capabilities.max_concurrent_tasks;
        let line = incarnation.services.line(settings.connect_timeout);
        // Reports by lease find the bot's attempts there.
        let desk = incarnation.gauges.desk.clone();
        let heartbeat = incarnation.config.bots.remote.heartbeat;
        desk.begin(heartbeat * MISSED_HEARTBEATS, slots);
        let cx = Arc::new(HttpContext {
            spec: self.spec.clone(),
            max_answer_bytes: usize::try_from(settings.max_answer_bytes.as_u64())
                .unwrap_or(usize::MAX),
            succeeded_at: Mutex::default(),
            service: ServiceContext::new(&incarnation, line),
        });
        let prober = Prober::new(cx.clone(), settings, slots);
        Box::new(Service {
            cx,
            desk,
            offers: prober.offers(),
            prober: Some(prober),
        })
    }

    fn violations(&self, config: &Config) -> Vec<Violation> {
        let url = refusal(&config.bots, "/executor/url", &self.spec.url);
        let health_url = self.spec.health_url.as_deref();
        let health_url =
            health_url.and_then(|url| refusal(&config.bots, "/executor/health_url", url));
        url.into_iter().chain(health_url).collect()
    }
}

/// The executor of one incarnation.
struct Service {
    cx: Arc<HttpContext>,
    desk: Desk,
    offers: watch::Receiver<Offer>,
    prober: Option<Prober>,
}

impl Executor for Service {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let cx = Arc::clone(&self.cx);
        let (expected, progress) = self.desk.expect(&claimed);
        Started::Running(Execution {
            end: Box::pin(async move { Ok(run(&cx, &claimed, expected, stop).await) }),
            progress,
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
