//! Schemas of the settings of an endpoint: each takes the texts that the checks of the
//! settings take. The types exist for their schemas only.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, OneOfBuilder, Type},
    },
};

use super::violations::{MAX_HEADER_NAME, MAX_HEADER_VALUE, MAX_HEADERS, MAX_OWNER, MAX_TEXT};
use crate::Action;

/// Maximum length of a URL, in characters and in bytes. Fact: the API, whose schema
/// states it.
pub(crate) const MAX_URL: usize = 2_048;

/// An absolute https or http URL without user name, fragment, blanks, controls and
/// backslashes. The last label of a name is no number, since parsers take `127.1` for an
/// address, and a port is a plain number from 1 to 65535.
///
/// It takes more than there is in two places: the digits of an IPv6 address in any order,
/// and any label that begins with `xn--`.
pub(crate) const WEBHOOK_URL: &str = concat!(
    "^[Hh][Tt][Tt][Pp][Ss]?://",
    "(?:",
    // A name of at most 253 characters and the dot of the root.
    r"(?![^/?:]{253}(?:[^/?:.]|\.[^/?:]))(?:[A-Za-z0-9_-]{1,63}\.)*",
    r"(?!(?:[0-9]+|0[Xx][0-9A-Fa-f]*)\.?(?:[/?:]|$))[A-Za-z0-9_-]{1,63}\.?",
    "|",
    r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}",
    "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    "|",
    r"\[[0-9A-Fa-f:.]{2,45}\]",
    ")",
    "(?::(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?",
    // Blanks, controls, fragments and backslashes.
    r"(?:[/?][^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000#\\]*)?$",
);

/// The address of an endpoint.
pub(super) struct WebhookUrl;

/// An action or a kind of actions that an endpoint asks for.
pub(super) struct EventName;

/// A user to whom an event belongs.
pub(super) struct EventOwner;

/// The further headers of each delivery.
pub(super) struct WebhookHeaders;

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

impl PartialSchema for WebhookUrl {
    fn schema() -> RefOr<Schema> {
        string()
            .description(Some(
                "The address of an endpoint: `https`, or `http` where `webhooks.allow_http` allows it; a DNS name or an address in full; no user name, fragment, blank or backslash. At most 2,048 characters.",
            ))
            .pattern(Some(WEBHOOK_URL))
            .max_length(Some(MAX_URL))
            .examples([json!("https://hooks.example.com/deia")])
            .into()
    }
}

impl ToSchema for WebhookUrl {
    fn name() -> Cow<'static, str> {
        "WebhookUrl".into()
    }
}

impl PartialSchema for EventName {
    fn schema() -> RefOr<Schema> {
        let actions = Action::ALL.iter();
        let known: BTreeSet<_> = actions.flat_map(|it| [it.as_str(), it.kind()]).collect();
        let of_deia = string()
            .description(Some("An action of deia, or a kind of these."))
            .enum_values(Some(known));
        let of_others = string()
            .description(Some(
                "`ext`, or an action below it: events that others record.",
            ))
            .pattern(Some(r"^ext(?:\.[a-z][a-z0-9_]{0,39}){0,4}$"))
            .max_length(Some(MAX_TEXT));
        OneOfBuilder::new()
            .description(Some(
                "An action, or a kind of actions: the part of their names before the first dot.",
            ))
            .item(of_deia)
            .item(of_others)
            .into()
    }
}

impl ToSchema for EventName {
    fn name() -> Cow<'static, str> {
        "EventName".into()
    }
}

impl PartialSchema for EventOwner {
    fn schema() -> RefOr<Schema> {
        string()
            .description(Some(
                "A user to whom an event belongs: 1 to 233 characters.",
            ))
            .min_length(Some(1))
            .max_length(Some(MAX_OWNER))
            .examples([json!("ci")])
            .into()
    }
}

impl ToSchema for EventOwner {
    fn name() -> Cow<'static, str> {
        "EventOwner".into()
    }
}

