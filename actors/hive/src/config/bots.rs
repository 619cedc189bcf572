//! Settings of bots: their ports, limits and restarts.

mod http;
mod llm;
mod worker;

use std::time::Duration;

use bytesize::ByteSize;
use deia_model::{AddressRange, BotName, BotSpec, SecretPlaces};
use serde::{Deserialize, Serialize};

pub use self::worker::WorkerSettings;
pub use self::{http::HttpBotSettings, llm::LlmBotSettings};
use super::{
    check::Checker,
    secrets,
    settings::{DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND},
};

/// The bots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct BotSettings {
    pub first_port: u16,
    pub last_port: u16,
    pub max_bots: u32,
    pub arbiters: u16,
    #[serde(with = "deia_model::duration")]
    pub term_grace: Duration,
    pub log_max_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub replace_drain: Duration,
    pub idle_runners: u32,
    #[serde(with = "deia_model::duration")]
    pub measure_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub fallback_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub compare_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub start_again_after: Duration,
    #[serde(with = "deia_model::duration")]
    pub degraded_for: Duration,
    pub log_answer_max_bytes: ByteSize,
    pub lookups: u16,
    pub restart: BotRestart,
    pub fault: BotFaultSettings,
    pub pause: BotPauseSettings,
    pub remote: RemoteBotSettings,
    pub allow_networks: Vec<AddressRange>,
    pub allow_ports: Vec<u16>,
    pub http: HttpBotSettings,
    pub llm: LlmBotSettings,
    pub worker: WorkerSettings,
    pub circuit: BotCircuitSettings,
    pub secret_files: Vec<String>,
    pub secret_env: Vec<String>,
    pub seed: Vec<SeedBot>,
}

/// Restart policy of bots.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct BotRestart {
    #[serde(with = "deia_model::duration")]
    pub min: Duration,
    #[serde(with = "deia_model::duration")]
    pub max: Duration,
    pub restarts: u32,
    #[serde(with = "deia_model::duration")]
    pub period: Duration,
}

/// Back-off of a bot that cannot carry out its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct BotFaultSettings {
    #[serde(with = "deia_model::duration")]
    pub min: Duration,
    #[serde(with = "deia_model::duration")]
    pub max: Duration,
    pub failing_after: u32,
}

/// Pauses that a bot or its provider asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct BotPauseSettings {
    #[serde(with = "deia_model::duration")]
    pub default: Duration,
    #[serde(with = "deia_model::duration")]
    pub max: Duration,
}

/// Bots whose workers lease tasks over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct RemoteBotSettings {
    #[serde(with = "deia_model::duration")]
    pub heartbeat: Duration,
    pub missed_heartbeats: u32,
}

/// Circuits of bots that fail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct BotCircuitSettings {
    pub failures: u32,
    pub rate: f64,
    pub window: u32,
    #[serde(with = "deia_model::duration")]
    pub open_for: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_open: Duration,
}

impl BotCircuitSettings {
    fn check(&self, check: &mut Checker) {
        check.number("bots.circuit.failures", self.failures, 0..=1_000);
        check.number("bots.circuit.rate", self.rate, 0.01..=1.0);
        check.number("bots.circuit.window", self.window, 0..=10_000);
        check.duration(
            "bots.circuit.open_for",
            self.open_for,
            Duration::from_millis(10)..=HOUR,
        );
        check.duration(
            "bots.circuit.max_open",
            self.max_open,
            self.open_for..=DAY.max(self.open_for),
        );
    }
}

/// A bot that a new data directory starts with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedBot {
    /// Name of the bot.
    pub name: BotName,
    /// Specification of the bot.
    #[serde(flatten)]
    pub spec: BotSpec,
}

impl BotSettings {
    /// Returns the locations in which secrets of bots may be.
    pub fn secret_places(&self) -> SecretPlaces {
        SecretPlaces {
            files: self.secret_files.clone(),
            env: self.secret_env.clone(),
        }
    }

