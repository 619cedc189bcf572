//! Answers of the API of responses. Pure.

use serde::Deserialize;

use super::{
    answer::{Finish, broken_off, decode},
    error::ApiError,
    usage::{Usage, WrittenUsage},
};
use crate::bots::service::Failure;

/// The answer so far.
#[derive(Debug, Default)]
pub(super) struct ResponsesAnswer {
    pub(super) finish: Option<Finish>,
    pub(super) refusal: String,
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    delta: Option<serde_json::Value>,
    #[serde(default)]
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    usage: Option<WrittenUsage>,
    #[serde(default)]
    error: Option<ApiError>,
    #[serde(default)]
    incomplete_details: Option<Incomplete>,
}

#[derive(Deserialize)]
struct Incomplete {
    #[serde(default)]
    reason: Option<String>,
}

impl ResponsesAnswer {
    pub(super) fn take(&mut self, data: &str) -> Result<String, Failure> {
        let event: Event = decode(data)?;
        let text = event.delta.as_ref().and_then(|delta| delta.as_str());
        let text = text.unwrap_or_default();
        match event.kind.as_str() {
            "response.output_text.delta" => return Ok(text.to_owned()),
            "response.refusal.delta" => self.refusal.push_str(text),
            "response.completed" => self.end(event.response, |_| Finish::Stop),
            "response.incomplete" => self.end(event.response, why_incomplete),
            "response.failed" => {
                let error = event.response.as_ref().and_then(|it| it.error.clone());
                self.end(event.response, |_| Finish::Stop);
                return Err(broken_off(&error.unwrap_or_default()));
            }
            "error" => return Err(broken_off(&decode::<ApiErrorEvent>(data)?.into())),
            // Events about parts of the answer.
            _ => {}
        }
        Ok(String::new())
    }

    fn end(&mut self, response: Option<Response>, finish: impl FnOnce(&Response) -> Finish) {
        let response = response.unwrap_or(Response {
            usage: None,
            error: None,
            incomplete_details: None,
        });
        self.usage = response.usage.as_ref().and_then(WrittenUsage::read);
        self.finish = Some(finish(&response));
    }
}

fn why_incomplete(response: &Response) -> Finish {
    let details = response.incomplete_details.as_ref();
    match details.and_then(|details| details.reason.as_deref()) {
        Some("content_filter") => Finish::Filtered,
        Some("max_output_tokens") => Finish::Length,
        reason => Finish::Other(reason.unwrap_or("incomplete").to_owned()),
    }
}

/// An error of the stream: its fields are in the event, or below `error`.
#[derive(Deserialize)]
struct ApiErrorEvent {
    #[serde(default)]
    error: Option<ApiError>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl From<ApiErrorEvent> for ApiError {
    fn from(event: ApiErrorEvent) -> Self {
        event
            .error
            .unwrap_or_else(|| Self::new(event.code, event.message))
    }
}
