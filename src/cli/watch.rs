//! Repeated output.

use std::time::Duration;

use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use super::{context::Context, error::CliError, format, interrupt::Stays, parse};

/// Shortest interval of a view that is drawn again. Fixed: of the command line, which has
/// no settings.
const SHORTEST: Duration = Duration::from_millis(100);

/// Options of commands that can watch.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct WatchArgs {
    /// Repeat every 2 s, or at the given interval, until Ctrl-C (exit code 130).
    #[arg(
        long,
        value_name = "INTERVAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = interval_of
    )]
    watch: Option<Duration>,
}

impl WatchArgs {
    /// Returns whether the output is repeated.
    pub(super) fn again(self) -> bool {
        self.watch.is_some()
    }

    /// Runs `show` once, or repeatedly on a cleared terminal.
    ///
    /// A hive that does not answer for a while, as in a restart, is asked again;
    /// what was shown last stays.
    ///
    /// # Errors
    /// Any error of the first `show`, and later errors that are not temporary.
    pub(super) async fn show(
        self,
        context: &Context,
        mut show: impl AsyncFnMut() -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let Some(period) = self.watch else {
            return show().await;
        };
        let out = &context.out;
        context.interrupt.stays(Stays::Watching);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut shown, mut lost) = (false, false);
        loop {
            ticks.tick().await;
            out.next_frame();
            match show().await {
                Ok(()) => (shown, lost) = (true, false),
                Err(CliError::Client(error)) if shown && error.is_passing() => {
                    out.keep_frame();
                    if !std::mem::replace(&mut lost, true) {
                        let error = CliError::from(error).message().swap_remove(0);
                        let period = format::duration(period);
                        out.note(&format!("{error}; retrying every {period}"));
                    }
                }
                Err(error) => {
                    out.keep_frame();
                    return Err(error);
                }
            }
        }
    }
}

fn interval_of(text: &str) -> Result<Duration, String> {
    match parse::duration(text)? {
        period if period < SHORTEST => Err("expected 100ms or more".into()),
        period => Ok(period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_more_often_than_is_of_use() {
        for (text, ok) in [
            ("0s", false),
            ("99ms", false),
            ("100ms", true),
            ("1m", true),
        ] {
            assert_eq!(interval_of(text).is_ok(), ok, "{text}");
        }
    }
}
