//! An answer of a model, event by event. Pure.

use deia_model::{FailureClass, LlmApi};
use serde::de::DeserializeOwned;

use super::{
    chat::ChatAnswer,
    error::{ApiError, FILTERED},
    responses::ResponsesAnswer,
    sse::SseEvent,
    usage::Usage,
};
use crate::bots::service::Failure;

/// Reason for which a model ended its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The answer is whole.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// A filter stopped it.
    Filtered,
    /// The model wants a tool, or something else that is not offered.
    Other(String),
}

/// The answer so far, in either API.
#[derive(Debug)]
pub(super) enum Answer {
    Chat(ChatAnswer),
    Responses(ResponsesAnswer),
}

impl Answer {
    pub(super) fn of(api: LlmApi) -> Self {
        match api {
            LlmApi::Chat => Self::Chat(ChatAnswer::default()),
            LlmApi::Responses => Self::Responses(ResponsesAnswer::default()),
        }
    }

    /// Takes an event, and returns the text in it.
    ///
    /// # Errors
    /// The event is an error, or nothing that the API has.
    pub(super) fn take(&mut self, event: &SseEvent) -> Result<String, Failure> {
        match self {
            Self::Chat(chat) => chat.take(&event.data),
            Self::Responses(responses) => responses.take(&event.data),
        }
    }

    /// Returns whether the provider said that the answer has ended.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Chat(chat) => chat.is_complete,
            Self::Responses(responses) => responses.finish.is_some(),
        }
    }

    /// Returns the tokens that were used, as far as they were told.
    pub(super) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Chat(chat) => chat.usage,
            Self::Responses(responses) => responses.usage,
        }
    }

    /// Judges a complete answer.
    ///
    /// # Errors
    /// It was cut, filtered or refused. A cut answer is a failure of the class `budget`: another
    /// attempt with the same limit would be cut as well.
    pub(super) fn conclude(&self) -> Result<(), Failure> {
        let (finish, refusal) = match self {
            Self::Chat(chat) => (chat.finish.as_ref(), &chat.refusal),
            Self::Responses(responses) => (responses.finish.as_ref(), &responses.refusal),
        };
        if !refusal.is_empty() {
            let refusal: String = refusal.chars().take(MAX_REFUSAL_CHARS).collect();
            let reason = format!("the model refuses the task: {refusal}");
            return Err(Failure::new(FailureClass::Permanent, reason));
        }
        let (class, reason) = match finish {
            None | Some(Finish::Stop) => return Ok(()),
            Some(Finish::Length) => (
                FailureClass::Budget,
                "the answer was cut at the limit of tokens (max_output_tokens, or that of the model)".into(),
            ),
            Some(Finish::Filtered) => (FailureClass::Permanent, FILTERED.into()),
            Some(Finish::Other(other)) => (
                FailureClass::Internal,
                format!("the model ended its answer with {other:?}, which no bot of this kind can go on from"),
            ),
        };
        Err(Failure::new(class, reason))
    }
}

/// Characters of the model's own words that an error repeats. Fixed: keeps messages
/// readable.
const MAX_REFUSAL_CHARS: usize = 500;

/// Reads the data of an event.
pub(super) fn decode<T: DeserializeOwned>(data: &str) -> Result<T, Failure> {
    serde_json::from_str(data).map_err(|error| {
        let shown: String = data.chars().take(MAX_REFUSAL_CHARS).collect();
        let reason = format!("an event of the answer is malformed ({error}): {shown}");
        Failure::new(FailureClass::Internal, reason)
    })
}

/// Returns the failure of an answer that broke off with an error.
pub(super) fn broken_off(error: &ApiError) -> Failure {
    let (class, what) = error.meaning(200);
    Failure::new(class, format!("{what}: {}", error.message()))
}
