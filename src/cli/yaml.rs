//! Writes JSON as YAML that version 1.1 and 1.2 readers understand alike.
//!
//! A text stays plain only when no reader could take it for anything else;
//! every other one is double-quoted on one line.

mod node;

use serde_json::{Number, Value};

use self::node::Node;

/// Keys beyond this many bytes need the explicit form (YAML allows 1,024 characters).
const LONGEST_PLAIN_KEY: usize = 500;

/// The JSON document `json` as YAML, with a final line feed.
///
/// # Errors
/// It is not JSON.
pub(super) fn from_json(json: &str) -> Result<String, serde_json::Error> {
    let document: Node = serde_json::from_str(json)?;
    let mut out = String::new();
    write(&mut out, &document, 0);
    Ok(out)
}

fn write(out: &mut String, node: &Node, indent: usize) {
    match node {
        Node::List(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    pad(out, indent);
                }
                out.push_str("- ");
                write(out, item, indent + 2);
            }
        }
        Node::Fields(fields) if !fields.is_empty() => {
            for (i, (name, value)) in fields.iter().enumerate() {
                if i > 0 {
                    pad(out, indent);
                }
                key(out, name, indent);
                if value.is_block() {
                    out.push('\n');
                    pad(out, indent + 2);
                } else {
                    out.push(' ');
                }
                write(out, value, indent + 2);
            }
        }
        Node::Scalar(value) => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
        Node::List(_) => out.push_str("[]\n"),
        Node::Fields(_) => out.push_str("{}\n"),
    }
}

fn key(out: &mut String, name: &str, indent: usize) {
    let name = text(name);
    if name.len() > LONGEST_PLAIN_KEY {
        out.push_str("? ");
        out.push_str(&name);
        out.push('\n');
        pad(out, indent);
    } else {
        out.push_str(&name);
    }
    out.push(':');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Number(value) => number(value),
        Value::String(value) => text(value),
        other => other.to_string(),
    }
}

/// YAML 1.1 takes `1e21` for a text: it wants a point and a signed exponent.
fn number(value: &Number) -> String {
    let text = value.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) {
        ""
    } else {
        "+"
    };
    format!("{mantissa}{point}e{sign}{exponent}")
}

fn text(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn is_plain(text: &str) -> bool {
    const MEANING: [&str; 12] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan", "infinity",
    ];
    let first_ok = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '/');
    let inner =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '+');
    first_ok
        && text.len() <= 120
        && text.chars().all(inner)
        && !MEANING.contains(&text.to_ascii_lowercase().as_str())
}

fn quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if must_escape(c) => {
                let code = u32::from(c);
                // Writing to a String cannot fail.
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Not printable in YAML, a line break in one of its versions, or something a
/// terminal would act on.
fn must_escape(c: char) -> bool {
    matches!(
        c,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    ) || super::human::acts(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};
    use yaml_rust2::{Yaml, YamlLoader};

    use super::*;

    fn to_string(value: &Value) -> String {
        from_json(&value.to_string()).unwrap()
    }

    #[test]
    fn fields_keep_their_order() {
        let yaml = from_json(r#"{"z": {"b": 1, "a": [{"w": 2, "v": 3}]}, "c": null}"#).unwrap();
        assert_eq!(yaml, "z:\n  b: 1\n  a:\n    - w: 2\n      v: 3\nc: null\n");
        assert!(from_json("{").is_err());
    }

    #[test]
    fn layout() {
        let value = json!({
            "healthy": true,
            "items": [{"id": "task_1", "metadata": {}, "tags": ["a", "b: c"]}, [1, [2]], []],
            "none": null,
            "rate": 0.5,
        });
        let expected = "\
healthy: true
items:
  - id: task_1
    metadata: {}
    tags:
      - a
      - \"b: c\"
  - - 1
    - - 2
  - []
none: null
rate: 0.5
";
        assert_eq!(to_string(&value), expected);
        assert_eq!(read(expected), value);
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in [
            "",
            " ",
            "null",
            "Null",
            "~",
            "true",
            "No",
            "on",
            "y",
            "12",
            "-1",
            "1e3",
            "0x1f",
            "1:30",
            "2026-11-20",
            "2026-11-20T08:30:00Z",
            ".inf",
            ".nan",
            "- a",
            "a: b",
            "a #b",
            "#",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%",
            "@a",
            "`",
            "'",
            "\"",
            "{",
            "[",
            "a,",
            "?",
            ":",
            "---",
            "...",
            "a ",
            " a",
            "a\nb",
            "\u{85}",
            "\u{feff}",
            "=",
            "<<",
        ] {
            assert!(quoted(text) == super::text(text), "{text:?} is not quoted");
            assert_eq!(
                read(&to_string(&json!({ "k": text }))),
                json!({ "k": text })
            );
        }
        for text in [
            "task_01h455vb4pex5vsknk084sn02q",
            "upper-1",
            "a/b",
            "/tmp/x",
        ] {
            assert_eq!(super::text(text), text);
        }
    }

    #[test]
    fn long_and_odd_keys() {
        let long = "k".repeat(2_000);
        for key in [long.as_str(), "", "a: b", "- x", "?", "true", "1"] {
            let value = json!({ key: {"x": 1}, "z": [{ key: 2 }] });
            assert_eq!(read(&to_string(&value)), value, "{key}");
        }
    }

    fn read(text: &str) -> Value {
        let mut documents =
            YamlLoader::load_from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(documents.len(), 1, "{text}");
        as_json(documents.remove(0))
    }

    fn as_json(yaml: Yaml) -> Value {
        match yaml {
            Yaml::Null => Value::Null,
            Yaml::Boolean(value) => value.into(),
            Yaml::Integer(value) => value.into(),
            Yaml::Real(text) => text.parse::<f64>().unwrap().into(),
            Yaml::String(text) => text.into(),
            Yaml::Array(items) => items.into_iter().map(as_json).collect(),
            Yaml::Hash(fields) => fields
                .into_iter()
                .map(|(k, v)| (k.into_string().expect("a text as key"), as_json(v)))
                .collect::<Map<_, _>>()
                .into(),
            other => panic!("{other:?}"),
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300f64).prop_map(|x| if x.fract() == 0.0 {
                json!(x as i64)
            } else {
                json!(x)
            }),
            any::<String>().prop_map(Value::from),
            "[-a-z0-9:#,\\[\\]{}&*!|>'\"%@`. \n\t\\\\~?=<_/+]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_json()) {
            prop_assert_eq!(read(&to_string(&value)), value);
        }
    }
}
