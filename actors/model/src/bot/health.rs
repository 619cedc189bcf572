//! Health of bots: faults, pauses, and the circuit.

use serde::{Deserialize, Serialize};

use crate::{FailureClass, Timestamp};

/// A fault of a bot, not of its tasks: a program that cannot be started, or a host
/// without a free descriptor, process or disk space. The bot's tasks are returned
/// without being counted as failed, and the bot takes no tasks for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotFault {
    /// The reason, in a sentence.
    pub reason: String,
    /// Number of consecutive faults; 0 once the bot carries out tasks again. At
    /// `bots.fault.failing_after` the status of the bot is `failing`.
    pub in_a_row: u32,
    /// Time of the first of these faults.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Time of the next try; absent once the bot carries out tasks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_at: Option<Timestamp>,
}

/// A pause of a bot that its service or provider asked for: a rate limit, a quota or an
/// overload. The refused tasks are returned without being counted as failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotPause {
    /// The reason, in a sentence.
    pub reason: String,
    /// The class of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// Time of the refusal.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Time from which the bot takes tasks again.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

/// The parts of a bot that live. Each can be dead while the others live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotLiveness {
    /// True while a program of the bot runs; absent for a bot without programs, and while
    /// none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<bool>,
    /// True if tasks reach the bot: it handles its messages, its executor is ready, and
    /// its probe succeeds.
    pub channel: bool,
    /// Time at which an attempt last wrote output, reported progress or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub progress_at: Option<Timestamp>,
}

/// State of the circuit of a bot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// The bot takes tasks.
    #[default]
    Closed,
    /// The bot takes no tasks.
    Open,
    /// The bot is given one task at a time until an attempt succeeds or fails.
    HalfOpen,
}

/// Circuit of a bot. Opens when the attempts of the bot fail one after the other, or at a
/// high rate (`bots.circuit`), so that it does not use up the attempts of all tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotCircuit {
    /// The state.
    pub state: CircuitState,
    /// Time at which the circuit opened or closed last; absent if it never opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Time from which one task tries; absent unless the circuit is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Number of failures in a row. Consecutive failures of the same task count once.
    pub failures: u32,
    /// Share of failures among the latest attempts, at most `bots.circuit.window` of
    /// them, 0 to 1; absent when there are none since the circuit closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl BotCircuit {
    /// Returns whether the circuit lets no task pass.
    pub fn is_open(&self) -> bool {
        self.state == CircuitState::Open
    }
}
