//! Entry bundles: entries, each after its length in two bytes.

use std::ops::Range;

use crate::tile::TILE_WIDTH;

/// The entries of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    bytes: Vec<u8>,
    entries: Vec<Range<usize>>,
}

impl Bundle {
    /// Splits a bundle into its entries; `None` if the lengths do not add up, or there are more
    /// than a bundle holds.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut entries = Vec::with_capacity(TILE_WIDTH);
        let mut at = 0;
        while at < bytes.len() {
            let entry = entry_at(&bytes, at)?;
            at = entry.end;
            entries.push(entry);
        }
        (entries.len() <= TILE_WIDTH).then_some(Self { bytes, entries })
    }

    /// Splits off as many whole entries as there are.
    pub(crate) fn parse_torn(mut bytes: Vec<u8>) -> Self {
        let (mut entries, mut at) = (Vec::new(), 0);
        while entries.len() < TILE_WIDTH
            && let Some(entry) = entry_at(&bytes, at)
        {
            at = entry.end;
            entries.push(entry);
        }
        bytes.truncate(at);
        Self { bytes, entries }
    }

    /// Returns the number of bytes of the first `n` entries; `None` if there are fewer.
    pub fn length_of(bytes: &[u8], n: usize) -> Option<usize> {
        (0..n).try_fold(0, |at, _| entry_at(bytes, at).map(|entry| entry.end))
    }

    /// Adds an entry to the bytes of a bundle. `None` if it is too long.
    pub(crate) fn push(bytes: &mut Vec<u8>, entry: &[u8]) -> Option<()> {
        let length = u16::try_from(entry.len()).ok()?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
        Some(())
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the entry at a place within the bundle.
    pub fn entry(&self, at: usize) -> Option<&[u8]> {
        self.entries.get(at).map(|range| &self.bytes[range.clone()])
    }

    /// Iterates over the entries.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.entries.iter().map(|range| &self.bytes[range.clone()])
    }

    /// Returns the bytes of the bundle.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

pub(crate) fn entry_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let length = bytes.get(at..at + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let range = at + 2..at + 2 + length;
    bytes.get(range.clone()).map(|_| range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundle_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        for entry in [&b"one"[..], b"", b"three"] {
            Bundle::push(&mut bytes, entry).unwrap();
        }
        assert!(Bundle::push(&mut bytes, &[0; 65_536]).is_none());
        let bundle = Bundle::parse(bytes.clone()).unwrap();
        assert_eq!(
            bundle.iter().collect::<Vec<_>>(),
            [&b"one"[..], b"", b"three"]
        );
        assert_eq!(Bundle::length_of(&bytes, 2), Some(7));
        assert_eq!(Bundle::length_of(&bytes, 4), None);
        bytes.pop();
        assert!(Bundle::parse(bytes.clone()).is_none());
        assert_eq!(Bundle::parse_torn(bytes).len(), 2);
    }
}
