//! Waiting for a bot to reach its desired state.

use std::time::Duration;

use clap::Args;
use deia_client::Client;
use deia_model::{Bot, BotDesired, BotStatus};
use tokio::time::{Instant, sleep};

use super::{error::CliError, parse};

/// The default of the help text. Fixed: of the command line, which has no settings.
const DEFAULT: Duration = Duration::from_secs(30);
/// First pause between two looks. Fixed: of the command line, which has no settings.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two looks. Fixed: of the command line, which has no settings.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Options of commands that wait for a bot.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct WaitArgs {
    /// Wait until the bot has reached the state, 30 s at most unless another time is
    /// given.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1, require_equals = true,
        default_missing_value = "30s",
        value_parser = parse::duration
    )]
    wait: Option<Duration>,
}

/// The desired state of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Launched.
    Up,
    /// Stopped.
    Down,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    There,
    UnderWay,
    Lost(String),
}

impl WaitArgs {
    /// Returns the wait, or the default if no time was given.
    pub(super) fn or_default(self) -> Self {
        Self {
            wait: self.wait.or(Some(DEFAULT)),
        }
    }

    /// Waits for the requested time; not at all without `--wait`.
    ///
    /// # Errors
    /// The bot failed, or has not reached the state in time.
    pub(super) async fn until(
        self,
        client: &Client,
        mut bot: Bot,
        goal: Goal,
    ) -> Result<Bot, CliError> {
        let Some(within) = self.wait else {
            return Ok(bot);
        };
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match progress(&bot, goal) {
                Progress::There => return Ok(bot),
                Progress::Lost(reason) => {
                    return Err(CliError::BotWentWrong {
                        name: bot.id,
                        status: status_name(bot.status),
                        reason,
                    });
                }
                Progress::UnderWay if start.elapsed() >= within => {
                    return Err(not_there(bot, within));
                }
                Progress::UnderWay => {}
            }
            sleep(pause.min(within.saturating_sub(start.elapsed()))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            bot = client.bot(&bot.id).await?;
        }
    }
}

fn not_there(bot: Bot, after: Duration) -> CliError {
    CliError::BotNotThere {
        running: bot.running_tasks,
        name: bot.id,
        status: status_name(bot.status),
        after,
    }
}

fn progress(bot: &Bot, goal: Goal) -> Progress {
    match (goal, bot.desired, bot.status) {
        (Goal::Up, BotDesired::Draining, _) => Progress::Lost("somebody drains it".into()),
        (Goal::Up, BotDesired::Stopped, _) => Progress::Lost("somebody stopped it".into()),
        (Goal::Down, BotDesired::Launched, _) => Progress::Lost("somebody launched it".into()),
        (Goal::Up, _, BotStatus::Healthy | BotStatus::Degraded) => Progress::There,
        (Goal::Up, _, BotStatus::Failing) if lived_since_launch(bot) => Progress::Lost(
            bot.last_exit
                .clone()
                .unwrap_or_else(|| "it is down and not restarted automatically".into()),
        ),
        // The bot cannot be removed until its tasks are given back.
        (Goal::Down, _, BotStatus::Stopped | BotStatus::Offline) if bot.running_tasks == 0 => {
            Progress::There
        }
        _ => Progress::UnderWay,
    }
}

/// Returns whether the state of a bot is about this launch. Until it is alive again, a
/// bot that failed before shows the old failure.
fn lived_since_launch(bot: &Bot) -> bool {
    bot.last_heartbeat > bot.launched_at
}

/// Returns the name of a status on the wire.
pub(super) fn status_name(status: BotStatus) -> &'static str {
    match status {
        BotStatus::Offline => "offline",
        BotStatus::Starting => "starting",
        BotStatus::Healthy => "healthy",
        BotStatus::Degraded => "degraded",
        BotStatus::Draining => "draining",
        BotStatus::Failing => "failing",
        BotStatus::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use deia_model::Timestamp;

    use super::*;

    fn bot(status: BotStatus, desired: BotDesired) -> Bot {
        let bot = serde_json::json!({
            "id": "b-1", "executor": {"kind": "simulated"}, "status": status, "desired": desired,
            "version": 1, "port": 8001, "pids": [], "success_rate": null, "current_load": 0.0,
            "capabilities": {}, "running_tasks": 0, "last_heartbeat": "1970-01-01T00:00:00.002Z",
            "launched_at": "1970-01-01T00:00:00.001Z", "tasks_completed": 0, "tasks_failed": 0,
            "restarts": 0, "last_exit": "exit code 1",
        });
        serde_json::from_value(bot).unwrap()
    }

    #[test]
    fn the_table() {
        use BotDesired::{Draining as Drain, Launched, Stopped as Off};
        use BotStatus::*;
        use Goal::*;
        for (goal, desired, status, expected) in [
            (Up, Launched, Healthy, "there"),
            (Up, Launched, Degraded, "there"),
            (Up, Launched, Starting, "under way"),
            (Up, Launched, Offline, "under way"),
            (Up, Launched, Stopped, "under way"),
            (Up, Launched, Failing, "exit code 1"),
            (Up, Off, Healthy, "somebody stopped it"),
            (Up, Drain, Draining, "somebody drains it"),
            (Down, Drain, Draining, "under way"),
            (Down, Drain, Failing, "under way"),
            (Down, Off, Stopped, "there"),
            (Down, Off, Offline, "there"),
            (Down, Off, Healthy, "under way"),
            (Down, Off, Failing, "under way"),
            (Down, Launched, Stopped, "somebody launched it"),
        ] {
            let got = match progress(&bot(status, desired), goal) {
                Progress::There => "there".into(),
                Progress::UnderWay => "under way".into(),
                Progress::Lost(reason) => reason,
            };
            assert_eq!(got, expected, "{goal:?} {desired:?} {status:?}");
        }
    }

    #[test]
    fn an_old_failure_is_not_taken_for_a_new_one() {
        let mut bot = bot(BotStatus::Failing, BotDesired::Launched);
        bot.launched_at = Some(Timestamp::from_millis(3));
        assert_eq!(progress(&bot, Goal::Up), Progress::UnderWay);
        bot.last_heartbeat = None;
        assert_eq!(progress(&bot, Goal::Up), Progress::UnderWay);
    }

    #[test]
    fn a_bot_with_tasks_in_hand_has_not_stopped() {
        let mut bot = bot(BotStatus::Stopped, BotDesired::Stopped);
        bot.running_tasks = 1;
        assert_eq!(progress(&bot, Goal::Down), Progress::UnderWay);
    }

    #[test]
    fn names_are_those_of_the_wire() {
        use BotStatus::*;
        for status in [
            Offline, Starting, Healthy, Degraded, Draining, Failing, Stopped,
        ] {
            assert_eq!(
                serde_json::to_value(status).unwrap(),
                status_name(status),
                "{status:?}"
            );
        }
    }
}
