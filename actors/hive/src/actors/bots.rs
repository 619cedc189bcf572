//! Bots: how they are run, and what runs them.

pub(crate) mod attempt;
mod attempt_span;
mod board;
mod bot;
pub(crate) mod command;
pub(crate) mod guardian;
mod launcher;
mod lifecycle;
pub(crate) mod log;
mod news;
pub(crate) mod output;
mod progress;
mod reconcile;
pub(crate) mod simulated;
mod work;

pub(crate) use board::{Board, observed_status};
pub(crate) use bot::{BotActor, Run};
pub(crate) use launcher::{BotsChanged, Follow, Launcher, StopEverything, TaskCancelled};
pub(crate) use lifecycle::{LauncherDeps, ManagedBots};
pub(crate) use output::Outputs;
