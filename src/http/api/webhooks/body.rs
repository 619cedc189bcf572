//! Bodies about endpoints. Values of headers may be secret, so no error repeats them.

use std::collections::BTreeMap;

use deia_model::{NewWebhook, Violation, WebhookChange};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::http::body::{
    json::{decode, decode_part},
    problem::Problem,
};

type Headers = BTreeMap<String, String>;

/// Reads an endpoint to be registered.
pub(super) fn new(body: &[u8]) -> Result<NewWebhook, Problem> {
    let (rest, headers) = parts::<NewWebhook>(body)?;
    Ok(NewWebhook {
        headers: headers.unwrap_or_default(),
        ..rest
    })
}

/// Reads a change of an endpoint.
pub(super) fn change(body: &[u8]) -> Result<WebhookChange, Problem> {
    let (rest, headers) = parts::<WebhookChange>(body)?;
    Ok(WebhookChange { headers, ..rest })
}

/// Reads the headers, and all that is beside them as a `T`.
fn parts<T: DeserializeOwned>(body: &[u8]) -> Result<(T, Option<Headers>), Problem> {
    let mut fields: Map<String, Value> = decode(body)?;
    let headers = match fields.remove("headers") {
        // A `T` decides whether that is allowed.
        Some(Value::Null) => {
            fields.insert("headers".into(), Value::Null);
            None
        }
        other => other,
    };
    let invalid = |violation| Problem::invalid(vec![violation]);
    let headers = headers.map(read).transpose().map_err(invalid)?;
    let rest = decode_part(Value::Object(fields), "").map_err(invalid)?;
    Ok((rest, headers))
}

fn read(headers: Value) -> Result<Headers, Violation> {
    let fault = |pointer: String, must: &str| Violation {
        pointer,
        detail: format!("has the wrong type: it must be {must}"),
    };
    let Value::Object(headers) = headers else {
        return Err(fault("/headers".into(), "an object"));
    };
    let text = |(name, value): (String, Value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            Err(fault(format!("/headers/{escaped}"), "a string"))
        }
    };
    headers.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_their_values_not_repeated() {
        let body = br#"{"url":"https://a.example","headers":{"Authorization":"Bearer x"}}"#;
        let read = new(body).unwrap();
        assert_eq!(read.url, "https://a.example");
        assert_eq!(read.headers["Authorization"], "Bearer x");
        assert_eq!(change(b"{}").unwrap(), WebhookChange::default());
        assert_eq!(change(br#"{"headers":null}"#).unwrap().headers, None);
        assert_eq!(
            change(br#"{"headers":{}}"#).unwrap().headers,
            Some(Headers::new())
        );
        for (body, place) in [
            (r#"{"headers":"hunter2"}"#, "\"/headers\""),
            (r#"{"headers":{"a/b":["hunter2"]}}"#, "\"/headers/a~1b\""),
            (r#"{"headers":{"a":{"hunter2":1}}}"#, "\"/headers/a\""),
            (r#"{"headers":null}"#, "\"/headers\""),
            (r#"{"headers":{}}"#, "\"/url\""),
            (r#"{"url":"https://a.example","colour":1}"#, "\"/colour\""),
            (r#"{"url":"https://a.example","events":{}}"#, "\"/events\""),
        ] {
            let problem = format!("{:?}", new(body.as_bytes()).unwrap_err());
            assert!(problem.contains(place), "{body}: {problem}");
            assert!(!problem.contains("hunter2"), "{body}: {problem}");
        }
    }
}
