//! Errors of a provider, and the class of each. Pure.

use deia_model::FailureClass;
use serde::Deserialize;
use serde_json::Value;

/// An error as the APIs write it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    code: Value,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Words of errors, as code or type, and what they stand for.
const WORDS: &[(&[&str], FailureClass, &str)] = &[
    (
        &[
            "context_length_exceeded",
            "string_above_max_length",
            "exceed_context_size_error",
        ],
        FailureClass::Context,
        TOO_LONG,
    ),
    (
        &[
            "content_filter",
            "content_policy_violation",
            "invalid_prompt",
            "moderation_blocked",
        ],
        FailureClass::Permanent,
        FILTERED,
    ),
    (
        &[
            "billing_hard_limit_reached",
            "billing_not_active",
            "insufficient_quota",
            "quota_exceeded",
        ],
        FailureClass::Quota,
        QUOTA,
    ),
    (
        &["rate_limit_exceeded", "rate_limit_error"],
        FailureClass::RateLimited,
        RATE,
    ),
    (
        &[
            "account_deactivated",
            "authentication_error",
            "invalid_api_key",
            "permission_error",
        ],
        FailureClass::Auth,
        CREDENTIALS,
    ),
    (
        &[
            "model_not_found",
            "unknown_parameter",
            "unsupported_parameter",
            "unsupported_value",
        ],
        FailureClass::NotStarted,
        SETTINGS,
    ),
    (
        &[
            "engine_overloaded",
            "overloaded_error",
            "server_error",
            "server_overloaded",
            "slow_down",
        ],
        FailureClass::Overloaded,
        OVERLOADED,
    ),
];

/// Parts of messages of servers that give no code, in lower case.
const OF_CONTEXT: [&str; 4] = [
    "maximum context length",
    "context window",
    "context length",
    "prompt is too long",
];

const TOO_LONG: &str = "the task does not fit into the context of the model";
pub(super) const FILTERED: &str = "a content filter refuses the task";
const QUOTA: &str = "the quota of the account is used up";
const RATE: &str = "too many requests";
const CREDENTIALS: &str = "the provider refuses the bot's credentials";
const SETTINGS: &str = "the provider refuses the settings of the bot: model, URL or parameters";
const OVERLOADED: &str = "the provider has no capacity now";

impl ApiError {
    pub(super) fn new(code: Option<String>, message: Option<String>) -> Self {
        Self {
            code: code.map_or(Value::Null, Value::String),
            kind: None,
            message,
        }
    }

    /// Reads the error in the body of a refusal; one without content if there is none.
    pub(super) fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Value,
        }
        let body: Option<Body> = serde_json::from_slice(body).ok();
        match body.map(|body| body.error) {
            Some(error @ Value::Object(_)) => serde_json::from_value(error).unwrap_or_default(),
            // Some servers give the message alone.
            Some(Value::String(message)) => Self {
                message: Some(message),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    /// Returns the message.
    pub(super) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or("without a reason")
    }

    /// Returns the class of the failure, and what it stands for, for people. `status` is 200 for
    /// an error in the course of an answer.
    pub(super) fn meaning(&self, status: u16) -> (FailureClass, &'static str) {
        let code = self.code.as_str();
        for word in [code, self.kind.as_deref()].into_iter().flatten() {
            let known = WORDS.iter().find(|(words, ..)| words.contains(&word));
            if let Some((_, class, what)) = known {
                return (*class, what);
            }
        }
        let message = self.message.as_deref().unwrap_or_default();
        let message = message.to_ascii_lowercase();
        let is_of_context = OF_CONTEXT.iter().any(|part| message.contains(part));
        match status {
            200 | 400 | 413 | 422 if is_of_context => (FailureClass::Context, TOO_LONG),
            200 => (FailureClass::Internal, "the answer broke off with an error"),
            300..400 => (
                FailureClass::NotStarted,
                "a redirect, and redirects are not followed: give the bot the final URL",
            ),
            401 | 403 | 407 => (FailureClass::Auth, CREDENTIALS),
            402 => (FailureClass::Quota, QUOTA),
            404 | 405 | 406 | 410 | 415 | 421 | 426 | 431 => (FailureClass::NotStarted, SETTINGS),
            408 => (
                FailureClass::Transport,
                "the request did not arrive in time",
            ),
            429 => (FailureClass::RateLimited, RATE),
            409 | 425 | 500.. => (FailureClass::Overloaded, OVERLOADED),
            400..500 => (FailureClass::Permanent, "the provider refuses the task"),
            _ => (FailureClass::Internal, "and not 200"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_have_their_class() {
        use FailureClass as Class;
        let error = |code: &str| json!({"error": {"message": "m", "code": code}});
        let kind = |kind: &str| json!({"error": {"message": "m", "type": kind, "code": null}});
        let message = |text: &str| json!({"error": {"message": text, "code": 400}});
        for (status, body, class) in [
            (400, error("context_length_exceeded"), Class::Context),
            (
                400,
                message("This model's maximum context length is 8192 tokens."),
                Class::Context,
            ),
            (
                400,
                json!({"error": "the prompt is too long"}),
                Class::Context,
            ),
            (400, error("content_filter"), Class::Permanent),
            (400, error("something else"), Class::Permanent),
            (400, error("unsupported_parameter"), Class::NotStarted),
            (401, json!({}), Class::Auth),
            (400, error("invalid_api_key"), Class::Auth),
            (403, json!(null), Class::Auth),
            (402, json!({}), Class::Quota),
            (429, error("insufficient_quota"), Class::Quota),
            (429, kind("insufficient_quota"), Class::Quota),
            (429, error("rate_limit_exceeded"), Class::RateLimited),
            (429, json!("busy"), Class::RateLimited),
            (404, error("model_not_found"), Class::NotStarted),
            (404, json!({}), Class::NotStarted),
            (307, json!({}), Class::NotStarted),
            (500, json!({}), Class::Overloaded),
            (503, kind("overloaded_error"), Class::Overloaded),
            (529, kind("overloaded_error"), Class::Overloaded),
            (408, json!({}), Class::Transport),
            (422, json!({"detail": []}), Class::Permanent),
            (200, error("server_error"), Class::Overloaded),
            (200, error("odd"), Class::Internal),
            (204, json!({}), Class::Internal),
        ] {
            let found = ApiError::parse(body.to_string().as_bytes()).meaning(status);
            assert_eq!(found.0, class, "{status} {body}: {}", found.1);
        }
        let (class, _) = ApiError::parse(b"<html>").meaning(502);
        assert_eq!(class, Class::Overloaded);
    }
}
