//! The request with a task.

use bytes::Bytes;
use deia_ledger::ClaimedTask;
use deia_model::{LlmApi, LlmExecutor};
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    bots::service::{Credentials, plain_headers, secret_value},
    outgoing::OutgoingRequest,
};

/// Returns the URL of a call: the path goes below that of the base, before its query.
///
/// # Errors
/// The base is no URL.
pub(super) fn url_of(spec: &LlmExecutor) -> Result<String, String> {
    let url = Url::parse(&spec.base_url);
    let mut url = url.map_err(|error| format!("base_url cannot be read: {error}"))?;
    let path = format!("{}/{}", url.path().trim_end_matches('/'), spec.api.path());
    url.set_path(&path);
    Ok(url.into())
}

/// Returns the request for an attempt.
///
/// # Errors
/// A secret of the bot cannot be used as it is meant.
pub(super) fn of(
    spec: &LlmExecutor,
    claimed: &ClaimedTask,
    credentials: &Credentials,
) -> Result<OutgoingRequest, String> {
    let content = claimed.task.content.as_deref().unwrap_or_default();
    let body = Value::Object(body_of(spec, content)).to_string();
    let mut headers = plain_headers(&spec.headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(key) = credentials.get(LlmExecutor::API_KEY) {
        let bearer = secret_value(LlmExecutor::API_KEY, &format!("Bearer {key}"))?;
        headers.insert(AUTHORIZATION, bearer);
    }
    credentials.add_headers(&mut headers)?;
    Ok(OutgoingRequest {
        method: Method::POST,
        headers,
        body: Bytes::from(body),
    })
}

/// Returns the body of a request.
fn body_of(spec: &LlmExecutor, content: &str) -> Map<String, Value> {
    let mut body: Map<_, _> = spec.parameters.clone().into_iter().collect();
    let mut set = |name: &str, value: Value| drop(body.insert(name.into(), value));
    set("model", json!(spec.model));
    set("stream", json!(true));
    if let Some(temperature) = spec.temperature {
        set("temperature", json!(temperature));
    }
    match spec.api {
        LlmApi::Chat => {
            let system = spec.system.iter();
            let system = system.map(|text| json!({"role": "system", "content": text}));
            let user = json!({"role": "user", "content": content});
            set("messages", system.chain([user]).collect());
            set("stream_options", json!({"include_usage": true}));
            if let Some(most) = spec.max_output_tokens {
                set("max_completion_tokens", json!(most));
            }
        }
        LlmApi::Responses => {
            if let Some(system) = &spec.system {
                set("instructions", json!(system));
            }
            set("input", json!(content));
            // Nothing of a task is left at the provider.
            set("store", json!(false));
            if let Some(most) = spec.max_output_tokens {
                set("max_output_tokens", json!(most));
            }
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(api: &str, more: Value) -> LlmExecutor {
        let mut spec = json!({"base_url": "https://a.example/v1/", "model": "m", "api": api});
        let more = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(more);
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn body_is_that_of_the_api() {
        let more = json!({"system": "be brief", "temperature": 0.5, "max_output_tokens": 9,
            "parameters": {"top_p": 0.9}});
        let chat = body_of(&spec("chat", more.clone()), "hi");
        let expected = json!({"model": "m", "stream": true, "temperature": 0.5, "top_p": 0.9,
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
            "stream_options": {"include_usage": true}, "max_completion_tokens": 9});
        assert_eq!(Value::Object(chat), expected);
        let responses = body_of(&spec("responses", more), "hi");
        let expected = json!({"model": "m", "stream": true, "temperature": 0.5, "top_p": 0.9,
            "instructions": "be brief", "input": "hi", "store": false, "max_output_tokens": 9});
        assert_eq!(Value::Object(responses), expected);
        let bare = body_of(&spec("chat", json!({})), "");
        assert_eq!(bare["messages"], json!([{"role": "user", "content": ""}]));
        assert!(!bare.contains_key("temperature") && !bare.contains_key("max_completion_tokens"));
    }

    #[test]
    fn path_goes_below_that_of_the_base() {
        for (base, api, expected) in [
            (
                "https://a.example/v1",
                "chat",
                "https://a.example/v1/chat/completions",
            ),
            (
                "https://a.example/v1/",
                "responses",
                "https://a.example/v1/responses",
            ),
            (
                "https://a.example",
                "chat",
                "https://a.example/chat/completions",
            ),
            (
                "http://[::1]:8080/openai?api-version=2",
                "chat",
                "http://[::1]:8080/openai/chat/completions?api-version=2",
            ),
        ] {
            let found = url_of(&spec(api, json!({"base_url": base})));
            assert_eq!(found.as_deref(), Ok(expected));
        }
    }
}
