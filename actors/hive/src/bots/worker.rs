//! The worker executor: a program that is started once for an incarnation of the bot, handed its
//! tasks as lines of JSON, and answers with lines of JSON.
//!
//! Three parts share the [`Desk`](desk::Desk), on the arbiter of the bot: the executor puts
//! attempts on it, an attempt waits there for its answer ([`attempt`]), and the
//! [`Session`](session::Session) with the program takes the orders from it and puts the answers
//! there. The session is the executor's `down`: it ends with the bot's actor, and the program with
//! the session.

mod attempt;
mod desk;
mod executor;
mod lines;
mod protocol;
mod reader;
mod session;
mod start;
mod verdict;

use std::{path::PathBuf, time::Duration};

use deia_model::{BotLimits, BotName, CommandExecutor, TaskId};
use tokio::sync::mpsc;

pub(super) use self::executor::WorkerFactory;
use super::{
    log::BotLog,
    meters::Meters,
    output::{OutputLimits, Outputs},
    program::launch::Pids,
    reaper_handle::ReaperHandle,
};
use crate::{config::WorkerSettings, secrets::BotSecrets};

/// The parts of an incarnation that the session and the attempts share.
struct WorkerContext {
    /// Specification of the program.
    spec: CommandExecutor,
    settings: WorkerSettings,
    /// Time for a program to heed a cancellation, and from the wish that it ends to KILL
    /// (`bots.term_grace`).
    grace: Duration,
    bot: BotName,
    /// Limits of the resources of the program.
    limits: BotLimits,
    /// TCP port on loopback reserved for the bot.
    port: u16,
    /// Maximum number of tasks at a time.
    places: u32,
    secrets: BotSecrets,
    hive_id: String,
    /// Working directory of a program without one of its own; created if missing.
    work_dir: PathBuf,
    outputs: Outputs,
    output_limits: OutputLimits,
    /// Attempts of a task whose output is kept (`tasks.kept_outputs`).
    kept_outputs: u32,
    reaper: ReaperHandle,
    log: BotLog,
    pids: Pids,
    meters: Meters,
    incarnation: u64,
}

/// A line of a person for the program of a bot.
#[derive(Debug)]
pub(crate) struct InputLine {
    /// The task that the line is about.
    pub(crate) task: Option<TaskId>,
    /// The line.
    pub(crate) text: String,
}

/// The way of lines of people to the program of a bot, as long as it runs.
pub(crate) type InputSender = mpsc::Sender<InputLine>;
