//! Decoding of text that comes in pieces.

use deia_model::unfinished_character;

/// Decodes bytes whose pieces may end anywhere. Bytes that are not UTF-8 are replaced.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of an incomplete character.
    kept: Vec<u8>,
}

impl Decoder {
    /// Returns all complete characters so far.
    pub(super) fn push(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.kept);
        bytes.extend_from_slice(piece);
        let whole = bytes.len() - unfinished_character(&bytes);
        self.kept = bytes.split_off(whole);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the rest when nothing more comes.
    pub(super) fn end(&mut self) -> String {
        let rest = std::mem::take(&mut self.kept);
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Returns the number of bytes of an incomplete character.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_say_the_same_as_the_whole(text in ".{0,40}", cuts in prop::collection::vec(0_usize..200, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut decoder = Decoder::default();
            let mut made: String = cuts.windows(2).map(|cut| decoder.push(&bytes[cut[0]..cut[1]])).collect();
            prop_assert_eq!(decoder.kept(), 0);
            made.push_str(&decoder.end());
            prop_assert_eq!(made, text);
        }
    }
}
