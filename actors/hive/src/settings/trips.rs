//! The trouble that takes settings back, as far as it is decided without looking at the hive. Pure.

use std::time::Duration;

use deia_model::{Level, Timestamp};
use deia_supervision::{ChildState, ExitReason, TreeStatus};

use crate::{config::Config, mode::InForce};

/// Returns the reason to take settings back if a change of the level that signals demand is
/// trouble: they raise it. A level that an operator has set, as for a drill, is none.
pub(super) fn raised(before: Level, demanded: &InForce) -> Option<String> {
    let (level, why) = (demanded.level, &demanded.why);
    (level > before).then(|| format!("the level was raised to {level}: {why}"))
}

/// Returns the time after which trouble that has begun is known: signals are measured, and must
/// last, before they raise the level; readiness must be missed at two looks.
pub(super) fn known_after(config: &Config) -> Duration {
    let looks = config.settings.look_every.saturating_mul(2);
    let policy = &config.degradation;
    match policy.enabled {
        true => looks.max(policy.longest_hold() + policy.count_every + policy.sample_every),
        false => looks,
    }
}

/// Returns the time at which the first crashes began that count against the budget of a part which
/// is not down yet.
pub(super) fn crashing_since(status: &TreeStatus) -> Option<Timestamp> {
    let own = status.restarts_in_window > 0 && status.state != ChildState::Quarantined;
    let own = own.then(|| crashes_began(status)).flatten();
    let below = status.children.iter().filter_map(crashing_since);
    own.into_iter().chain(below).min()
}

/// Returns the time at which the crashes began with which a tree gave up: those of the part that
/// crashed last.
pub(crate) fn trouble_began(status: &TreeStatus) -> Option<Timestamp> {
    fn last_to_crash(status: &TreeStatus) -> Option<&TreeStatus> {
        let below = status.children.iter().filter_map(last_to_crash);
        let own = last_crash(status).map(|_| status);
        own.into_iter().chain(below).max_by_key(|it| last_crash(it))
    }
    fn last_crash(status: &TreeStatus) -> Option<i64> {
        let exit = status.last_exit.as_ref()?;
        let is_crash = !matches!(
            exit.reason,
            // Exits on request, and those of supervisors over the crashes below them.
            ExitReason::Normal
                | ExitReason::Shutdown
                | ExitReason::GaveUp(_)
                | ExitReason::ChildStart { .. }
        );
        is_crash.then(|| exit.at.as_millisecond())
    }
    last_to_crash(status).and_then(crashes_began)
}

/// Returns the paths of the parts that stay down.
pub(super) fn down(status: &TreeStatus) -> Vec<String> {
    let own = status.state == ChildState::Quarantined;
    let own = own.then(|| status.path.to_string());
    let below = status.children.iter().flat_map(down);
    own.into_iter().chain(below).collect()
}

/// Returns the time at which the crashes began for which a part of the tree stays down: its first
/// exit that counted against its budget.
pub(super) fn crashes_began(status: &TreeStatus) -> Option<Timestamp> {
    let counted = status.restarts_in_window.saturating_add(1);
    let skipped = status.exits.len().saturating_sub(counted);
    let first = status.exits.get(skipped)?;
    Some(Timestamp::from_millis(first.at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::LevelSource;

    #[test]
    fn only_a_higher_level_is_trouble() {
        let demanded = |number| InForce {
            level: Level::new(number).unwrap(),
            source: LevelSource::Signals,
            since: Timestamp::from_millis(0),
            why: "memory is short".into(),
        };
        for (before, now, expected) in [(0, 1, true), (1, 1, false), (2, 1, false)] {
            let told = raised(Level::new(before).unwrap(), &demanded(now));
            assert_eq!(told.is_some(), expected, "{before} {now}");
        }
    }

    #[test]
    fn trouble_is_known_after_the_longest_hold() {
        let mut config = Config::defaults().unwrap();
        // The hold of missing bots is the longest one of the defaults.
        assert!(known_after(&config) > Duration::from_secs(30));
        config.degradation.enabled = false;
        assert!(known_after(&config) < Duration::from_secs(30));
    }
}
