//! `deia health`.

use clap::Subcommand;
use deia_model::HealthMetrics;

use super::{
    context::Context,
    degrade,
    error::CliError,
    format,
    output::Look,
    table::{Cell, Table, Tone, or_dash},
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum HealthCommand {
    /// Show the health problems and the measurements behind them; exit code 3 if there
    /// are any.
    #[command(before_help = "Examples:
  deia health check
  deia health check --watch
  deia health check --output json | jq -r '.problems[]'")]
    Check {
        #[command(flatten)]
        watch: WatchArgs,
    },
}

impl HealthCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self {
            Self::Check { watch } if watch.again() => {
                // Watching ends only on request, even if the hive is unhealthy.
                let once = async || match check(context).await {
                    Err(CliError::Unhealthy(why)) => {
                        context.out.note(&format!("not healthy: {why}"));
                        Ok(())
                    }
                    other => other,
                };
                watch.show(context, once).await
            }
            Self::Check { .. } => check(context).await,
        }
    }
}

async fn check(context: &Context) -> Result<(), CliError> {
    let health = match context.client.health().await {
        Err(error) if error.problem().is_some_and(|p| p.status == 503) => {
            return Err(CliError::Unhealthy(error.to_string()));
        }
        other => other?,
    };
    context.out.one(&health, |look| details(&health, look))?;
    if health.healthy {
        return Ok(());
    }
    Err(CliError::Unhealthy(match health.problems.as_slice() {
        [] => "it does not say why".into(),
        [only] => only.clone(),
        several => format!("{} problems, see above", several.len()),
    }))
}

fn details(health: &HealthMetrics, look: &Look) -> String {
    let mut table = Table::fields();
    table.field(
        "health",
        if health.healthy {
            Cell::new("healthy", Tone::Good)
        } else {
            Cell::new("not healthy", Tone::Bad)
        },
    );
    for problem in &health.problems {
        table.field("problem", Cell::new(problem.as_str(), Tone::Bad));
    }
    table.field("mode", degrade::view::mode(health.mode, health.level));
    table.field("CPU", format::percent(health.cpu_percent));
    table.field(
        "memory",
        format!(
            "{} of the machine's, {} by the hive",
            format::percent(health.memory_percent),
            format::bytes(health.memory_bytes)
        ),
    );
    table.field(
        "disk",
        format!(
            "{} used, {} free",
            format::percent(health.disk_percent),
            format::bytes(health.disk_free_bytes)
        ),
    );
    table.field(
        "bots",
        format!(
            "{} healthy of {} launched",
            health.bots_healthy, health.bots_launched
        ),
    );
    table.field("queued tasks", health.queue_depth);
    table.field(
        "oldest queued",
        or_dash(health.oldest_queued_ms.map(format::millis)),
    );
    table.field(
        "success rate",
        or_dash(health.success_rate.map(format::share)),
    );
    table.field("failed in 24 h", health.failures_24h);
    table.render(look)
}
