//! The trouble that takes settings back, as far as it is decided without looking at the hive. Pure.

use deia_model::{Level, Timestamp};
use deia_supervision::TreeStatus;

use crate::mode::{InForce, LevelSource};

/// Returns the reason to take settings back if a change of the level is trouble: signals have
/// raised it. A drill, or a level that somebody has set, is none.
pub(super) fn raised(before: Level, now: &InForce) -> Option<String> {
    let is_trouble = now.source == LevelSource::Signals && now.level > before;
    is_trouble.then(|| format!("the level was raised to {}: {}", now.level, now.why))
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

    #[test]
    fn only_signals_that_raise_the_level_are_trouble() {
        let in_force = |number, source| InForce {
            level: Level::new(number).unwrap(),
            source,
            since: Timestamp::from_millis(0),
            why: "memory is short".into(),
        };
        for (before, now, source, expected) in [
            (0, 1, LevelSource::Signals, true),
            (1, 1, LevelSource::Signals, false),
            (2, 1, LevelSource::Signals, false),
            (0, 3, LevelSource::Operator, false),
        ] {
            let told = raised(Level::new(before).unwrap(), &in_force(now, source));
            assert_eq!(told.is_some(), expected, "{before} {now} {source:?}");
        }
    }
}
