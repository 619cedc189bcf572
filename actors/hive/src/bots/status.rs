//! The status of a bot, from its desired and its observed state. Pure.

use deia_model::{Bot, BotDesired, BotGeneration, BotStatus, CircuitState, Timestamp};

use super::{executor::Readiness, probe::Probed, registry::BotSnapshot};
use crate::config::BotSettings;

/// Limits of the statuses of bots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusLimits {
    /// Faults in a row after which a bot is failing.
    pub(crate) failing_after: u32,
    /// Time after a restart for which a bot is degraded, in milliseconds.
    pub(crate) degraded_for_ms: u64,
}

impl StatusLimits {
    /// Returns the limits of the settings.
    pub(crate) fn of(settings: &BotSettings) -> Self {
        Self {
            failing_after: settings.fault.failing_after,
            degraded_for_ms: u64::try_from(settings.degraded_for.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Returns true if a bot carries out tasks.
pub(crate) fn is_up(bot: &Bot) -> bool {
    let faulty = bot.fault.as_ref().is_some_and(|fault| fault.in_a_row > 0);
    matches!(bot.status, BotStatus::Healthy | BotStatus::Degraded) && !faulty
}

/// Returns the status of a bot, derived from its desired and its observed state. The
/// observations of an earlier launch say nothing about this one, and a bot that still runs has
/// not stopped.
pub(crate) fn observed_status(
    desired: BotDesired,
    wanted: BotGeneration,
    seen: &BotSnapshot,
    limits: &StatusLimits,
    now: Timestamp,
) -> BotStatus {
    let faults = seen.fault.as_ref().map(|fault| fault.in_a_row);
    let shaken = seen
        .restarted_at
        .is_some_and(|at| now.millis_since(at) < limits.degraded_for_ms);
    let is_cut_off = seen
        .circuit
        .as_ref()
        .is_some_and(|circuit| circuit.state != CircuitState::Closed);
    let is_of_earlier_launch = seen
        .generation
        .is_some_and(|it| it.launched_at != wanted.launched_at);
    let is_to_be_replaced = seen
        .generation
        .is_some_and(|it| it.version != wanted.version);
    match desired {
        BotDesired::Stopped if wanted.launched_at.is_none() => BotStatus::Offline,
        BotDesired::Stopped if seen.up => BotStatus::Draining,
        BotDesired::Stopped => BotStatus::Stopped,
        _ if seen.suspended => BotStatus::Stopped,
        BotDesired::Launched if is_of_earlier_launch => BotStatus::Starting,
        _ if seen.quarantined => BotStatus::Failing,
        _ if seen.up && faults.is_some_and(|faults| faults >= limits.failing_after) => {
            BotStatus::Failing
        }
        BotDesired::Draining => BotStatus::Draining,
        // It is to be replaced once its running tasks have ended.
        BotDesired::Launched if seen.up && (seen.draining || is_to_be_replaced) => {
            BotStatus::Draining
        }
        BotDesired::Launched if !seen.up || seen.readiness == Readiness::Starting => {
            BotStatus::Starting
        }
        BotDesired::Launched if seen.readiness != Readiness::Ready || seen.pause.is_some() => {
            BotStatus::Degraded
        }
        BotDesired::Launched if seen.probed == Probed::Awaited => BotStatus::Starting,
        BotDesired::Launched if !seen.probed.lets_pass() => BotStatus::Degraded,
        BotDesired::Launched if is_cut_off => BotStatus::Degraded,
        BotDesired::Launched if shaken || faults.is_some() || seen.trouble.is_some() => {
            BotStatus::Degraded
        }
        BotDesired::Launched => BotStatus::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{BotCircuit, BotFault};

    use super::*;
    use crate::bots::registry::Trouble;

    #[test]
    fn status_follows_desired_and_observed_state() {
        let now = Timestamp::from_millis(1_000_000);
        let limits = StatusLimits {
            failing_after: 3,
            degraded_for_ms: 60_000,
        };
        let generation = |version, launched_at| BotGeneration {
            version,
            launched_at: Some(Timestamp::from_millis(launched_at)),
        };
        let launched = Some(Timestamp::from_millis(1));
        let up = BotSnapshot {
            up: true,
            ..BotSnapshot::default()
        };
        let of = |version, launched_at| BotSnapshot {
            generation: Some(generation(version, launched_at)),
            ..up.clone()
        };
        let shaken = BotSnapshot {
            restarted_at: Some(Timestamp::from_millis(999_000)),
            ..up.clone()
        };
        let stuck = BotSnapshot {
            trouble: Some(Trouble::Stuck),
            ..up.clone()
        };
        let recovered = BotSnapshot {
            restarted_at: Some(Timestamp::from_millis(900_000)),
            ..up.clone()
        };
        let suspended = BotSnapshot {
            suspended: true,
            ..BotSnapshot::default()
        };
        let quarantined = BotSnapshot {
            quarantined: true,
            ..BotSnapshot::default()
        };
        let circuit = |state| BotSnapshot {
            circuit: Some(BotCircuit {
                state,
                since: Some(now),
                until: None,
                failures: 1,
                rate: Some(0.1),
            }),
            ..up.clone()
        };
        let probed = |probed| BotSnapshot {
            probed,
            ..up.clone()
        };
        let faulty = |in_a_row| BotSnapshot {
            fault: Some(BotFault {
                reason: "no such program".into(),
                in_a_row,
                since: now,
                next_try_at: None,
            }),
            ..up.clone()
        };
        for (desired, launched_at, seen, expected) in [
            (
                BotDesired::Stopped,
                None,
                BotSnapshot::default(),
                BotStatus::Offline,
            ),
            (
                BotDesired::Stopped,
                launched,
                BotSnapshot::default(),
                BotStatus::Stopped,
            ),
            (
                BotDesired::Launched,
                launched,
                BotSnapshot::default(),
                BotStatus::Starting,
            ),
            (
                BotDesired::Draining,
                launched,
                up.clone(),
                BotStatus::Draining,
            ),
            (
                BotDesired::Draining,
                launched,
                BotSnapshot::default(),
                BotStatus::Draining,
            ),
            (
                BotDesired::Draining,
                launched,
                quarantined.clone(),
                BotStatus::Failing,
            ),
            (
                BotDesired::Launched,
                launched,
                up.clone(),
                BotStatus::Healthy,
            ),
            (BotDesired::Launched, launched, shaken, BotStatus::Degraded),
            (BotDesired::Launched, launched, stuck, BotStatus::Degraded),
            (
                BotDesired::Launched,
                launched,
                BotSnapshot {
                    draining: true,
                    ..up.clone()
                },
                BotStatus::Draining,
            ),
            (
                BotDesired::Launched,
                launched,
                probed(Probed::Awaited),
                BotStatus::Starting,
            ),
            (
                BotDesired::Launched,
                launched,
                probed(Probed::Unreachable("refused".into())),
                BotStatus::Degraded,
            ),
            (
                BotDesired::Launched,
                launched,
                probed(Probed::Reached),
                BotStatus::Healthy,
            ),
            (
                BotDesired::Launched,
                launched,
                circuit(CircuitState::Open),
                BotStatus::Degraded,
            ),
            (
                BotDesired::Launched,
                launched,
                circuit(CircuitState::HalfOpen),
                BotStatus::Degraded,
            ),
            (
                BotDesired::Launched,
                launched,
                circuit(CircuitState::Closed),
                BotStatus::Healthy,
            ),
            (
                BotDesired::Launched,
                launched,
                recovered,
                BotStatus::Healthy,
            ),
            (
                BotDesired::Launched,
                launched,
                quarantined,
                BotStatus::Failing,
            ),
            (
                BotDesired::Launched,
                launched,
                suspended,
                BotStatus::Stopped,
            ),
            (
                BotDesired::Launched,
                launched,
                faulty(0),
                BotStatus::Degraded,
            ),
            (
                BotDesired::Launched,
                launched,
                faulty(2),
                BotStatus::Degraded,
            ),
            (
                BotDesired::Launched,
                launched,
                faulty(3),
                BotStatus::Failing,
            ),
            (
                BotDesired::Stopped,
                launched,
                faulty(3),
                BotStatus::Draining,
            ),
            (
                BotDesired::Stopped,
                launched,
                up.clone(),
                BotStatus::Draining,
            ),
            // The fault or the end of an earlier launch is not that of this one.
            (BotDesired::Launched, launched, of(2, 1), BotStatus::Healthy),
            (
                BotDesired::Launched,
                launched,
                of(2, 0),
                BotStatus::Starting,
            ),
            (
                BotDesired::Launched,
                launched,
                of(1, 0),
                BotStatus::Starting,
            ),
            (
                BotDesired::Launched,
                launched,
                BotSnapshot {
                    quarantined: true,
                    up: false,
                    ..of(2, 0)
                },
                BotStatus::Starting,
            ),
            (
                BotDesired::Launched,
                launched,
                of(1, 1),
                BotStatus::Draining,
            ),
        ] {
            let wanted = BotGeneration {
                version: 2,
                launched_at,
            };
            assert_eq!(
                observed_status(desired, wanted, &seen, &limits, now),
                expected,
                "{seen:?}"
            );
        }
    }
}
