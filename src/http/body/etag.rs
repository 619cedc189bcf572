//! The `ETag` of what has versions: the number, in quotes.

/// The number in an `ETag` of ours.
pub(crate) fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let digit = |b: u8| b.is_ascii_digit();
    let plain = (1..=19).contains(&digits.len()) && digits.bytes().all(digit);
    // An ETag is compared to the letter: `"03"` was never given out.
    let given_out = plain && !digits.starts_with('0');
    given_out.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tag_is_read_only_as_it_was_given_out(text in "\\PC{0,30}|\"[0-9]{0,22}\"") {
            if let Some(version) = version(&text) {
                prop_assert!(version > 0);
                prop_assert_eq!(text.trim_matches('"').parse(), Ok(version));
            }
        }
    }

    #[test]
    fn etags() {
        for (tag, expected) in [
            ("\"3\"", Some(3)),
            ("\"0\"", None),
            ("\"03\"", None),
            ("\"12345678901234567890\"", None),
            ("3", None),
            ("W/\"3\"", None),
            ("\"\"", None),
            ("\"+3\"", None),
            ("\"3\", \"4\"", None),
        ] {
            assert_eq!(version(tag), expected, "{tag}");
        }
    }
}
