//! The settings of an endpoint, and changes of these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schema::{EventName, EventOwner, WebhookHeaders, WebhookUrl};
use crate::{TaskType, text::Tag};

/// A signature scheme of the Standard Webhooks specification.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SignatureScheme {
    /// HMAC-SHA256 with a shared secret (`whsec_...`).
    V1,
    /// Ed25519; the receiver needs only the public key (`whpk_...`).
    V1a,
}

/// An endpoint to be registered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Address that deliveries are posted to: `https`, at most 2,048 characters, at a
    /// public address unless `webhooks.allow_networks` has its network.
    #[schema(value_type = WebhookUrl)]
    pub url: String,
    /// The purpose of the endpoint, at most 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 200)]
    pub description: String,
    /// Actions such as `task.completed`, or kinds such as `task`, at most 64: an event
    /// of any of them is delivered. All events that the owner may see when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<EventName>, example = json!(["task.completed", "task.failed"]), max_items = 64)]
    pub events: Vec<String>,
    /// Only events of tasks of one of these types, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub task_types: Vec<TaskType>,
    /// Only events of tasks with one of these tags, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Tag>, max_items = 64)]
    pub tags: Vec<String>,
    /// Only events that belong to one of these users, at most 64. A caller who sees
    /// only its own tasks can name itself alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<EventOwner>, max_items = 64)]
    pub owners: Vec<String>,
    /// Further headers of each delivery, at most 16. Their values are kept in the secret
    /// store and shown nowhere. Names that HTTP or the specification use are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = WebhookHeaders)]
    pub headers: BTreeMap<String, String>,
    /// The signatures of each delivery; `v1` when absent.
    #[serde(default = "v1")]
    #[schema(min_items = 1, max_items = 2)]
    pub signatures: Vec<SignatureScheme>,
    /// Number of deliveries that may be under way at once, 1 to 64;
    /// `webhooks.concurrency` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 64)]
    pub concurrency: Option<u32>,
    /// Maximum number of deliveries a second; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000)]
    pub rate_per_second: Option<u32>,
}

fn v1() -> Vec<SignatureScheme> {
    vec![SignatureScheme::V1]
}

/// A change of an endpoint; absent fields stay as they are.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChange {
    /// The new address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<WebhookUrl>)]
    pub url: Option<String>,
    /// The new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub description: Option<String>,
    /// The new actions and kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<EventName>>, max_items = 64)]
    pub events: Option<Vec<String>>,
    /// The new task types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 64)]
    pub task_types: Option<Vec<TaskType>>,
    /// The new tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Tag>>, max_items = 64)]
    pub tags: Option<Vec<String>>,
    /// The new owners of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<EventOwner>>, max_items = 64)]
    pub owners: Option<Vec<String>>,
    /// The new headers, in place of all earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<WebhookHeaders>)]
    pub headers: Option<BTreeMap<String, String>>,
    /// The new signatures. A scheme that is added gets a fresh key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 2)]
    pub signatures: Option<Vec<SignatureScheme>>,
    /// The new number of deliveries at once; 0: `webhooks.concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 64)]
    pub concurrency: Option<u32>,
    /// The new maximum of deliveries a second; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 100000)]
    pub rate_per_second: Option<u32>,
}

/// The settings of an endpoint, without the values of its headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WebhookSpec {
    /// Address that deliveries are posted to.
    #[schema(example = "https://hooks.example.com/deia")]
    pub url: String,
    /// The purpose of the endpoint.
    #[serde(default)]
    pub description: String,
    /// Actions and kinds of actions that are delivered; empty: all.
    #[serde(default)]
    pub events: Vec<String>,
    /// Types of tasks whose events are delivered; empty: all events.
    #[serde(default)]
    pub task_types: Vec<TaskType>,
    /// Tags of tasks whose events are delivered; empty: all events.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Users whose events are delivered; empty: all that the owner may see.
    #[serde(default)]
    pub owners: Vec<String>,
    /// Names of the further headers.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The signatures of each delivery.
    pub signatures: Vec<SignatureScheme>,
    /// Number of deliveries that may be under way at once; `webhooks.concurrency` when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Maximum number of deliveries a second; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
}

secretive_debug!(NewWebhook, WebhookChange);

impl NewWebhook {
    /// Creates an endpoint at that address that gets these actions and kinds, with defaults
    /// for everything else.
    pub fn new(url: impl Into<String>, events: &[&str]) -> Self {
        Self {
            url: url.into(),
            description: String::new(),
            events: events.iter().map(|&event| event.to_owned()).collect(),
            task_types: Vec::new(),
            tags: Vec::new(),
            owners: Vec::new(),
            headers: BTreeMap::new(),
            signatures: v1(),
            concurrency: None,
            rate_per_second: None,
        }
    }

    /// Splits off the values of the headers, which are secret.
    pub fn split(self) -> (WebhookSpec, BTreeMap<String, String>) {
        let headers = lower_case(self.headers);
        let mut signatures = self.signatures;
        signatures.sort_unstable();
        signatures.dedup();
        let spec = WebhookSpec {
            url: self.url,
            description: self.description,
            events: self.events,
            task_types: self.task_types,
            tags: self.tags,
            owners: self.owners,
            headers: headers.keys().cloned().collect(),
            signatures,
            concurrency: self.concurrency,
            rate_per_second: self.rate_per_second,
        };
        (spec, headers)
    }
}

/// Returns the headers with names in lower case, as they are sent and listed.
pub fn lower_case(headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
    headers.into_iter().map(lower).collect()
}

impl WebhookSpec {
    /// Returns these settings with a change applied.
    #[must_use]
    pub fn changed(&self, change: &WebhookChange) -> Self {
        let unless_zero = |n: u32| (n > 0).then_some(n);
        let headers = change.headers.as_ref().map(|headers| {
            let names = lower_case(headers.clone());
            names.into_keys().collect()
        });
        let mut signatures = change
            .signatures
            .clone()
            .unwrap_or_else(|| self.signatures.clone());
        signatures.sort_unstable();
        signatures.dedup();
        let or =
            |new: &Option<Vec<String>>, old: &[String]| new.clone().unwrap_or_else(|| old.to_vec());
        Self {
            url: change.url.clone().unwrap_or_else(|| self.url.clone()),
            description: change
                .description
                .clone()
                .unwrap_or_else(|| self.description.clone()),
            events: or(&change.events, &self.events),
            task_types: change
                .task_types
                .clone()
                .unwrap_or_else(|| self.task_types.clone()),
            tags: or(&change.tags, &self.tags),
            owners: or(&change.owners, &self.owners),
            headers: headers.unwrap_or_else(|| self.headers.clone()),
            signatures,
            concurrency: change.concurrency.map_or(self.concurrency, unless_zero),
            rate_per_second: change
                .rate_per_second
                .map_or(self.rate_per_second, unless_zero),
        }
    }
}
