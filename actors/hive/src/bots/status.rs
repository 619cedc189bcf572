//! The status of a bot, from its desired and its observed state. Pure.

use deia_model::{Bot, BotDesired, BotStatus, CircuitState, Timestamp};

use super::{executor::Readiness, probe::Probed, registry::BotSnapshot};

/// Time after a restart during which a bot is `degraded`, in milliseconds.
const RECENT_RESTART_MS: u64 = 60_000;

/// Returns true if a bot carries out tasks.
pub(crate) fn is_up(bot: &Bot) -> bool {
    let faulty = bot.fault.as_ref().is_some_and(|fault| fault.in_a_row > 0);
    matches!(bot.status, BotStatus::Healthy | BotStatus::Degraded) && !faulty
}

/// Returns the status of a bot, derived from its desired and its observed state. A bot is failing
/// after `failing_after` faults in a row.
pub(crate) fn observed_status(
    desired: BotDesired,
    launched_at: Option<Timestamp>,
    seen: &BotSnapshot,
    failing_after: u32,
    now: Timestamp,
) -> BotStatus {
    let faults = seen.fault.as_ref().map(|fault| fault.in_a_row);
    let shaken = seen
        .restarted_at
        .is_some_and(|at| now.millis_since(at) < RECENT_RESTART_MS);
    let is_cut_off = seen
        .circuit
        .as_ref()
        .is_some_and(|circuit| circuit.state != CircuitState::Closed);
    match desired {
        BotDesired::Stopped if launched_at.is_none() => BotStatus::Offline,
        BotDesired::Stopped => BotStatus::Stopped,
        _ if seen.suspended => BotStatus::Stopped,
        _ if seen.quarantined => BotStatus::Failing,
        _ if seen.up && faults.is_some_and(|faults| faults >= failing_after) => BotStatus::Failing,
        BotDesired::Draining => BotStatus::Draining,
        // It is to be replaced once its running tasks have ended.
        BotDesired::Launched if seen.up && seen.draining => BotStatus::Draining,
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
        let launched = Some(Timestamp::from_millis(1));
        let up = BotSnapshot {
            up: true,
            ..BotSnapshot::default()
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
            (BotDesired::Stopped, launched, faulty(3), BotStatus::Stopped),
        ] {
            assert_eq!(
                observed_status(desired, launched_at, &seen, 3, now),
                expected,
                "{seen:?}"
            );
        }
    }
}
