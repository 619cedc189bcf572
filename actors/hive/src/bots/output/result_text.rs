//! The text of an output in the result of its attempt. Pure.

use std::borrow::Cow;

use crate::bots::attempt::ExecutionResult;

/// Maximum size of the part of a stored output that is repeated in the result, in bytes.
/// Fact: the API, whose schema states it.
const MAX_HEAD_BYTES: u64 = 64 << 10;

/// Cuts the text of an output that is in a file if the text is incomplete or too long for a result.
/// Readers recognise a cut text by its length, which is less than that of the whole output.
pub(in crate::bots) fn cut(outcome: &mut ExecutionResult, max_bytes: u64) {
    let (Some(whole), Some(text)) = (outcome.output_bytes, &mut outcome.output) else {
        return;
    };
    if whole <= max_bytes && text.len() as u64 <= max_bytes {
        return;
    }
    let most = MAX_HEAD_BYTES.min(max_bytes).min(whole.saturating_sub(1));
    let mut end = usize::try_from(most).unwrap_or(usize::MAX).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// Returns the bytes as text, and whether some were not UTF-8 and were replaced.
pub(in crate::bots) fn text(bytes: Vec<u8>) -> (String, bool) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => match String::from_utf8_lossy(error.as_bytes()) {
            Cow::Borrowed(text) => (text.to_owned(), false),
            Cow::Owned(text) => (text, true),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_or_overlong_text_is_cut() {
        for (text, whole, max_bytes, expected) in [
            ("abc", None, 1, "abc"),
            ("abc", Some(9), 8, "abc"),
            ("abcdefgh", Some(9), 4, "abcd"),
            // Replaced bytes made the text longer: it is complete, but too long.
            ("\u{fffd}\u{fffd}", Some(2), 4, ""),
            ("a\u{fffd}\u{fffd}", Some(3), 4, "a"),
            ("a\u{fffd}\u{fffd}", Some(3), 7, "a\u{fffd}\u{fffd}"),
        ] {
            let mut outcome = ExecutionResult::succeeded(text.into(), 0);
            outcome.output_bytes = whole;
            cut(&mut outcome, max_bytes);
            assert_eq!(
                outcome.output.as_deref(),
                Some(expected),
                "{text} {whole:?}"
            );
        }
    }
}