    /// Returns the number of threads that bots run on, on a machine with so many CPUs.
    pub(crate) fn arbiters_of(&self, cpus: usize) -> usize {
        match self.arbiters {
            0 => (cpus / 4).max(1),
            arbiters => arbiters.into(),
        }
    }

    pub(super) fn check(&self, check: &mut Checker) {
        check.number("bots.first_port", self.first_port, 1..=65_535);
        check.number("bots.last_port", self.last_port, self.first_port..=65_535);
        check.number("bots.max_bots", self.max_bots, 1..=100_000);
        check.number("bots.arbiters", self.arbiters, 0..=256);
        check.duration(
            "bots.term_grace",
            self.term_grace,
            Duration::ZERO..=10 * MINUTE,
        );
        check.size("bots.log_max_bytes", self.log_max_bytes, 4 * KIB..=GIB);
        check.number("bots.idle_runners", self.idle_runners, 0..=10_000);
        check.duration(
            "bots.replace_drain",
            self.replace_drain,
            Duration::ZERO..=DAY,
        );
        check.duration(
            "bots.measure_every",
            self.measure_every,
            Duration::from_millis(100)..=MINUTE,
        );
        check.duration(
            "bots.fallback_every",
            self.fallback_every,
            Duration::from_millis(100)..=MINUTE,
        );
        check.duration(
            "bots.compare_every",
            self.compare_every,
            Duration::from_millis(100)..=MINUTE,
        );
        check.duration(
            "bots.start_again_after",
            self.start_again_after,
            Duration::from_millis(100)..=HOUR,
        );
        check.duration("bots.degraded_for", self.degraded_for, Duration::ZERO..=DAY);
        check.size(
            "bots.log_answer_max_bytes",
            self.log_answer_max_bytes,
            KIB..=64 * MIB,
        );
        check.number("bots.lookups", self.lookups, 1..=256);
        check.number(
            "bots.remote.missed_heartbeats",
            self.remote.missed_heartbeats,
            1..=100,
        );
        check.duration("bots.restart.min", self.restart.min, Duration::ZERO..=HOUR);
        check.duration(
            "bots.restart.max",
            self.restart.max,
            self.restart.min..=DAY.max(self.restart.min),
        );
        check.number("bots.restart.restarts", self.restart.restarts, 1..=1_000);
        check.duration("bots.restart.period", self.restart.period, SECOND..=DAY);
        check.duration(
            "bots.fault.min",
            self.fault.min,
            Duration::from_millis(10)..=HOUR,
        );
        check.duration(
            "bots.fault.max",
            self.fault.max,
            self.fault.min..=DAY.max(self.fault.min),
        );
        check.number(
            "bots.fault.failing_after",
            self.fault.failing_after,
            1..=1_000,
        );
        check.duration(
            "bots.pause.default",
            self.pause.default,
            Duration::from_millis(10)..=HOUR,
        );
        check.duration(
            "bots.pause.max",
            self.pause.max,
            self.pause.default..=30 * DAY,
        );
        check.duration(
            "bots.remote.heartbeat",
            self.remote.heartbeat,
            SECOND..=HOUR,
        );
        self.http.check(check);
        self.llm.check(check);
        self.worker.check(check);
        self.circuit.check(check);
        secrets::check_places(&self.secret_places(), check);
        let mut names = std::collections::HashSet::new();
        for (i, bot) in self.seed.iter().enumerate() {
            if !names.insert(&bot.name) {
                check.refuse(
                    format!("bots.seed[{i}].name"),
                    &bot.name,
                    "a name that no other bot of the list has",
                );
            }
            let elsewhere = self.secret_places().violations(&bot.spec.secrets);
            for violation in bot.spec.violations().into_iter().chain(elsewhere) {
                let place = violation.pointer.replace('/', ".");
                check.refuse(
                    format!("bots.seed[{i}]{place}"),
                    "the given value",
                    &violation.detail,
                );
            }
        }
    }
}
