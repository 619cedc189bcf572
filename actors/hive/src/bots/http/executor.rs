//! The executor of services.

use std::sync::Arc;

use deia_ledger::{ClaimedTask, HeldAttempt};
use deia_model::{HttpExecutor, Violation};
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::{HttpContext, later::take_over, run};
use crate::{
    bots::{
        attempt::StopSignal,
        bot::AttemptKey,
        executor::{
            BotDown, Execution, Executor, ExecutorFactory, IncarnationParts, Offer, Started,
        },
        service::{ProbeBy, ProbeLimits, Prober, ServiceContext, refusal},
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
        let remote = incarnation.config.bots.remote;
        desk.begin(remote.heartbeat, remote.missed_heartbeats, slots);
        let cx = Arc::new(HttpContext {
            spec: self.spec.clone(),
            max_answer_bytes: usize::try_from(settings.max_answer_bytes.as_u64())
                .unwrap_or(usize::MAX),
            ledger: incarnation.ledger.clone(),
            desk,
            hive_stops: incarnation.hive_stops.clone(),
            service: Arc::new(ServiceContext::new(&incarnation, line)),
        });
        let by = match &self.spec.health_url {
            None => ProbeBy::Connection {
                url: self.spec.url.clone(),
            },
            Some(url) => ProbeBy::Get {
                url: url.clone(),
                headers: self.spec.headers.clone(),
            },
        };
        let limits = ProbeLimits {
            every: settings.probe_every,
            timeout: settings.probe_timeout,
            failures: settings.probe_failures,
        };
        let prober = Prober::new(cx.service.clone(), by, limits, slots);
        Box::new(Service {
            cx,
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
    offers: watch::Receiver<Offer>,
    prober: Option<Prober>,
}

impl Executor for Service {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let cx = Arc::clone(&self.cx);
        let (expected, progress) = self.cx.desk.expect(&claimed);
        Started::Running(Execution {
            end: Box::pin(async move { Ok(run(&cx, &claimed, expected, stop).await) }),
            progress,
        })
    }

    fn adopts(&self) -> bool {
        true
    }

    fn outlives(&self, attempt: AttemptKey) -> bool {
        self.cx.desk.is_held(attempt)
    }

    fn adopt(&mut self, held: &HeldAttempt, stop: StopSignal) -> Option<Execution> {
        let (cx, held) = (Arc::clone(&self.cx), held.clone());
        let (expected, progress) = self.cx.desk.expect_again(&held);
        Some(Execution {
            end: Box::pin(async move { Ok(take_over(&cx, held, expected, stop).await) }),
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
