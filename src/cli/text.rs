//! Decoding of text that comes in pieces.

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
        let whole = bytes.len() - unfinished(&bytes);
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

/// Returns the number of bytes at the end that are the beginning of one character.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|n| {
            let tail = &bytes[bytes.len() - n..];
            // An invalid byte has a length, a missing end has none.
            let missing = |error: std::str::Utf8Error| error.error_len().is_none();
            tail[0] >= 0xc0 && std::str::from_utf8(tail).is_err_and(missing)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_may_become_a_character_is_kept() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("\u{e4}".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"a\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xff", 0),
            (b"\x82\x82\x82", 0),
            (b"\xe2\xff", 0),
        ] {
            assert_eq!(unfinished(bytes), expected, "{bytes:?}");
        }
    }

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
