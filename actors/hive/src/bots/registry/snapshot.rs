//! A snapshot of the observations of one bot.

use std::fmt;

use deia_model::{BotCircuit, BotFault, BotGeneration, BotPause, Timestamp};

use crate::bots::{executor::Readiness, meters::BotUsage, probe::Probed};

/// Reason why a running bot handles no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The bot blocks its thread.
    Stuck,
    /// Messages wait and none is handled.
    Stalled { waiting: usize },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck => f.write_str("blocks its thread"),
            Self::Stalled { waiting } => {
                write!(f, "has {waiting} messages waiting and handles none")
            }
        }
    }
}

/// A snapshot of a [`BotGauges`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BotSnapshot {
    /// Launch and specification of the incarnation observed; `None` if none was started.
    pub(crate) generation: Option<BotGeneration>,
    pub(crate) up: bool,
    pub(crate) quarantined: bool,
    pub(crate) suspended: bool,
    pub(crate) draining: bool,
    pub(crate) running: u32,
    pub(crate) heartbeat: Option<Timestamp>,
    pub(crate) restarts: u64,
    pub(crate) restarted_at: Option<Timestamp>,
    pub(crate) last_exit: Option<String>,
    pub(crate) fault: Option<BotFault>,
    pub(crate) pause: Option<BotPause>,
    pub(crate) circuit: Option<BotCircuit>,
    pub(crate) readiness: Readiness,
    pub(crate) probed: Probed,
    pub(crate) progress_at: Option<Timestamp>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) pids: Vec<u32>,
    pub(crate) usage: Option<BotUsage>,
}
