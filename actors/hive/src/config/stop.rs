//! Limits of the steps of a stop. Each is derived from the settings, so that a step has at least
//! as much time as the operations within it may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Config, check::Checker, settings::MINUTE};

/// Times of the steps of a stop beyond those that other settings give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct StopSettings {
    #[serde(with = "deia_model::duration")]
    pub programs: Duration,
    #[serde(with = "deia_model::duration")]
    pub bot: Duration,
    #[serde(with = "deia_model::duration")]
    pub blocked: Duration,
    #[serde(with = "deia_model::duration")]
    pub settling: Duration,
    #[serde(with = "deia_model::duration")]
    pub log_flush: Duration,
    #[serde(with = "deia_model::duration")]
    pub front: Duration,
    #[serde(with = "deia_model::duration")]
    pub part: Duration,
    #[serde(with = "deia_model::duration")]
    pub notes: Duration,
    #[serde(with = "deia_model::duration")]
    pub services: Duration,
}

impl StopSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        for (key, value) in [
            ("stop.programs", self.programs),
            ("stop.bot", self.bot),
            ("stop.blocked", self.blocked),
            ("stop.settling", self.settling),
            ("stop.log_flush", self.log_flush),
            ("stop.front", self.front),
            ("stop.part", self.part),
            ("stop.notes", self.notes),
            ("stop.services", self.services),
        ] {
            check.duration(key, value, Duration::from_millis(100)..=10 * MINUTE);
        }
    }
}

/// Limits of the steps of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopLimits {
    /// Time for running tasks to end by themselves.
    pub drain: Duration,
    /// Time for a bot to end its programs.
    pub programs: Duration,
    /// Time for the actor of a bot to stop.
    pub bot: Duration,
    /// Time for the last lines of a bot's log to be written.
    pub log_flush: Duration,
    /// Time for all bots to stop, at the same time.
    pub bots: Duration,
    /// Time for the HTTP server to stop.
    pub front: Duration,
    /// Time for any other part of the tree to stop.
    pub part: Duration,
    /// Time for writing the records that requests have left.
    pub notes: Duration,
    /// Time for the services to stop. They can repeat the work that is interrupted.
    pub services: Duration,
}

impl StopLimits {
    /// Returns the time that a whole stop may take.
    #[must_use]
    pub fn whole(&self) -> Duration {
        // Allows for a single part that does not stop; the others take milliseconds.
        self.drain + self.bots + self.front + self.services + self.part + self.notes
    }
}

impl Config {
    /// Returns the limits of the steps of a stop.
    #[must_use]
    pub fn stop_limits(&self) -> StopLimits {
        let (stop, server) = (&self.stop, &self.server);
        let programs = self.bots.term_grace + stop.programs;
        StopLimits {
            drain: server.drain_timeout,
            programs,
            bot: stop.bot,
            log_flush: stop.log_flush,
            bots: programs + stop.bot + stop.blocked + stop.settling + stop.log_flush,
            front: server.close_notice + server.close_timeout + stop.front,
            part: stop.part,
            notes: stop.notes,
            services: stop.services,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn each_step_has_the_time_of_all_within_it() {
        for (grace, drain, notice) in [
            ("0s", "0s", "0s"),
            ("5s", "10s", "500ms"),
            ("10m", "1h", "1m"),
        ] {
            let config = Layers::default()
                .set("bots.term_grace", grace)
                .set("server.drain_timeout", drain)
                .set("server.close_notice", notice)
                .load()
                .unwrap();
            let limits = config.stop_limits();
            assert!(limits.programs > config.bots.term_grace, "{limits:?}");
            // Allows for an unresponsive bot: its programs, its actor, its thread, its log.
            let one_bot = limits.programs + limits.bot + config.stop.blocked + limits.log_flush;
            assert!(limits.bots > one_bot, "{limits:?}");
            let server = &config.server;
            assert!(
                limits.front > server.close_notice + server.close_timeout,
                "{limits:?}"
            );
            let steps = limits.drain + limits.bots + limits.front + limits.notes;
            assert!(limits.whole() > steps, "{limits:?}");
        }
    }

    #[test]
    fn unit_in_the_documents_lets_a_stop_with_the_defaults_end() {
        let operations = include_str!("../../../../docs/OPERATIONS.md");
        let stated = operations
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="))
            .unwrap();
        let stated = Duration::from_secs(stated.parse().unwrap());
        let whole = Config::defaults().unwrap().stop_limits().whole();
        assert!(whole <= stated, "{whole:?} of {stated:?}");
    }
}
