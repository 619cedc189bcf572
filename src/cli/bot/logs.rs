//! The log of a bot, printed and followed.

use std::time::Duration;

use clap::Args;
use deia_client::{Client, ClientError, LogLines, ServerEvent};
use deia_model::BotName;
use serde::Serialize;
use tokio::time::sleep;

use crate::cli::{context::Context, error::CliError, interrupt::Stays, output::Output, parse};

/// Number of attempts to continue after a stream has broken off (the server may be
/// restarting), and the pause before each. Fixed: of the command line, which has no
/// settings.
const TRIES: u32 = 10;
/// Pause before each retry. Fixed: of the command line, which has no settings.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(in crate::cli) struct LogArgs {
    /// The bot.
    name: BotName,
    /// Maximum number of lines.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = parse::whole(1..=10_000_u32))]
    lines: u32,
    /// Continue with each new line, until interrupted.
    #[arg(long, short)]
    follow: bool,
}

/// A line of a followed log.
#[derive(Serialize)]
struct Line<'a> {
    position: &'a str,
    line: &'a str,
}

/// Lines that are shown before new ones are followed, if a number is not asked for.
/// Fixed: of the command line, which has no settings.
const LINES_BEFORE: u32 = 10;

impl LogArgs {
    /// Returns the arguments that follow the log of a bot.
    pub(super) fn following(name: BotName) -> Self {
        Self {
            name,
            lines: LINES_BEFORE,
            follow: true,
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        if self.follow {
            context.interrupt.stays(Stays::Watching);
            return self.follow(client, out).await;
        }
        print(out, &client.bot_log(&self.name, self.lines).await?)
    }

    async fn follow(&self, client: &Client, out: &Output) -> Result<(), CliError> {
        let mut after: Option<String> = None;
        let mut tries = 0;
        loop {
            let ended = self.read_on(client, out, &mut after, &mut tries).await;
            match ended {
                Err(CliError::Client(error)) if is_passing(&error) && after.is_some() => {
                    if tries >= TRIES {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            tries += 1;
            sleep(RETRY_AFTER).await;
        }
    }

    /// Prints new lines until the stream ends.
    async fn read_on(
        &self,
        client: &Client,
        out: &Output,
        after: &mut Option<String>,
        tries: &mut u32,
    ) -> Result<(), CliError> {
        let mut events = client
            .follow_bot_log(&self.name, self.lines, after.as_deref())
            .await?;
        // A log without lines has a beginning, too.
        after.get_or_insert_with(|| "0".into());
        *tries = 0;
        while let Some(event) = events.next().await? {
            show(out, &event)?;
            if !event.id.is_empty() {
                *after = Some(event.id);
            }
        }
        Ok(())
    }
}

fn is_passing(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. }
    ) || error.problem().is_some_and(|problem| problem.status == 503)
}

fn show(out: &Output, event: &ServerEvent) -> Result<(), CliError> {
    match event.kind.as_str() {
        "" if out.is_table() => out.raw(&event.data),
        "" => out.line(&Line {
            position: &event.id,
            line: &event.data,
        }),
        "gap" => {
            out.note("lines are missing here: the log was rotated before they were read");
            Ok(())
        }
        _ => {
            out.note(&event.data);
            Ok(())
        }
    }
}

fn print(out: &Output, log: &LogLines) -> Result<(), CliError> {
    if !out.is_table() {
        return out.one(log, |_| String::new());
    }
    if log.lines.is_empty() {
        out.note("the log is empty");
        return Ok(());
    }
    out.raw(&log.lines.join("\n"))
}
