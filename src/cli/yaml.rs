//! Writes values as YAML that version 1.1 and 1.2 readers understand alike.

use serde::{Serialize, ser::Error as _};
use serde_saphyr::{SerializerOptions, ser_options};

use super::format;

/// Lists are indented below their name; a text is on one line, with its line feeds escaped.
fn options() -> SerializerOptions {
    ser_options! {
        compact_list_indent: false,
        prefer_block_scalars: false,
    }
}

/// Writes the value as one YAML document, with a final line feed.
///
/// # Errors
/// The value has no form in JSON.
pub(super) fn to_string<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let text = serde_saphyr::to_string_with_options(value, options())
        .map_err(serde_json::Error::custom)?;
    // Characters that reorder a line are left as they are, also outside of quotes, where
    // they cannot be escaped. JSON is YAML in which they can.
    match text.contains(|c| c != '\n' && format::acts(c)) {
        true => Ok(format::inert_json(&serde_json::to_string_pretty(value)?) + "\n"),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use yaml_rust2::{Yaml, YamlLoader};

    use super::*;

    fn to_string(value: &Value) -> String {
        super::to_string(value).unwrap()
    }

    #[derive(Serialize)]
    struct Inner {
        w: u8,
        v: Option<u8>,
    }

    #[derive(Serialize)]
    struct Outer {
        z: Vec<Inner>,
        c: f64,
    }

    #[test]
    fn fields_keep_their_order() {
        let value = Outer {
            z: vec![Inner { w: 2, v: None }],
            c: 1e21,
        };
        let yaml = super::to_string(&value).unwrap();
        assert_eq!(yaml, "z:\n  - w: 2\n    v: null\nc: 1.0e+21\n");
    }

    #[test]
    fn text_that_a_terminal_would_act_on_is_escaped() {
        for (text, expected) in [
            ("a\u{1b}[2J", "k: \"a\\e[2J\"\n"),
            ("a\u{85}", "k: \"a\\N\"\n"),
            ("a\u{202e}b", "{\n  \"k\": \"a\\u202eb\"\n}\n"),
            ("\u{2066}: '", "{\n  \"k\": \"\\u2066: '\"\n}\n"),
        ] {
            let yaml = to_string(&json!({ "k": text }));
            assert_eq!(yaml, expected);
            assert_eq!(read(&yaml), json!({ "k": text }));
        }
        let wild = json!({ "\u{202e}": [1, {}] });
        assert_eq!(read(&to_string(&wild)), wild);
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
            let yaml = to_string(&json!({ "k": text }));
            let quoted = yaml.starts_with("k: '") || yaml.starts_with("k: \"");
            assert!(quoted, "{yaml}");
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
            assert_eq!(to_string(&json!({ "k": text })), format!("k: {text}\n"));
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
