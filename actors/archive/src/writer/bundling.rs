//! Bundles: one object in place of many small ones.

use super::GenerationWriter;
use crate::{
    ArchiveError, document, part,
    survey::{Survey, check},
};

/// An object with one part that is not in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loose {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

impl GenerationWriter {
    /// Puts parts up to number `upto` that are objects of their own into one bundle of at most the
    /// size of a piece. A part is removed after the bundle that has it is written; one that cannot
    /// be removed is left for the next call. Returns whether there is more to do.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call. [`ArchiveError::Damaged`] or
    /// [`ArchiveError::Missing`]: a part is not sound, and no bundle of it is made.
    pub fn bundle(&mut self, upto: u64) -> Result<bool, ArchiveError> {
        let most = self.needs.piece_max_bytes as u64;
        let due = self.loose.partition_point(|part| part.number <= upto);
        let count = bundle_of(&self.loose[..due], most);
        if let Some((first, last)) = self.loose.first().zip(self.loose[..count].last()) {
            if count > 1 {
                let (first, last) = (first.number, last.number);
                let storage = &*self.needs.storage;
                let mut bytes = Vec::new();
                for number in first..=last {
                    let key = self.keys.parts(number, number);
                    let part = document::get(storage, &key)?;
                    let place = storage.address(&key);
                    let found = { part::split(&part, &place)? }.into_iter();
                    let found: Vec<_> = found.map(|it| (it.header, it.hash)).collect();
                    check(&found, &self.keys.generation, (number, number), &place)?;
                    bytes.extend(part);
                }
                document::put(storage, &self.keys.parts(first, last), &bytes)?;
                let keys = (first..=last).map(|number| self.keys.parts(number, number));
                self.leftover.extend(keys);
            }
            self.loose.drain(..count);
        }
        let storage = &*self.needs.storage;
        self.leftover.retain(|key| storage.remove(key).is_err());
        Ok(count < due)
    }
}

/// Returns how many of the first parts go into one bundle: at least one, and only parts that
/// follow each other.
fn bundle_of(loose: &[Loose], most: u64) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for (i, part) in loose.iter().enumerate() {
        bytes += part.bytes;
        let follows = i == 0 || loose[i - 1].number + 1 == part.number;
        if i > 0 && (bytes > most || !follows) {
            break;
        }
        count = i + 1;
    }
    count
}

/// Returns the parts of a generation that are objects of their own, and the keys of those that are
/// in bundles as well.
pub(super) fn loose(survey: &Survey, generation: &str) -> (Vec<Loose>, Vec<String>) {
    let found = survey.generations.iter().find(|it| it.id == generation);
    let objects = found.map_or(&[][..], |it| &it.parts);
    let bundled = |number: u64| {
        let has = |(a, b): (u64, u64)| a < b && a <= number && number <= b;
        objects.iter().any(|(numbers, _)| has(*numbers))
    };
    let single = { objects.iter() }.filter(|((first, last), _)| first == last);
    let (over, loose): (Vec<_>, Vec<_>) = single.partition(|((number, _), _)| bundled(*number));
    let loose = loose.into_iter().map(|((number, _), item)| Loose {
        number: *number,
        bytes: item.bytes,
    });
    let leftover = over.into_iter().map(|(_, item)| item.key.clone());
    (loose.collect(), leftover.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_bounded_and_without_gaps() {
        let part = |number, bytes| Loose { number, bytes };
        for (loose, expected) in [
            (vec![part(1, 5)], 1),
            (vec![part(1, 50), part(2, 1)], 1),
            (vec![part(1, 4), part(2, 4), part(3, 4)], 2),
            (vec![part(1, 1), part(3, 1)], 1),
            (vec![part(1, 1), part(2, 1), part(4, 1)], 2),
        ] {
            assert_eq!(bundle_of(&loose, 10), expected, "{loose:?}");
        }
    }
}
