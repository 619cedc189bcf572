//! A map for a transaction, in which the same few keys are looked up many times in a
//! row.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// A map that compares with the key of the last access before it hashes: the
/// commands that share a commit are mostly of one submitter and one type, and each
/// asks several times.
pub(super) struct Memo<K, V> {
    entries: Vec<(K, V)>,
    places: HashMap<K, usize>,
    last: usize,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::new(),
            last: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, V> Memo<K, V> {
    /// Returns the value of a key; creates both if the key is missing.
    ///
    /// # Errors
    /// The error of `make`. Nothing is stored then.
    pub(super) fn get_or_make<Q, E>(
        &mut self,
        key: &Q,
        make: impl FnOnce() -> Result<(K, V), E>,
    ) -> Result<&mut V, E>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        let is_last = self
            .entries
            .get(self.last)
            .is_some_and(|(last, _)| last.borrow() == key);
        if !is_last {
            self.last = match self.places.get(key) {
                Some(place) => *place,
                None => {
                    let (key, value) = make()?;
                    self.places.insert(key.clone(), self.entries.len());
                    self.entries.push((key, value));
                    self.entries.len() - 1
                }
            };
        }
        // From here on `last` is an index into `entries`.
        Ok(&mut self.entries[self.last].1)
    }

    /// Returns whether the key has a value.
    pub(super) fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        self.places.contains_key(key)
    }

    /// Returns all entries, in the order of insertion.
    pub(super) fn entries(&self) -> &[(K, V)] {
        &self.entries
    }

    /// Takes all entries out.
    pub(super) fn take(&mut self) -> Vec<(K, V)> {
        self.places.clear();
        std::mem::take(&mut self.entries)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn count(memo: &mut Memo<String, u32>, key: &str) -> u32 {
        let made: Result<_, Infallible> = memo.get_or_make(key, || Ok((key.to_owned(), 0)));
        let n = made.unwrap();
        *n += 1;
        *n
    }

    #[test]
    fn each_key_keeps_its_own_value_in_any_order_of_access() {
        let mut memo = Memo::default();
        let seen: Vec<u32> = ["a", "a", "b", "a", "c", "b", "b", "a"]
            .map(|key| count(&mut memo, key))
            .to_vec();
        assert_eq!(seen, [1, 2, 1, 3, 1, 2, 3, 4]);
        assert!(memo.contains("c") && !memo.contains("d"));
        let entries = [("a", 4), ("b", 3), ("c", 1)].map(|(key, n)| (key.to_owned(), n));
        assert_eq!(memo.take(), entries);
        assert!(!memo.contains("a"));
        assert_eq!(count(&mut memo, "a"), 1);
    }

    #[test]
    fn failed_making_keeps_nothing() {
        let mut memo: Memo<String, u32> = Memo::default();
        assert_eq!(memo.get_or_make("a", || Err(7)).unwrap_err(), 7);
        assert!(memo.entries().is_empty());
        assert_eq!(count(&mut memo, "a"), 1);
    }
}
