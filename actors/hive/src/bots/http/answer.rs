//! The result in an answer of 200. Pure.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value};

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An object with the output and the cost.
    Json,
    /// The output itself, taken piece by piece.
    Text,
}

/// The result of a task, as a service tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) output: String,
    pub(super) tokens_used: Option<u64>,
    pub(super) cost_cents: Option<u64>,
}

/// Returns the form of an answer.
///
/// # Errors
/// It has neither form.
pub(super) fn kind_of(headers: &HeaderMap) -> Result<Kind, String> {
    let expected = "expected application/json with the output, or text/plain";
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(format!("the answer has no content-type; {expected}"));
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(Kind::Json);
    }
    match essence.eq_ignore_ascii_case("text/plain") {
        true => Ok(Kind::Text),
        false => Err(format!("the answer is {essence:?}; {expected}")),
    }
}

/// Reads the result from an answer in JSON. Fields that are not known here are left alone.
///
/// # Errors
/// It is no such object.
pub(super) fn parse(body: &[u8]) -> Result<Said, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let Value::Object(mut fields) = value else {
        return Err("the answer is not an object with an output".into());
    };
    let output = match fields.remove("output") {
        Some(Value::String(text)) => text,
        None | Some(Value::Null) => return Err("the answer has no output".into()),
        // Structured output is passed on as it is written.
        Some(other) => other.to_string(),
    };
    Ok(Said {
        output,
        tokens_used: whole(&mut fields, "tokens_used")?,
        cost_cents: whole(&mut fields, "cost_cents")?,
    })
}

fn whole(fields: &mut Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|n| i64::try_from(*n).is_ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(format!(
                "the {name} of the answer is no whole number from 0"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_read_from_json() {
        let said = |output: &str, tokens_used, cost_cents| {
            Ok(Said {
                output: output.into(),
                tokens_used,
                cost_cents,
            })
        };
        for (body, expected) in [
            (r#"{"output":"a"}"#, said("a", None, None)),
            (r#"{"output":"","x":1}"#, said("", None, None)),
            (
                r#"{"output":"a","tokens_used":7,"cost_cents":0}"#,
                said("a", Some(7), Some(0)),
            ),
            (r#"{"output":{"b":[1]}}"#, said(r#"{"b":[1]}"#, None, None)),
            (r#"{"output":7,"cost_cents":null}"#, said("7", None, None)),
            (r#"{"output":null}"#, Err("the answer has no output")),
            ("{}", Err("the answer has no output")),
            (r#"["a"]"#, Err("the answer is not an object")),
            ("", Err("the answer is not JSON")),
            ("<html>", Err("the answer is not JSON")),
            (r#"{"output":"a"} x"#, Err("the answer is not JSON")),
            (
                r#"{"output":"a","tokens_used":-1}"#,
                Err("the tokens_used of the answer"),
            ),
            (
                r#"{"output":"a","cost_cents":18446744073709551615}"#,
                Err("the cost_cents of the answer"),
            ),
        ] {
            match (parse(body.as_bytes()), expected) {
                (Err(told), Err(start)) => assert!(told.starts_with(start), "{body}: {told}"),
                (found, expected) => assert_eq!(found, expected.map_err(String::from), "{body}"),
            }
        }
        assert!(parse(b"{\"output\":\"\xff\"}").is_err());
    }

    #[test]
    fn form_of_an_answer_is_that_of_its_content_type() {
        for (value, expected) in [
            (Some("application/json"), Ok(Kind::Json)),
            (Some("Application/JSON; charset=utf-8"), Ok(Kind::Json)),
            (Some("text/plain"), Ok(Kind::Text)),
            (Some("text/plain;charset=utf-8"), Ok(Kind::Text)),
            (Some("text/html"), Err("the answer is \"text/html\"")),
            (None, Err("the answer has no content-type")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(CONTENT_TYPE, value.parse().unwrap());
            }
            match (kind_of(&headers), expected) {
                (Err(told), Err(start)) => assert!(told.starts_with(start), "{told}"),
                (found, expected) => assert_eq!(found, expected.map_err(String::from)),
            }
        }
    }
}
