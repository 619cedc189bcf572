//! Messages of deserializers in the words of JSON, without names of Rust types.

/// Returns a message as the end of a sentence that begins with the place.
pub(crate) fn in_words(said: &str) -> String {
    if said == "expected value" || said.starts_with("data did not match any variant") {
        // serde reports a number in the place of an enum as if it were not JSON.
        return "has the wrong type".to_owned();
    }
    if said.starts_with("missing field") {
        return "is missing".to_owned();
    }
    if said.starts_with("duplicate field") {
        return "is given twice".to_owned();
    }
    if said.starts_with("unknown field") {
        return match said.split_once(", expected ") {
            Some((_, known)) => format!("is not known; allowed are {}", listed(known)),
            None => "is not known".to_owned(),
        };
    }
    if let Some(rest) = said.strip_prefix("unknown variant ") {
        let (got, known) = rest.split_once(", expected ").unwrap_or((rest, ""));
        return match known {
            "" => format!("has the value {got}, which is not known"),
            known => format!("has the value {got}; allowed are {}", listed(known)),
        };
    }
    if let Some((got, wanted)) = mismatch(said, "invalid type: ") {
        return format!(
            "has the wrong type: it is {}, and must be {}",
            value(got),
            kind(wanted)
        );
    }
    if let Some((got, wanted)) = mismatch(said, "invalid value: ") {
        return format!("is {}, and must be {}", value(got), kind(wanted));
    }
    if let Some((got, wanted)) = mismatch(said, "invalid length ") {
        return format!("has {got} items, and must be {}", kind(wanted));
    }
    said.to_owned()
}

fn mismatch<'s>(said: &'s str, start: &str) -> Option<(&'s str, &'s str)> {
    said.strip_prefix(start)?.rsplit_once(", expected ")
}

fn listed(known: &str) -> &str {
    known.strip_prefix("one of ").unwrap_or(known)
}

fn value(got: &str) -> String {
    for name in ["integer ", "floating point ", "number "] {
        if let Some(number) = got.strip_prefix(name) {
            return number.trim_matches('`').to_owned();
        }
    }
    if let Some(text) = got.strip_prefix("string ") {
        return format!("the text {text}");
    }
    if let Some(is) = got.strip_prefix("boolean ") {
        return is.trim_matches('`').to_owned();
    }
    match got {
        "map" => "an object".to_owned(),
        "sequence" => "an array".to_owned(),
        "unit value" | "Option value" => "null".to_owned(),
        other => other.to_owned(),
    }
}

fn kind(wanted: &str) -> String {
    let whole = |bits: &str| match bits {
        "8" => "a whole number from 0 to 255".to_owned(),
        "16" => "a whole number from 0 to 65535".to_owned(),
        "32" => "a whole number from 0 to 4294967295".to_owned(),
        _ => "a whole number, 0 or more".to_owned(),
    };
    if let Some(bits) = wanted
        .strip_prefix('u')
        .filter(|bits| bits.parse::<u8>().is_ok())
    {
        return whole(bits);
    }
    match wanted {
        "usize" => whole("64"),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a map" => "an object".to_owned(),
        "a sequence" | "an array" => "an array".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a borrowed string" | "path string" | "string" => "a string".to_owned(),
        of if of.starts_with("struct ") || of.contains("tagged enum") => "an object".to_owned(),
        of if of.starts_with("enum ") || of.starts_with("variant ") => "a string".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_a_verb_and_no_rust_types() {
        for (said, expected) in [
            ("missing field `type`", "is missing"),
            (
                "unknown field `prio`, expected `a` or `b`",
                "is not known; allowed are `a` or `b`",
            ),
            ("unknown field `prio`, there are no fields", "is not known"),
            (
                "unknown variant `P9`, expected one of `P0`, `P1`",
                "has the value `P9`; allowed are `P0`, `P1`",
            ),
            (
                "invalid type: null, expected u64",
                "has the wrong type: it is null, and must be a whole number, 0 or more",
            ),
            (
                "invalid type: integer `1`, expected a string",
                "has the wrong type: it is 1, and must be a string",
            ),
            (
                "invalid type: map, expected a sequence",
                "has the wrong type: it is an object, and must be an array",
            ),
            (
                "invalid type: sequence, expected struct NewTask",
                "has the wrong type: it is an array, and must be an object",
            ),
            (
                "invalid value: integer `-1`, expected u32",
                "is -1, and must be a whole number from 0 to 4294967295",
            ),
            ("expected value", "has the wrong type"),
            ("is no name of a bot", "is no name of a bot"),
        ] {
            assert_eq!(in_words(said), expected, "{said}");
        }
    }
}
