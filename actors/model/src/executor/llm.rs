//! The executor of language models.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::service::{self, ServiceHeaders, ServiceUrl};
use crate::Violation;

/// Maximum length of the name of a model, in characters. Fact: the API, whose schema
/// states it.
const MAX_MODEL: usize = 256;
/// Maximum length of the system prompt, in characters. Fact: the API, whose schema states
/// it.
const MAX_SYSTEM: usize = 262_144;
/// Maximum number of tokens of an answer. Fact: the API, whose schema states it.
const MAX_TOKENS: u64 = 100_000_000;
/// Maximum price of a million tokens, in cents. Fact: the API, whose schema states it.
const MAX_PRICE: f64 = 1_000_000_000.0;
/// Maximum number of further parameters. Fact: the API, whose schema states it.
const MAX_PARAMETERS: usize = 64;
/// Maximum size of these parameters, in bytes. Fact: the API, whose schema states it.
const MAX_PARAMETER_BYTES: usize = 64 << 10;

/// Fields of a request that deia sets itself, or that would ask for tools.
const RESERVED_PARAMETERS: [&str; 13] = [
    "background",
    "functions",
    "function_call",
    "input",
    "instructions",
    "messages",
    "model",
    "n",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
];

/// The API of a language model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmApi {
    /// Chat completions: `POST <base_url>/chat/completions`.
    #[default]
    Chat,
    /// Responses: `POST <base_url>/responses`.
    Responses,
}

impl LlmApi {
    /// Returns the path below the base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Responses => "responses",
        }
    }
}

/// A language model behind an API compatible with that of OpenAI. The content of a task is
/// the message of the user, the text of the model is the output. No tools are offered to
/// the model. The secret `API_KEY` is sent as `Authorization: Bearer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LlmExecutor {
    /// Address of the API, without the path of a call.
    #[schema(value_type = ServiceUrl)]
    pub base_url: String,
    /// The API.
    #[serde(default)]
    pub api: LlmApi,
    /// Name of the model, as the provider calls it.
    #[schema(min_length = 1, max_length = 256)]
    pub model: String,
    /// Instructions that come before the content of each task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 262_144)]
    pub system: Option<String>,
    /// Randomness of the answers, 0 to 2; the provider's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Limit of the tokens of an answer. An answer that is cut there is a failure of the
    /// class `budget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub max_output_tokens: Option<u64>,
    /// Price of a million tokens that the model reads, in hundredths of the billing
    /// currency. Costs are recorded where both prices are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub input_cents_per_million: Option<f64>,
    /// Price of a million tokens that the model writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub output_cents_per_million: Option<f64>,
    /// Further headers of each request, for values that are not secret: they are stored
    /// and shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = ServiceHeaders)]
    pub headers: BTreeMap<String, String>,
    /// Further fields of the body of each request, as the provider calls them; none that
    /// deia sets itself, and no tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: BTreeMap<String, Value>,
}

impl LlmExecutor {
    /// Name of the secret that is sent as a bearer token.
    pub const API_KEY: &'static str = "API_KEY";

    /// Names of the secrets that are used, besides those of headers.
    pub(crate) const SECRETS: [&'static str; 1] = [Self::API_KEY];

    pub(super) fn violations(&self, at: &str) -> Vec<Violation> {
        let url = service::url_violations(format!("{at}/base_url"), &self.base_url);
        let mut found: Vec<_> = url.into_iter().collect();
        found.extend(service::header_violations(at, &self.headers));
        let mut refuse = |field: &str, detail: String| {
            found.push(Violation {
                pointer: format!("{at}/{field}"),
                detail,
            });
        };
        if !(1..=MAX_MODEL).contains(&self.model.chars().count()) {
            refuse("model", format!("must be 1 to {MAX_MODEL} characters long"));
        }
        let system = self.system.as_deref().unwrap_or_default();
        if system.chars().count() > MAX_SYSTEM {
            refuse("system", format!("is longer than {MAX_SYSTEM} characters"));
        }
        if self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            refuse("temperature", "must be 0 to 2".into());
        }
        let tokens = self.max_output_tokens;
        if tokens.is_some_and(|n| !(1..=MAX_TOKENS).contains(&n)) {
            refuse("max_output_tokens", format!("must be 1 to {MAX_TOKENS}"));
        }
        let prices = [
            ("input_cents_per_million", self.input_cents_per_million),
            ("output_cents_per_million", self.output_cents_per_million),
        ];
        for (field, price) in prices {
            if price.is_some_and(|price| !(0.0..=MAX_PRICE).contains(&price)) {
                refuse(field, format!("must be 0 to {MAX_PRICE}"));
            }
        }
        if let [(_, Some(_)), (other, None)] | [(other, None), (_, Some(_))] = prices {
            refuse(other, "is missing: costs need both prices".into());
        }
        found.extend(self.parameter_violations(at));
        found
    }

    fn parameter_violations(&self, at: &str) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut refuse = |pointer: String, detail: &str| {
            found.push(Violation {
                pointer,
                detail: detail.into(),
            });
        };
        let bytes: usize = self
            .parameters
            .iter()
            .map(|(name, value)| name.len() + value.to_string().len())
            .sum();
        if self.parameters.len() > MAX_PARAMETERS || bytes > MAX_PARAMETER_BYTES {
            let detail = "has more than 64 fields or 65536 bytes";
            refuse(format!("{at}/parameters"), detail);
        }
        for name in self.parameters.keys() {
            if RESERVED_PARAMETERS.contains(&name.as_str()) {
                refuse(
                    format!("{at}/parameters/{name}"),
                    "is set by deia itself, or asks for tools, which are not offered",
                );
            }
        }
        found
    }
}
