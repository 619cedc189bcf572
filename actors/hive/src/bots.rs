//! Bots: their executors, and the actors that run them.
//!
//! Each bot has an actor, below a dynamic supervisor on threads of its own: a bot that blocks
//! delays only other bots. The launcher keeps the running actors in line with the wanted bots;
//! losing either loses nothing, as both are rebuilt from the store.

mod api;
mod attach;
pub(crate) mod attempt;
mod attempt_span;
mod bot;
mod circuit;
mod circuit_gauge;
mod clerk;
pub(crate) mod command;
pub(crate) mod executor;
mod fallback;
mod fault;
mod http;
mod intake;
mod launcher;
mod left;
mod lifecycle;
mod llm;
pub(crate) mod log;
mod log_event;
mod measurer;
mod meters;
pub(crate) mod output;
mod ports;
mod probe;
mod program;
mod progress;
pub(crate) mod reaper_handle;
mod reconcile;
mod registry;
mod remote;
mod seed;
mod service;
pub(crate) mod simulated;
mod status;
mod subsystem;
mod worker;

pub use api::{BotsApi, PutBot, PutHow};
#[cfg(test)]
pub(crate) use bot::BotActor;
pub(crate) use clerk::Clerk;
pub(crate) use launcher::{BotsChanged, Follow, Launcher, StopEverything, TaskCancelled};
pub(crate) use lifecycle::{LauncherDeps, ManagedBots};
pub(crate) use output::{OUTPUTS, Outputs};
pub(crate) use registry::{BotRegistry, Trouble};
pub use remote::RemoteWork;
pub(crate) use seed::seed_bots;
pub(crate) use status::{StatusLimits, is_up, observed_status};
pub(crate) use subsystem::{BotNeeds, Bots};
