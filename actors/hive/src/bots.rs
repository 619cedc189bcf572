//! Bots: how they are run, and what runs them.

pub(crate) mod attempt;
mod attempt_span;
mod board;
mod bot;
mod clerk;
pub(crate) mod command;
pub(crate) mod executor;
mod fault;
pub(crate) mod guardian;
mod intake;
mod launcher;
mod left;
mod lifecycle;
pub(crate) mod log;
mod news;
pub(crate) mod output;
mod progress;
mod reconcile;
pub(crate) mod simulated;
mod status;

pub(crate) use board::{Board, Trouble};
#[cfg(test)]
pub(crate) use bot::BotActor;
pub(crate) use clerk::Clerk;
pub(crate) use launcher::{BotsChanged, Follow, Launcher, StopEverything, TaskCancelled};
pub(crate) use lifecycle::{LauncherDeps, ManagedBots};
pub(crate) use output::Outputs;
pub(crate) use status::observed_status;
