//! The priority of a submission before its body is read.

use deia_model::Priority;

/// Returns the default priority if the tasks of a body that is there as a whole have it for
/// certain: none of its keys can be `priority`. Other bodies are to be read first.
pub(crate) fn default_priority(body: &[u8]) -> Option<Priority> {
    let has = |word: &[u8]| body.windows(word.len()).any(|part| part == word);
    // A key may be written with escapes.
    let may_name_it = has(b"\"priority\"") || has(b"\\u");
    (!may_name_it).then(Priority::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_body_that_cannot_name_a_priority_has_the_default_one() {
        for (body, expected) in [
            (r#"{"type":"a","content":"x"}"#, Some(Priority::P2)),
            (
                r#"{"tasks":[{"type":"a"},{"type":"b"}]}"#,
                Some(Priority::P2),
            ),
            (r#"{"type":"a","priority":"P0"}"#, None),
            (r#"{"type":"a","\u0070riority":"P0"}"#, None),
            (
                r#"{"type":"a","content":"a \"priority\" of mine"}"#,
                Some(Priority::P2),
            ),
            ("", Some(Priority::P2)),
        ] {
            assert_eq!(default_priority(body.as_bytes()), expected, "{body}");
        }
    }
}
