//! Limits of the steps of a stop. Each is derived from the settings, so that a step has at least
//! as much time as the operations within it may take.

use std::time::Duration;

use super::Config;

/// Time for a bot to end its programs beyond their own grace.
const PROGRAMS_EXTRA: Duration = Duration::from_secs(5);
/// Time for the actor of a bot to stop.
const BOT: Duration = Duration::from_secs(5);
/// Time after which supervision gives up a child that blocks its thread, beyond the time
/// that it has to stop.
const BLOCKED: Duration = Duration::from_secs(5);
/// Time for giving back the tasks that a stopped bot held.
const SETTLING: Duration = Duration::from_secs(3);
/// Time for writing the last lines of a bot's log.
const LOG_FLUSH: Duration = Duration::from_secs(2);
/// Time for the HTTP server to end beyond the time that its connections have.
const FRONT_EXTRA: Duration = Duration::from_secs(5);
/// Time for a part of the tree other than those to stop.
const PART: Duration = Duration::from_secs(10);
/// Time for writing the records that requests have left. On a full disk the write waits.
const NOTES: Duration = Duration::from_secs(2);

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
}

impl StopLimits {
    /// Time for the services to stop. They can repeat the work that is interrupted.
    pub(crate) const SERVICE: Duration = Duration::from_secs(2);

    /// Returns the time that a whole stop may take.
    #[must_use]
    pub fn whole(&self) -> Duration {
        // Allows for a single part that does not stop; the others take milliseconds.
        self.drain + self.bots + self.front + Self::SERVICE + self.part + self.notes
    }
}

impl Config {
    /// Returns the limits of the steps of a stop.
    #[must_use]
    pub fn stop_limits(&self) -> StopLimits {
        let programs = self.bots.term_grace + PROGRAMS_EXTRA;
        let server = &self.server;
        StopLimits {
            drain: server.drain_timeout,
            programs,
            bot: BOT,
            log_flush: LOG_FLUSH,
            bots: programs + BOT + BLOCKED + SETTLING + LOG_FLUSH,
            front: server.close_notice + server.close_timeout + FRONT_EXTRA,
            part: PART,
            notes: NOTES,
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
            let one_bot = limits.programs + limits.bot + BLOCKED + limits.log_flush;
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
