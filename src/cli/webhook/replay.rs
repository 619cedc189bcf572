//! Replays, and their progress.

use std::time::Duration;

use clap::Args;
use deia_model::{Replay, ReplayState, Timestamp, WebhookId};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Which, view};
use crate::cli::{
    context::Context, error::CliError, format, interrupt::Stays, output::Output, parse,
};

/// Interval of the checks. Fixed: of the command line, which has no settings.
const PERIOD: Duration = Duration::from_millis(500);
/// Number of retries when the hive does not answer (it may be restarting), and the pause
/// before each. Fixed: of the command line, which has no settings.
const TRIES: u32 = 10;
/// Pause before each retry. Fixed: of the command line, which has no settings.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Progress that is worth a line, in percent, and the longest time without a line. Fixed:
/// of the command line, which has no settings.
const STEP_PERCENT: f64 = 5.0;
/// Longest time without a line. Fixed: of the command line, which has no settings.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// Characters of a whole bar. Fixed: of the command line, which has no settings.
const BAR: usize = 20;

/// Arguments of a replay.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    #[command(flatten)]
    which: Which,
    /// Time of the oldest event: a time such as 2026-11-20T08:30:00Z, or a span before
    /// now such as 2h.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    from: Timestamp,
    /// Time before which the newest event was recorded: a time, or a span before now; now
    /// when absent.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    to: Option<Timestamp>,
    /// Show the progress, and wait for the end; exit code 1 if the replay is stopped.
    #[arg(long)]
    watch: bool,
}

impl ReplayArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let id = self.which.id;
        let started = context.client.start_webhook_replay(id, self.from, self.to);
        let replay = started.await?;
        if self.watch {
            return watch(context, id, replay).await;
        }
        context.out.one(&replay, |look| {
            view::replays(std::slice::from_ref(&replay), look)
        })?;
        let note = format!("follow it: deia webhook replays {id} --watch");
        context.out.note(&note);
        Ok(())
    }
}

/// Shows the progress until the end, then the replay.
///
/// # Errors
/// The replay was stopped.
async fn watch(context: &Context, webhook: WebhookId, first: Replay) -> Result<(), CliError> {
    let out = &context.out;
    context.interrupt.stays(Stays::Replay(webhook, first.id));
    let (mut replay, mut told, mut told_at) = (first, None, Instant::now());
    loop {
        let is_over = replay.state != ReplayState::Running;
        if is_over || is_news(told, replay.progress_percent, told_at.elapsed()) {
            tell(out, &replay)?;
            (told, told_at) = (Some(replay.progress_percent), Instant::now());
        }
        if is_over {
            return ended(out, webhook, &replay);
        }
        sleep(PERIOD).await;
        replay = now(context, webhook, replay).await?;
    }
}

/// Returns the replay as it is now.
///
/// # Errors
/// There is none any more, or the hive does not answer.
async fn now(context: &Context, webhook: WebhookId, last: Replay) -> Result<Replay, CliError> {
    let mut tries = 0;
    loop {
        match context.client.webhook_replays(webhook).await {
            Ok(page) => {
                let mut all = page.items.into_iter();
                let missing = || CliError::NoSuch {
                    what: format!("{} any more", last.id),
                    known: Vec::new(),
                };
                return all.find(|it| it.id == last.id).ok_or_else(missing);
            }
            Err(error) if error.is_passing() && tries < TRIES => {
                tries += 1;
                sleep(RETRY_AFTER).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn ended(out: &Output, webhook: WebhookId, replay: &Replay) -> Result<(), CliError> {
    if !out.is_jsonl() {
        // The last line of the progress has it for programs that read lines.
        out.one(replay, |look| {
            view::replays(std::slice::from_ref(replay), look)
        })?;
    }
    match replay.state {
        ReplayState::Stopped => Err(CliError::ReplayStopped {
            webhook,
            replay: replay.id,
            progress_percent: replay.progress_percent,
        }),
        ReplayState::Running | ReplayState::Completed => Ok(()),
    }
}

/// Returns whether the progress is worth a line, after `told` a while ago.
fn is_news(told: Option<f64>, percent: f64, quiet: Duration) -> bool {
    told.is_none_or(|told| percent - told >= STEP_PERCENT) || quiet >= QUIET_MAX
}

/// The progress of a replay, and the time at which it was seen.
#[derive(Serialize)]
struct Seen<'r> {
    seen_at: Timestamp,
    #[serde(flatten)]
    replay: &'r Replay,
}

/// Programs that expect one document get the last state alone.
fn tell(out: &Output, replay: &Replay) -> Result<(), CliError> {
    let seen_at = Timestamp::now();
    if out.is_table() {
        out.text(&format!("{}\n", line(replay)))
    } else if out.is_jsonl() {
        out.line(&Seen { seen_at, replay })
    } else {
        out.note(&line(replay));
        Ok(())
    }
}

fn line(replay: &Replay) -> String {
    let percent = replay.progress_percent;
    let mut line = format!(
        "{} {:>7}  {} delivered",
        bar(percent),
        format::percent(percent),
        replay.delivered
    );
    if replay.failed > 0 {
        line.push_str(&format!(", {} failed and waiting", replay.failed));
    }
    if replay.state != ReplayState::Running {
        line.push_str(&format!(", {}", replay.state.as_str()));
    }
    line
}

fn bar(percent: f64) -> String {
    // Compared rather than converted, so that no value is out of range.
    #[expect(clippy::cast_precision_loss, reason = "twenty steps")]
    let is_done = |step: &usize| percent >= (step * 100) as f64 / BAR as f64;
    let done = (1..=BAR).filter(is_done).count();
    format!("[{}{}]", "#".repeat(done), "-".repeat(BAR - done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(state: ReplayState, percent: f64, failed: u64) -> Replay {
        Replay {
            id: deia_model::ReplayId::new(),
            from: Timestamp::from_millis(0),
            to: Timestamp::from_millis(1),
            state,
            progress_percent: percent,
            delivered: 119,
            failed,
            actor: "ada".into(),
            started_at: Timestamp::from_millis(2),
            ended_at: None,
        }
    }

    #[test]
    fn progress_is_a_line() {
        use ReplayState::{Completed, Running, Stopped};
        for (state, percent, failed, expected) in [
            (
                Running,
                0.0,
                0,
                "[--------------------]   0.0 %  119 delivered",
            ),
            (
                Running,
                42.3,
                1,
                "[########------------]  42.3 %  119 delivered, 1 failed and waiting",
            ),
            (
                Completed,
                100.0,
                0,
                "[####################] 100.0 %  119 delivered, completed",
            ),
            (
                Stopped,
                99.9,
                0,
                "[###################-]  99.9 %  119 delivered, stopped",
            ),
        ] {
            assert_eq!(line(&replay(state, percent, failed)), expected);
        }
        assert_eq!(bar(f64::NAN), bar(0.0));
        assert_eq!(bar(1e9), bar(100.0));
    }

    #[test]
    fn progress_is_news_after_a_step_or_a_while() {
        for (told, percent, quiet_s, expected) in [
            (None, 0.0, 0, true),
            (Some(0.0), 4.9, 1, false),
            (Some(0.0), 5.0, 1, true),
            (Some(40.0), 40.0, 9, false),
            (Some(40.0), 40.0, 10, true),
        ] {
            let quiet = Duration::from_secs(quiet_s);
            assert_eq!(
                is_news(told, percent, quiet),
                expected,
                "{told:?} {percent}"
            );
        }
    }
}
