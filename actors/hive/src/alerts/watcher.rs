//! The actor that compares the conditions that hold with the open alerts.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_model::Timestamp;
use deia_supervision::Context;

use super::{
    AlertsApi,
    metrics::AlertMetrics,
    reconcile::{Reconciler, Times},
};
use crate::{HiveError, config::Settings};

/// Checks the conditions every `alerts.look_every`, one check at a time.
pub(super) struct AlertWatcher {
    alerts: AlertsApi,
    metrics: Arc<AlertMetrics>,
    settings: Settings,
    reconciler: Reconciler,
    /// True if the last check failed and that was logged.
    failing: bool,
}

impl AlertWatcher {
    pub(super) fn new(alerts: AlertsApi, metrics: Arc<AlertMetrics>, settings: Settings) -> Self {
        Self {
            alerts,
            metrics,
            settings,
            reconciler: Reconciler::default(),
            failing: false,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let (alerts, metrics) = (self.alerts.clone(), self.metrics.clone());
        let settings = self.settings.get();
        let times = Times {
            resolve_after: settings.alerts.resolve_after,
            retention: settings.alerts.retention,
        };
        let mut reconciler = std::mem::take(&mut self.reconciler);
        let looking = async move {
            let looked = look_once(&alerts, &metrics, &mut reconciler, times).await;
            (reconciler, looked)
        };
        ctx.spawn(
            looking
                .into_actor(self)
                .map(move |(reconciler, looked), this, ctx| {
                    this.reconciler = reconciler;
                    if let Err(error) = &looked
                        && !this.failing
                    {
                        tracing::warn!(%error, "alerts cannot be brought up to date; retrying");
                    }
                    this.failing = looked.is_err();
                    ctx.run_later(settings.alerts.look_every, Self::look);
                }),
        );
    }
}

async fn look_once(
    alerts: &AlertsApi,
    metrics: &AlertMetrics,
    reconciler: &mut Reconciler,
    times: Times,
) -> Result<(), HiveError> {
    let holding = alerts.conditions().await?;
    let open = alerts.open().await?;
    metrics.note_open(&open);
    let Some(command) = reconciler.settle(&open, holding, Timestamp::now(), times) else {
        return Ok(());
    };
    let raised = command.raise.len();
    if alerts.settle(command).await? > 0 {
        metrics.note_raised(raised);
        metrics.note_open(&alerts.open().await?);
    }
    Ok(())
}

impl Actor for AlertWatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}
