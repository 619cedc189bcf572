//! The `ETag` of what has versions: the number, in quotes.

/// The number in an `ETag` of ours.
pub(super) fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|version| *version > 0)
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
