//! Bundles: one object in place of many small ones.

use super::GenerationWriter;
use crate::{ArchiveError, document, survey::Survey};

/// An object with one part that is not in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loose {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

impl GenerationWriter {
    /// Puts parts that are objects of their own into bundles of at most the size of a piece.
    /// A part is removed after the bundle that has it is written.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call.
    pub fn bundle(&mut self) -> Result<(), ArchiveError> {
        let most = self.needs.piece_max_bytes as u64;
        while self.loose.len() > 1 {
            let count = bundle_of(&self.loose, most);
            let (Some(first), Some(last)) = (self.loose.first(), self.loose.get(count - 1)) else {
                break;
            };
            if count > 1 {
                let (first, last) = (first.number, last.number);
                let storage = &*self.needs.storage;
                let mut bytes = Vec::new();
                for number in first..=last {
                    bytes.extend(document::get(storage, &self.keys.parts(number, number))?);
                }
                document::put(storage, &self.keys.parts(first, last), &bytes)?;
                for number in first..=last {
                    let key = self.keys.parts(number, number);
                    storage
                        .remove(&key)
                        .map_err(|source| ArchiveError::Storage {
                            place: storage.address(&key),
                            source,
                        })?;
                }
            }
            self.loose.drain(..count);
        }
        Ok(())
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

/// Returns the parts of a generation that are objects of their own.
pub(super) fn loose(survey: &Survey, generation: &str) -> Vec<Loose> {
    let found = survey.generations.iter().find(|it| it.id == generation);
    let objects = found.map_or(&[][..], |it| &it.parts);
    let bundled = |number: u64| {
        let has = |(a, b): (u64, u64)| a < b && a <= number && number <= b;
        objects.iter().any(|(numbers, _)| has(*numbers))
    };
    objects
        .iter()
        .filter(|((first, last), _)| first == last && !bundled(*first))
        .map(|((number, _), item)| Loose {
            number: *number,
            bytes: item.bytes,
        })
        .collect()
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
