//! Arguments of `bot add` for bots whose tasks are leased by remote workers.

use clap::Args;
use deia_model::{Executor, RemoteExecutor};

use crate::cli::parse;

#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    /// Workers that lease tasks over HTTP, from anywhere, with a key of the role bot that is
    /// bound to the bot.
    #[arg(long, group = "executor", conflicts_with_all = ["simulated", "file", "command", "program", "worker", "http", "llm", "env", "secret", "working_dir"])]
    remote: bool,
    /// The interval in which a worker sends heartbeats for each task, 1s to 1h; a worker that
    /// misses three loses its tasks. `bots.remote.heartbeat` when absent.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds, requires = "remote", conflicts_with_all = ["simulated", "file", "command", "program", "worker", "http", "llm"])]
    heartbeat: Option<u64>,
}

impl RemoteArgs {
    /// Returns the executor, if the workers are remote.
    pub(super) fn executor(&self) -> Option<Executor> {
        let remote = RemoteExecutor {
            heartbeat_seconds: self.heartbeat,
        };
        self.remote.then_some(Executor::Remote(remote))
    }
}