impl PartialSchema for WebhookHeaders {
    fn schema() -> RefOr<Schema> {
        let name = string()
            .pattern(Some("^[0-9A-Za-z!#$%&'*+.^_`|~-]+$"))
            .max_length(Some(MAX_HEADER_NAME));
        let value = string()
            .pattern(Some("^[ -~]*$"))
            .max_length(Some(MAX_HEADER_VALUE));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "Headers by name, at most 16. Names of 1 to 64 characters, each once in any case, and none that HTTP or the specification use; values of at most 1,024 printable ASCII characters.",
            ))
            .property_names(Some(name))
            .additional_properties(Some(value))
            .max_properties(Some(MAX_HEADERS))
            .examples([json!({"x-team": "billing"})])
            .into()
    }
}

impl ToSchema for WebhookHeaders {
    fn name() -> Cow<'static, str> {
        "WebhookHeaders".into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{NewWebhook, schema::Entity};

    fn base() -> Value {
        json!({"url": "https://hooks.example.com/deia"})
    }

    /// Bodies with one setting each, at its limits and beyond.
    fn settings() -> Vec<(&'static str, Value)> {
        let long = |n: usize| "x".repeat(n);
        let many = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let headers = |n: usize| {
            let named = many(n).into_iter().map(|name| (name, json!("")));
            Value::Object(named.collect())
        };
        let mut all = vec![
            ("description", json!(long(200))),
            ("description", json!(long(201))),
            ("signatures", json!([])),
            ("signatures", json!(["v1", "v1a"])),
            ("signatures", json!(["v1", "v1a", "v1"])),
            ("task_types", json!(many(64))),
            ("task_types", json!(many(65))),
            ("events", json!(["task", "task.completed", "ext", "ext."])),
            ("events", json!(["ext.a\nb\u{0}"])),
            ("events", json!([format!("ext.{}", long(40))])),
            ("events", json!([format!("ext.{}", long(41))])),
            (
                "events",
                json!([format!("ext{}.a", format!(".{}", long(40)).repeat(3))]),
            ),
            (
                "events",
                json!([format!("ext{}.aa", format!(".{}", long(40)).repeat(3))]),
            ),
            ("events", json!(["task.complete"])),
            ("events", json!(["Task"])),
            ("events", json!(["ext2"])),
            ("events", json!([""])),
            ("events", json!(vec!["task"; 64])),
            ("events", json!(vec!["task"; 65])),
            ("headers", headers(16)),
            ("headers", headers(17)),
            ("headers", json!({ long(64): long(1_024) })),
            ("headers", json!({ long(65): "" })),
            ("headers", json!({"x": long(1_025)})),
            ("headers", json!({"": ""})),
            ("headers", json!({"a b": ""})),
            ("headers", json!({"x": "a\tb"})),
            ("headers", json!({"x": "\u{e4}"})),
        ];
        for (name, max) in [("tags", 128), ("owners", 233)] {
            all.extend([
                (name, json!(many(64))),
                (name, json!(many(65))),
                (name, json!([long(max)])),
                (name, json!(["\u{e4}".repeat(max)])),
                (name, json!([long(max + 1)])),
                (name, json!([""])),
            ]);
        }
        for (name, max) in [("concurrency", 64), ("rate_per_second", 100_000)] {
            all.extend([0, 1, max, max + 1].map(|n| (name, json!(n))));
        }
        all
    }

    #[test]
    fn schema_takes_the_settings_that_the_checks_take() {
        let entity = Entity::of_input::<NewWebhook>("NewWebhook", &base()).unwrap();
        let schema = jsonschema::validator_for(&entity.schema).unwrap();
        assert!(schema.is_valid(&base()));
        for (name, value) in settings() {
            let mut body = base();
            body[name] = value;
            let new: NewWebhook = serde_json::from_value(body.clone()).unwrap();
            let is_checked = new.violations().is_empty();
            assert_eq!(schema.is_valid(&body), is_checked, "{body}");
        }
    }
}
