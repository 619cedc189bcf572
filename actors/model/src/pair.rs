//! Pairs of a key and a text in one argument.

/// Splits `pair` at the first `separator` without a `\\` before it. In the key, `\\`
/// escapes separators and `\\` itself, so that every key can be written.
pub fn split_key(pair: &str, separator: char) -> Option<(String, String)> {
    let mut key = String::new();
    let mut rest = pair.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some((_, next)) if next == separator || next == '\\' => key.push(next),
                Some((_, next)) => key.extend(['\\', next]),
                None => return None,
            },
            c if c == separator => return Some((key, pair[at + c.len_utf8()..].to_owned())),
            c => key.push(c),
        }
    }
    None
}

/// Writes a pair so that [`split_key`] reads it.
pub fn join_key(key: &str, text: &str, separator: char) -> String {
    let key = key.replace('\\', "\\\\");
    let key = key.replace(separator, &format!("\\{separator}"));
    format!("{key}{separator}{text}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_can_be_written(key in r"[a:=\\]{0,6}|.{0,6}", text in r"[b:=\\]{0,6}|.{0,6}") {
            for separator in [':', '='] {
                let pair = join_key(&key, &text, separator);
                let split = split_key(&pair, separator);
                prop_assert_eq!(split, Some((key.clone(), text.clone())));
            }
        }
    }
}
