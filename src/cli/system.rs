//! `deia-admin system`.

use clap::Subcommand;
use deia_hive::model::SystemStatus;

use super::{
    context::Context,
    error::CliError,
    human,
    output::Look,
    queue,
    table::{Cell, Table, Tone},
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum SystemCommand {
    /// Show what runs, since when, and how much work there is.
    #[command(before_help = "Examples:
  deia-admin system status
  deia-admin system status --output yaml")]
    Status {
        #[command(flatten)]
        watch: WatchArgs,
    },
}

impl SystemCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self {
            Self::Status { watch } => {
                let once = async || {
                    let system = context.client.system_status().await?;
                    let url = context.client.url();
                    context.out.one(&system, |look| status(&system, url, look))
                };
                watch.show(&context.out, once).await
            }
        }
    }
}

fn status(system: &SystemStatus, url: &str, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("hive", system.hive_id.as_str());
    table.field("url", url);
    table.field("version", system.version.as_str());
    let tone = if system.state == "ready" {
        Tone::Good
    } else {
        Tone::Attention
    };
    table.field("state", Cell::new(system.state.as_str(), tone));
    table.field("process id", system.pid);
    table.field("started", human::when_exactly(system.started_at, look.now));
    let up = system.uptime_seconds.saturating_mul(1_000);
    table.field("up for", human::millis(up));
    table.field(
        "last shutdown",
        if system.previous_shutdown_clean {
            Cell::from("orderly")
        } else {
            Cell::new("not orderly: it crashed or was killed", Tone::Attention)
        },
    );
    table.field(
        "bots",
        format!(
            "{} healthy of {} launched",
            system.bots_healthy, system.bots_launched
        ),
    );
    table.field("newest event", system.last_event_seq);
    queue::counts(&mut table, "tasks ", &system.tasks);
    table.render(look)
}
