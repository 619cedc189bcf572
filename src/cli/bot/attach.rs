//! A bot with which a person speaks: its log or the output of a task is followed, and each line
//! that is typed goes to its program.

use std::{io, thread};

use clap::Args;
use deia_client::Client;
use deia_model::{BotName, TaskId};
use tokio::sync::mpsc;

use super::logs::LogArgs;
use crate::cli::{context::Context, error::CliError, interrupt::Stays, task::OutputArgs};

/// Lines that may be read ahead of the hive. Fixed: of the command line, which has no
/// settings.
const READ_AHEAD: usize = 16;

#[derive(Debug, Args)]
pub(in crate::cli) struct AttachArgs {
    /// The bot, one whose program is started once.
    name: BotName,
    /// A task that the bot runs: its output is followed, and the lines are about it.
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
}

impl AttachArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        context.interrupt.stays(Stays::Watching);
        let follow = async {
            match self.task {
                Some(task) => OutputArgs::following(task).run(context).await,
                None => LogArgs::following(self.name.clone()).run(context).await,
            }
        };
        tokio::select! {
            ended = follow => ended,
            sent = self.send(&context.client) => sent,
        }
    }

    /// Sends each line of standard input, until its end.
    async fn send(&self, client: &Client) -> Result<(), CliError> {
        let mut lines = typed();
        while let Some(line) = lines.recv().await {
            let line = line.map_err(|error| CliError::Input {
                what: "standard input".into(),
                reason: error.to_string(),
            })?;
            client.send_bot_input(&self.name, &line, self.task).await?;
        }
        Ok(())
    }
}

/// Returns the lines of standard input. They are read on a thread that does not keep the process
/// from ending.
fn typed() -> mpsc::Receiver<io::Result<String>> {
    let (send, lines) = mpsc::channel(READ_AHEAD);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if send.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}
