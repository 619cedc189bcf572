//! JSON that means the same to every reader: no duplicate member in an object, and no
//! number that a reader would change.

use std::{borrow::Cow, collections::HashSet};

use super::Violation;

/// An object or a list that is still open.
enum Open<'t> {
    Object {
        names: HashSet<Cow<'t, str>>,
        name: Cow<'t, str>,
    },
    List {
        index: usize,
    },
}

/// Returns the first place in `json`, which must be valid JSON, that readers may
/// understand in different ways.
pub fn ambiguity(json: &str) -> Option<Violation> {
    let bytes = json.as_bytes();
    let mut open: Vec<Open<'_>> = Vec::new();
    // True if the next string is the name of a member.
    let mut names_follow = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => {
                open.push(Open::Object {
                    names: HashSet::new(),
                    name: Cow::Borrowed(""),
                });
                names_follow = true;
            }
            b'[' => {
                open.push(Open::List { index: 0 });
                names_follow = false;
            }
            b'}' | b']' => drop(open.pop()),
            b':' => names_follow = false,
            b',' => match open.last_mut() {
                Some(Open::List { index }) => *index += 1,
                _ => names_follow = true,
            },
            b'"' => {
                let end = end_of_string(bytes, at);
                if let (true, Some(Open::Object { names, name })) = (names_follow, open.last_mut())
                {
                    *name = text(json.get(at..end).unwrap_or_default());
                    if !names.insert(name.clone()) {
                        return Some(violation(&open, "is given twice"));
                    }
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let end = end_of_number(bytes, at);
                if !is_exact(json.get(at..end).unwrap_or_default()) {
                    let detail = "is a number that would lose digits; send it as a string";
                    return Some(violation(&open, detail));
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    start + bytes.iter().skip(start).take_while(is_part).count()
}

/// Returns the text that a quoted string stands for.
fn text(quoted: &str) -> Cow<'_, str> {
    if quoted.contains('\\') {
        return serde_json::from_str(quoted).map_or_else(|_| Cow::Borrowed(quoted), Cow::Owned);
    }
    Cow::Borrowed(quoted.trim_matches('"'))
}

/// Maximum length of a reported pointer, in bytes. Fixed: keeps messages readable.
const POINTER_MAX: usize = 200;

fn violation(open: &[Open<'_>], detail: &str) -> Violation {
    let mut pointer = String::new();
    for part in open {
        let part = match part {
            Open::Object { name, .. } => name.replace('~', "~0").replace('/', "~1"),
            Open::List { index } => index.to_string(),
        };
        if pointer.len() + part.len() >= POINTER_MAX {
            break;
        }
        pointer.push('/');
        pointer.push_str(&part);
    }
    Violation {
        pointer,
        detail: detail.to_owned(),
    }
}

/// Returns whether the number keeps its value as a 64-bit integer, or as a double
/// written with as many digits as necessary.
pub fn is_exact(number: &str) -> bool {
    let is_integer = !number.contains(['.', 'e', 'E']);
    if is_integer && (number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()) {
        return true;
    }
    if is_integer {
        return false;
    }
    let read = number.parse::<f64>().ok().filter(|value| value.is_finite());
    read.is_some_and(|value| {
        decimal(&format!("{value:e}")) == decimal(number) || is_half_way(number, value)
    })
}

/// Number of digits that tell any double from its neighbours. Fact: IEEE 754, 5.12.2.
const DOUBLE_DIGITS: usize = 17;

/// Returns whether the double lies half way between `number` and the next number with
/// as many digits. Both then stand for the double, and writers differ in the one they
/// choose.
fn is_half_way(number: &str, value: f64) -> bool {
    let Some((_, digits, power)) = decimal(number) else {
        return false;
    };
    if digits.len() > DOUBLE_DIGITS {
        return false;
    }
    let Some((_, exact, exact_power)) = decimal(&format!("{value:.40e}")) else {
        return false;
    };
    // `number` with one more digit, a 5.
    let Some(kept) = exact.strip_suffix('5').filter(|_| exact_power == power - 1) else {
        return false;
    };
    match (kept.parse::<u64>(), digits.parse::<u64>()) {
        (Ok(down), Ok(given)) => given == down || given == down + 1,
        _ => false,
    }
}

/// Returns the sign, the significant digits and the power of ten that they are
/// multiplied with.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((is_negative, String::new(), 0));
    }
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent: i64 = exponent.parse().ok()?;
    let power = exponent
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(zeros)?;
    Some((is_negative, significant.to_owned(), power))
}

/// Returns whether JSON is nested at most `levels` deep; a list or an object is one
/// level deeper than its content.
pub fn is_at_most_deep(value: &serde_json::Value, levels: usize) -> bool {
    match value {
        serde_json::Value::Array(items) => {
            levels > 0 && items.iter().all(|item| is_at_most_deep(item, levels - 1))
        }
        serde_json::Value::Object(members) => {
            levels > 0
                && members
                    .values()
                    .all(|item| is_at_most_deep(item, levels - 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn inexact_numbers_are_found() {
        for (number, expected) in [
            ("0", true),
            ("-0", true),
            ("-0.0", true),
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("-9223372036854775808", true),
            ("-9223372036854775809", false),
            ("123456789012345678901234567890", false),
            ("0.1", true),
            ("1.10", true),
            ("1E2", true),
            ("1e+2", true),
            ("12.50e-3", true),
            ("0.30000000000000004", true),
            ("0.1000000000000000055511151231257827", false),
            ("756915334460253.2", true),
            ("756915334460253.3", true),
            ("9007199254740993.0", false),
            ("1e400", false),
            ("1e-400", false),
            ("0e-400", true),
            ("1e99999999999999999999", false),
            ("5e-324", true),
            ("1.7976931348623157e308", true),
        ] {
            assert_eq!(is_exact(number), expected, "{number}");
        }
    }

    #[test]
    fn ambiguous_places_are_pointed_at() {
        for (json, expected) in [
            ("{}", None),
            (r#"{"a":{"b":1},"b":[{"a":1},{"a":1}]}"#, None),
            (r#"{"a":"\"a\":1,","b":"{[:"}"#, None),
            (r#"{"a":1,"a":1}"#, Some("/a")),
            (r#"{"a":1,"\u0061":1}"#, Some("/a")),
            (
                r#"{"m":[0,{"x":{"b/c":1, "b/c" :2}}]}"#,
                Some("/m/1/x/b~1c"),
            ),
            (r#"{"m":[1,2.5,[18446744073709551616]]}"#, Some("/m/2/0")),
            (r#"{"m":"18446744073709551616"}"#, None),
            (r#"{"18446744073709551616":1}"#, None),
            (r#"{"":1,"":2}"#, Some("/")),
            ("1e999", Some("")),
        ] {
            let found = ambiguity(json).map(|found| found.pointer);
            assert_eq!(found.as_deref(), expected, "{json}");
        }
        let deep = format!("{}{{\"a\":1,\"a\":1}}{}", "[".repeat(500), "]".repeat(500));
        assert!(ambiguity(&deep).unwrap().pointer.len() <= POINTER_MAX);
    }

    #[test]
    fn depth_is_counted_in_levels() {
        for (json, levels) in [
            ("1", 0),
            ("[]", 1),
            ("{\"a\":1}", 1),
            ("[[1],{\"a\":[]}]", 3),
        ] {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            assert!(is_at_most_deep(&value, levels), "{json}");
            assert!(
                levels == 0 || !is_at_most_deep(&value, levels - 1),
                "{json}"
            );
        }
    }

    proptest! {
        #[test]
        fn numbers_as_serde_writes_them_are_exact(float in any::<f64>(), whole in any::<i64>()) {
            prop_assert!(is_exact(&serde_json::to_string(&whole).unwrap()));
            if float.is_finite() {
                prop_assert!(is_exact(&serde_json::to_string(&float).unwrap()));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in any::<String>()) {
            let _ = ambiguity(&text);
        }
    }
}
