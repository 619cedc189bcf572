//! The order in which outputs are removed: those of attempts that did not succeed first, then those
//! of successes, the oldest end first.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, time::SystemTime};

use super::{AttemptOf, OF_SUCCESS};

/// Outputs that are remembered as the next ones to remove. After them the files are looked through
/// again. Fixed: bounds the memory; the files have the rest.
const REMEMBERED: usize = 4_096;

/// An output that may be removed, in the order of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Old {
    is_success: bool,
    ended: SystemTime,
    pub(super) of: AttemptOf,
}

/// The outputs that are removed next: the beginning of the order of all.
#[derive(Debug, Default)]
pub(super) struct Oldest {
    pub(super) first: BTreeSet<Old>,
    /// True if there are no others.
    pub(super) is_all: bool,
}

impl Oldest {
    /// Takes note of an output. One that may come after outputs that are not remembered is left
    /// out.
    pub(super) fn note(&mut self, old: Old) {
        if self.is_all || self.first.last().is_some_and(|last| old < *last) {
            self.first.insert(old);
            if self.first.len() > REMEMBERED {
                self.first.pop_last();
                self.is_all = false;
            }
        }
    }
}

impl Old {
    /// Returns the output of that file.
    pub(super) fn new(of: AttemptOf, file: &fs::Metadata) -> Self {
        Self {
            is_success: file.mode() & 0o777 == OF_SUCCESS,
            ended: file.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            of,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use deia_model::TaskId;

    use super::*;

    fn old(is_success: bool, second: u64) -> Old {
        Old {
            is_success,
            ended: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            of: (TaskId::new(), 1),
        }
    }

    #[test]
    fn failures_go_before_successes_and_older_ones_first() {
        let mut oldest = Oldest {
            is_all: true,
            ..Oldest::default()
        };
        let order = [old(false, 1), old(false, 3), old(true, 0), old(true, 2)];
        for i in [2, 0, 3, 1] {
            oldest.note(order[i]);
        }
        assert_eq!(Vec::from_iter(oldest.first), order);
    }

    #[test]
    fn what_is_remembered_is_always_the_beginning_of_the_order() {
        let mut oldest = Oldest::default();
        oldest.note(old(false, 1));
        assert!(oldest.first.is_empty(), "others may be older");
        oldest.is_all = true;
        for second in 0..=REMEMBERED as u64 {
            oldest.note(old(false, second));
        }
        assert_eq!((oldest.first.len(), oldest.is_all), (REMEMBERED, false));
        oldest.note(old(false, 1 << 40));
        assert_eq!(
            oldest.first.len(),
            REMEMBERED,
            "it comes after forgotten ones"
        );
        let before = *oldest.first.last().unwrap();
        oldest.note(old(false, 0));
        assert!(*oldest.first.last().unwrap() < before);
    }
}
