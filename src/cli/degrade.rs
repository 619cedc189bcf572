//! `deia degrade`: the level at which features are shed, and the features.

pub(super) mod view;

use std::time::Duration;

use clap::Subcommand;
use deia_model::{Level, ModeChange};

use super::{confirm::Confirm, context::Context, error::CliError, parse, watch::WatchArgs};

#[derive(Debug, Subcommand)]
pub(super) enum DegradeCommand {
    /// Show the mode, the level, their reason, and the signals with their last readings.
    #[command(before_help = "Examples:
  deia degrade status
  deia degrade status --watch
  deia degrade status --output json | jq -r '.signals[] | select(.state == \"over\") | .reading'")]
    Status {
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// List the features: on, off or absent, why, since when, and what brings each back.
    #[command(before_help = "Examples:
  deia degrade features
  deia degrade features --output json | jq -r '.[] | select(.state == \"off\") | .feature'")]
    Features {
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Set a level for a time. A higher level that the signals demand stays in force; when the
    /// time is over, the signals alone decide.
    #[command(before_help = "Examples:
  deia degrade set 2 --reason drill --for 10m
  deia degrade set 4 --reason 'the disk is moved' --for 2h --yes")]
    Set {
        /// Level: 0 normal, 1 optional features shed, 2 important ones as well, 3 critical ones
        /// only and no submissions of P2 and P3, 4 read-only.
        #[arg(value_parser = level)]
        level: Level,
        /// Reason, shown while the level lasts.
        #[arg(long)]
        reason: String,
        /// Time for which it lasts; degradation.default_duration if not given.
        #[arg(long = "for", value_name = "DURATION", value_parser = parse::some_duration)]
        lasts: Option<Duration>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// End a level that was set: the signals alone decide.
    #[command(before_help = "Examples:
  deia degrade auto
  deia degrade auto --reason 'the drill is over'")]
    Auto {
        /// Reason, kept with the event.
        #[arg(long)]
        reason: Option<String>,
    },
}

fn level(text: &str) -> Result<Level, String> {
    let number = text.parse().ok();
    let level = number.and_then(Level::new);
    level.ok_or_else(|| "expected 0 to 4".to_owned())
}

impl DegradeCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        let change = match self {
            Self::Status { watch } => {
                let once = async || {
                    let status = client.degradation().await?;
                    out.one(&status, |look| view::status(&status, look))
                };
                return watch.show(context, once).await;
            }
            Self::Features { watch } => {
                let once = async || {
                    let features = client.features().await?;
                    out.one(&features, |look| view::features(&features, look))
                };
                return watch.show(context, once).await;
            }
            Self::Set {
                level,
                reason,
                lasts,
                confirm,
            } => {
                if level >= Level::CRITICAL_ONLY {
                    confirm.ask(&format!("set level {level}: {}", level.effect()))?;
                }
                ModeChange {
                    level: Some(level),
                    auto: false,
                    reason: Some(reason),
                    duration_seconds: lasts.map(seconds),
                }
            }
            Self::Auto { reason } => ModeChange {
                auto: true,
                reason,
                ..ModeChange::default()
            },
        };
        let status = client.set_mode(&change).await?;
        out.one(&status, |look| view::status(&status, look))
    }
}

/// Returns whole seconds, rounded up: a shorter time is not none.
fn seconds(lasts: Duration) -> u64 {
    lasts.as_secs() + u64::from(lasts.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_0_to_4() {
        assert_eq!(level("4"), Ok(Level::READ_ONLY));
        for wrong in ["5", "-1", "two", ""] {
            assert_eq!(level(wrong), Err("expected 0 to 4".to_owned()), "{wrong}");
        }
        assert_eq!(seconds(Duration::from_millis(1_500)), 2);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
    }
}
