//! `deia system`.

use std::time::Duration;

use clap::Subcommand;
use deia_client::Client;
use deia_model::{LastRestart, StoredOutputs, SystemStatus};

use super::{
    config::ConfigCommand,
    confirm::Confirm,
    context::Context,
    degrade,
    error::CliError,
    format,
    interrupt::Stays,
    output::Look,
    parse, queue,
    table::{Cell, Table, Tone},
    watch::WatchArgs,
};

/// Interval of the checks whether a restart is complete. Fixed: of the command line,
/// which has no settings.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub(super) enum SystemCommand {
    /// Show what runs, since when, and how much work there is.
    #[command(before_help = "Examples:
  deia system status
  deia system status --output yaml")]
    Status {
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Show the settings in force; with set, change one.
    #[command(before_help = "Examples:
  deia system config
  deia system config set tasks.max_batch 500")]
    Config {
        #[command(subcommand)]
        command: Option<SystemConfigCommand>,
    },
    /// Restart the server in place: its process id stays, no request is refused or
    /// fails, and the configuration is reloaded. Running tasks have
    /// server.drain_timeout to end, and none begins meanwhile. Refused if a new start
    /// would fail.
    #[command(before_help = "Examples:
  deia system restart --wait
  deia system restart --yes --wait 2m")]
    Restart {
        #[command(flatten)]
        confirm: Confirm,
        /// Wait until it is ready again, 1 minute at most unless another time is given.
        #[arg(
            long,
            value_name = "DURATION",
            num_args = 0..=1, require_equals = true,
            default_missing_value = "1m",
            value_parser = parse::duration
        )]
        wait: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SystemConfigCommand {
    /// Change one setting of the running hive, as deia config set does.
    #[command(before_help = "Examples:
  deia system config set tasks.max_batch 500")]
    Set {
        /// The key, in dotted form.
        key: String,
        /// The value: JSON, or a text such as 30s.
        value: String,
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
                watch.show(context, once).await
            }
            Self::Config { command } => {
                let command = match command {
                    None => ConfigCommand::show(),
                    Some(SystemConfigCommand::Set { key, value }) => ConfigCommand::set(key, value),
                };
                command.run(context).await
            }
            Self::Restart { confirm, wait } => {
                confirm.ask("restart the server; tasks that do not end in time run again")?;
                let before = context.client.restart().await?;
                context.interrupt.stays(Stays::Restart);
                let Some(within) = wait else {
                    context.out.note("the server restarts");
                    return Ok(());
                };
                let restarted = restarted(&context.client, &before);
                let after = tokio::time::timeout(within, restarted).await;
                let after = after.map_err(|_| CliError::NotRestarted { within })?;
                if let Some(LastRestart {
                    reason: Some(reason),
                    ..
                }) = after.last_restart
                {
                    return Err(CliError::RestartFailed { reason });
                }
                let url = context.client.url();
                context.out.one(&after, |look| status(&after, url, look))
            }
        }
    }
}

/// Waits until the server is another start than before, and ready.
async fn restarted(client: &Client, before: &SystemStatus) -> SystemStatus {
    loop {
        match client.system_status().await {
            Ok(now) if now.started_at != before.started_at && now.state == "ready" => return now,
            // Meanwhile the server may answer as the earlier start, or not at all.
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

fn outputs(stored: &StoredOutputs) -> Cell {
    let bytes = format::bytes(stored.bytes);
    let Some(limit) = stored.limit_bytes else {
        return Cell::from(bytes);
    };
    let size = format!("{bytes} of {} allowed", format::bytes(limit));
    match stored.removed {
        0 => Cell::from(size),
        n => Cell::new(
            format!("{size}; {n} removed for the limit"),
            Tone::Attention,
        ),
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
    table.field("mode", degrade::view::mode(system.mode, system.level));
    table.field("process id", system.pid);
    table.field("started", format::when_exactly(system.started_at, look.now));
    let up = system.uptime_seconds.saturating_mul(1_000);
    table.field("up for", format::millis(up));
    table.field(
        "last shutdown",
        if system.previous_shutdown_clean {
            Cell::from("orderly")
        } else {
            Cell::new("not orderly: it crashed or was killed", Tone::Attention)
        },
    );
    if let Some(last) = &system.last_restart {
        let how = match &last.reason {
            None => Cell::from("succeeded"),
            Some(reason) => Cell::new(format!("failed: {reason}"), Tone::Attention),
        };
        table.field("last restart", how);
    }
    table.field(
        "bots",
        format!(
            "{} healthy of {} launched",
            system.bots_healthy, system.bots_launched
        ),
    );
    table.field("newest event", system.last_event_seq);
    for follower in &system.followers {
        let lag = match follower.lag_events {
            0 => Cell::from("up to date"),
            n => Cell::from(format!(
                "{n} events behind ({})",
                format::millis(follower.lag_ms)
            )),
        };
        table.field(&format!("follower {}", follower.name), lag);
    }
    table.field("outputs", outputs(&system.outputs));
    queue::counts(&mut table, "tasks ", &system.tasks);
    table.render(look)
}
