//! Answers of chat completions. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::{
    answer::{Finish, broken_off, decode},
    error::ApiError,
    usage::{Usage, WrittenUsage},
};
use crate::bots::service::Failure;

/// Data of the event that ends a stream.
const DONE: &str = "[DONE]";

/// The answer so far.
#[derive(Debug, Default)]
pub(super) struct ChatAnswer {
    pub(super) finish: Option<Finish>,
    pub(super) refusal: String,
    pub(super) usage: Option<Usage>,
    pub(super) is_complete: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<WrittenUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

impl ChatAnswer {
    pub(super) fn take(&mut self, data: &str) -> Result<String, Failure> {
        if data.trim() == DONE {
            self.is_complete = true;
            return Ok(String::new());
        }
        let chunk: Chunk = decode(data)?;
        if chunk.error.is_some_and(|error| !error.is_null()) {
            return Err(broken_off(&ApiError::parse(data.as_bytes())));
        }
        if let Some(usage) = chunk.usage.and_then(|usage| usage.read()) {
            self.usage = Some(usage);
        }
        // One answer was asked for.
        let Some(choice) = chunk.choices.into_iter().next() else {
            return Ok(String::new());
        };
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(match reason.as_str() {
                "stop" | "eos" | "end_turn" => Finish::Stop,
                "length" => Finish::Length,
                "content_filter" => Finish::Filtered,
                _ => Finish::Other(reason),
            });
        }
        self.refusal
            .push_str(choice.delta.refusal.as_deref().unwrap_or_default());
        Ok(choice.delta.content.unwrap_or_default())
    }
}
