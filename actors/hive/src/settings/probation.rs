//! The decisions about versions that may be taken back. Pure.

use deia_model::{SettingsOutcome, SettingsVersion, Timestamp};

use super::content::Content;

/// A version in force that may be taken back.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) version: u64,
    /// Time at which it was put in force.
    pub(super) at: Timestamp,
    /// End of its probation.
    pub(super) until: Timestamp,
    /// Time by which it must be confirmed; `None` if it need not be, or is.
    pub(super) confirm_by: Option<Timestamp>,
    pub(super) content: Content,
}

impl Open {
    /// Returns the version as it was stored, if it is on probation.
    pub(super) fn of(version: &SettingsVersion, content: Content) -> Option<Self> {
        let confirm_by = version.confirm_by;
        (version.outcome == SettingsOutcome::Probation).then(|| Self {
            version: version.version,
            at: version.at,
            until: version.probation_until.unwrap_or(version.at),
            confirm_by: confirm_by.filter(|_| version.confirmed_by.is_none()),
            content,
        })
    }
}

/// Returns the first of these versions, the oldest first, that trouble which began at that time
/// takes back, with all later ones.
pub(super) fn tripped(open: &[Open], began: Timestamp) -> Option<usize> {
    open.iter()
        .position(|it| it.at <= began && began <= it.until && it.at < it.until)
}

/// Returns the first of these versions that nobody has confirmed in time.
pub(super) fn unconfirmed(open: &[Open], now: Timestamp) -> Option<usize> {
    open.iter()
        .position(|it| it.confirm_by.is_some_and(|by| by <= now))
}

/// Returns how many of these versions, from the oldest on, stay for good.
pub(super) fn passed(open: &[Open], now: Timestamp) -> usize {
    let stays = |it: &&Open| it.until <= now && it.confirm_by.is_none();
    open.iter().take_while(stays).count()
}

/// Returns true if one of these versions waits for its confirmation.
pub(super) fn awaits_confirmation(open: &[Open]) -> bool {
    open.iter().any(|it| it.confirm_by.is_some())
}

/// Returns the next time at which something is to be decided about these versions, if trouble is
/// known that many milliseconds after it has begun.
pub(super) fn next_due(open: &[Open], known_after: u64) -> Option<Timestamp> {
    let passes = open
        .first()
        .filter(|it| it.confirm_by.is_none())
        .map(|it| it.until.plus_millis(known_after));
    let confirm = open.iter().filter_map(|it| it.confirm_by).min();
    passes.into_iter().chain(confirm).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn open(of: &[(i64, i64, Option<i64>)]) -> Vec<Open> {
        let one = |(i, (from, until, confirm)): (usize, &(i64, i64, Option<i64>))| Open {
            version: i as u64 + 1,
            at: at(*from),
            until: at(*until),
            confirm_by: confirm.map(at),
            content: Content::default(),
        };
        of.iter().enumerate().map(one).collect()
    }

    #[test]
    fn only_trouble_that_begins_within_a_probation_takes_it_back() {
        for (versions, began, expected) in [
            (&[(10, 70, None)][..], 9, None),
            // Within the same millisecond: the change came first, for its time is taken last.
            (&[(10, 70, None)], 10, Some(0)),
            (&[(10, 70, None)], 11, Some(0)),
            (&[(10, 70, None)], 70, Some(0)),
            (&[(10, 70, None)], 71, None),
            // No probation, but a confirmation.
            (&[(10, 10, Some(100))], 11, None),
            // Both were there when it began; the later one contains the earlier one.
            (&[(10, 70, None), (40, 100, None)], 50, Some(0)),
            (&[(10, 70, None), (40, 100, None)], 30, Some(0)),
            (&[(10, 70, None), (40, 100, None)], 80, Some(1)),
            (&[], 1, None),
        ] {
            assert_eq!(
                tripped(&open(versions), at(began)),
                expected,
                "{versions:?} {began}"
            );
        }
    }

    #[test]
    fn versions_stay_in_order_once_their_time_is_over() {
        for (versions, now, stay, late) in [
            (&[(10, 70, None)][..], 69, 0, None),
            (&[(10, 70, None)], 70, 1, None),
            (&[(10, 70, None), (40, 100, None)], 80, 1, None),
            (&[(10, 70, None), (40, 100, None)], 100, 2, None),
            (&[(10, 70, Some(90)), (40, 60, None)], 80, 0, None),
            (&[(10, 70, Some(90))], 90, 0, Some(0)),
            (&[(10, 70, None), (60, 120, Some(90))], 95, 1, Some(1)),
        ] {
            let versions = open(versions);
            assert_eq!(passed(&versions, at(now)), stay, "{versions:?} {now}");
            assert_eq!(unconfirmed(&versions, at(now)), late, "{versions:?} {now}");
        }
        assert_eq!(
            next_due(&open(&[(10, 70, None), (40, 100, Some(60))]), 5_000),
            Some(at(60))
        );
        assert_eq!(next_due(&open(&[(10, 70, Some(90))]), 5_000), Some(at(90)));
        assert_eq!(next_due(&open(&[(10, 70, None)]), 5_000), Some(at(75)));
        assert_eq!(next_due(&[], 5_000), None);
    }
}
