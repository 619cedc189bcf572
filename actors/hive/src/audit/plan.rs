//! The decision on how to go on with a trail that is found at a start.

use deia_ledger::SealedTrail;
use deia_model::Position;
use deia_trail::hash::Hash;

/// A trail as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The identity of the log.
    pub(super) origin: String,
    /// Number of entries.
    pub(super) size: u64,
    /// Root of the tree of as many entries as the store knows of, if the trail has as many.
    pub(super) root_known_to_store: Option<Hash>,
}

/// The way to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The trail goes on where it is.
    GoOn,
    /// The first log begins.
    BeginFirst,
    /// A new log begins behind the last known checkpoint of the one before.
    BeginAnother {
        /// The identity of the new log.
        origin: String,
        /// The last known checkpoint of the one before, as a signed note.
        after: String,
        /// Reason, in a sentence without its full stop.
        reason: &'static str,
    },
}

/// Decides how to go on. A log never goes back behind a checkpoint that it has signed: the trail
/// beside an older store is kept, and one that is older than the store knows of is left for a
/// new log.
pub(super) fn plan(found: Option<&Found>, known: Option<&SealedTrail>, random: &str) -> Plan {
    let another = |known: &SealedTrail, reason| Plan::BeginAnother {
        origin: next_origin(&known.origin, random),
        after: known.checkpoint.clone(),
        reason,
    };
    match (found, known) {
        (None, None) => Plan::BeginFirst,
        (None, Some(known)) => another(known, "the audit trail is gone"),
        (Some(_), None) => Plan::GoOn,
        (Some(found), Some(known)) if found.origin == known.origin => {
            match found.root_known_to_store {
                Some(root) if root == known.root => Plan::GoOn,
                Some(_) => another(
                    known,
                    "the audit trail contradicts its last known checkpoint",
                ),
                None => another(
                    known,
                    "the audit trail is older than its last known checkpoint",
                ),
            }
        }
        // The store is from before the last new log, or the trail is.
        (Some(found), Some(known)) => {
            let (of_found, of_known) = (Name::of(&found.origin), Name::of(&known.origin));
            let is_later = of_found.base == of_known.base && of_found.number > of_known.number;
            match is_later {
                true => Plan::GoOn,
                false => another(
                    known,
                    "the audit trail is of another log, or of one that has ended",
                ),
            }
        }
    }
}

/// The identity of a log, in parts. A log that follows others has a number, and a random text
/// behind it: two that follow the same one are not the same.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    base: &'a str,
    number: u64,
}

impl<'a> Name<'a> {
    fn of(origin: &'a str) -> Self {
        let numbered = origin.rsplit_once('/').and_then(|(base, end)| {
            let (number, random) = end.split_once('-')?;
            let is_random =
                random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric());
            let number = number.parse().ok().filter(|_| is_random)?;
            Some(Self { base, number })
        });
        numbered.unwrap_or(Self {
            base: origin,
            number: 1,
        })
    }
}

/// Length of the random text of a log that follows others. Fact: the format of the names
/// of logs: 40 random bits.
const RANDOM: usize = 8;

/// Returns the identity of the log that follows another one.
fn next_origin(origin: &str, random: &str) -> String {
    let Name { base, number } = Name::of(origin);
    format!("{base}/{}-{random}", number + 1)
}

/// Makes the random text of a new log.
pub(super) fn random_text() -> String {
    let bytes: [u8; 5] = rand::random();
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}

/// Returns the number of new histories of the event log that must begin before events are
/// entered: those of a store that is older than the trail would be taken for known ones.
pub(super) fn new_histories(last: Option<Position>, head: Position) -> u64 {
    match last {
        Some(last) if last.timeline > head.timeline => last.timeline + 1 - head.timeline,
        Some(last) if last.timeline == head.timeline && last.seq > head.seq => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(origin: &str, size: u64) -> SealedTrail {
        SealedTrail {
            origin: origin.into(),
            size,
            root: [1; 32],
            checkpoint: format!("{origin} {size}"),
        }
    }

    fn found(origin: &str, root: Option<u8>) -> Found {
        Found {
            origin: origin.into(),
            size: 10,
            root_known_to_store: root.map(|byte| [byte; 32]),
        }
    }

    #[test]
    fn log_never_contradicts_a_checkpoint() {
        use Plan::{BeginFirst, GoOn};
        let origin_of = |plan: &Plan| match plan {
            Plan::BeginAnother { origin, after, .. } => Some((origin.clone(), after.clone())),
            _ => None,
        };
        let a = known("a", 7);
        let third = known("a/3-abcdefgh", 7);
        assert_eq!(plan(None, None, "x2345678"), BeginFirst);
        assert_eq!(plan(Some(&found("a", None)), None, "x2345678"), GoOn);
        assert_eq!(plan(Some(&found("a", Some(1))), Some(&a), "x2345678"), GoOn);
        assert_eq!(
            plan(Some(&found("a/2-abcdefgh", None)), Some(&a), "x2345678"),
            GoOn
        );
        for (found, known, origin) in [
            (None, &a, "a/2-x2345678"),
            (Some(found("a", None)), &a, "a/2-x2345678"),
            (Some(found("a", Some(9))), &a, "a/2-x2345678"),
            (Some(found("a/2-abcdefgh", None)), &third, "a/4-x2345678"),
            (Some(found("b/9-abcdefgh", None)), &a, "a/2-x2345678"),
            // A number of the operator is none of ours.
            (Some(found("a/2", None)), &a, "a/2-x2345678"),
        ] {
            let plan = plan(found.as_ref(), Some(known), "x2345678");
            let expected = (origin.to_owned(), known.checkpoint.clone());
            assert_eq!(origin_of(&plan), Some(expected), "{found:?}");
        }
    }

    #[test]
    fn store_that_is_older_than_the_trail_begins_a_new_history() {
        let at = |timeline, seq| Position { timeline, seq };
        for (last, head, expected) in [
            (None, at(1, 5), 0),
            (Some(at(1, 5)), at(1, 5), 0),
            (Some(at(1, 4)), at(1, 5), 0),
            (Some(at(1, 6)), at(1, 5), 1),
            (Some(at(1, 6)), at(2, 5), 0),
            (Some(at(3, 2)), at(1, 5), 3),
        ] {
            assert_eq!(new_histories(last, head), expected, "{last:?} {head:?}");
        }
    }
}
