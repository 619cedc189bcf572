//! Path parameters.

use std::borrow::Cow;

/// Decodes the three escapes that the router leaves in a path parameter, so that a name
/// may have a `/`, a `+` or a `%`. It decodes once: the result may look escaped.
pub(crate) fn decode(part: &str) -> Cow<'_, str> {
    let Some((before, mut rest)) = part.split_once('%') else {
        return Cow::Borrowed(part);
    };
    let mut decoded = before.to_owned();
    loop {
        let left = match rest.as_bytes() {
            [b'2', b'F' | b'f', ..] => Some('/'),
            [b'2', b'B' | b'b', ..] => Some('+'),
            [b'2', b'5', ..] => Some('%'),
            _ => None,
        };
        decoded.push(left.unwrap_or('%'));
        if left.is_some() {
            rest = &rest[2..];
        }
        let Some((before, after)) = rest.split_once('%') else {
            decoded.push_str(rest);
            return Cow::Owned(decoded);
        };
        decoded.push_str(before);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_escapes_are_decoded_once() {
        for (part, name) in [
            ("", ""),
            ("ada", "ada"),
            ("idp:a%2Fb", "idp:a/b"),
            ("a%2fb%2Fc", "a/b/c"),
            ("%2B%2b", "++"),
            ("a%25b", "a%b"),
            ("%252F", "%2F"),
            ("%25252F", "%252F"),
            ("a%", "a%"),
            ("%%2F", "%/"),
            ("%2", "%2"),
            ("%41%ä", "%41%ä"),
        ] {
            assert_eq!(decode(part), name, "{part}");
        }
    }
}
