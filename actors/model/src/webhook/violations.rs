//! Limits of the settings of an endpoint, and the violations of these.

use std::collections::BTreeMap;

use super::{NewWebhook, SignatureScheme, WebhookChange, WebhookSpec};
use crate::{Action, ExternalAction, Violation};

/// Maximum number of entries of a list. Fact: the API, whose schema states it.
const MAX_LIST: usize = 64;
/// Maximum number of headers. Fact: the API, whose schema states it.
pub(crate) const MAX_HEADERS: usize = 16;
/// Maximum length of the name of a header, in characters. Fact: the API, whose schema
/// states it.
pub(crate) const MAX_HEADER_NAME: usize = 64;
/// Maximum length of the value of a header, in characters. Fact: the API, whose schema
/// states it.
pub(crate) const MAX_HEADER_VALUE: usize = 1_024;
/// Maximum length of a description, in characters. Fact: the API, whose schema states it.
const MAX_DESCRIPTION: usize = 200;
/// Maximum number of schemes of signatures: there are two. Fact: the API, whose schema
/// states it.
const MAX_SIGNATURES: usize = 2;
/// Maximum length of any other text, in characters. Fact: the API, whose schema states
/// it.
pub(super) const MAX_TEXT: usize = 128;
/// Maximum length of the name of a user: a token adds the name of its issuer (32), a colon and up
/// to 200 characters. Fact: the API, whose schema states it.
pub(super) const MAX_OWNER: usize = 32 + 1 + 200;
/// Maximum number of deliveries at a time. Fact: the API, whose schema states it.
const MAX_CONCURRENCY: u32 = 64;
/// Maximum number of deliveries a second. Fact: the API, whose schema states it.
const MAX_RATE: u32 = 100_000;

/// Headers that HTTP, the specification of webhooks or the hive itself use.
const RESERVED: [&str; 19] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const RESERVED_PREFIXES: [&str; 4] = ["webhook-", "proxy-", "sec-", "x-forwarded-"];

/// Collects violations.
#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn refuse(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Violation {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }

    fn check_list(&mut self, name: &str, list: &[String], max: usize) {
        if list.len() > MAX_LIST {
            self.refuse(
                format!("/{name}"),
                format!("has more than {MAX_LIST} items"),
            );
        }
        for (at, text) in list.iter().enumerate() {
            let length = text.chars().count();
            if length == 0 || length > max {
                let detail = format!("is {length} characters long; allowed are 1 to {max}");
                self.refuse(format!("/{name}/{at}"), detail);
            }
        }
    }

    fn check_signatures(&mut self, signatures: &[SignatureScheme]) {
        if signatures.is_empty() {
            self.refuse("/signatures", "is empty; allowed are v1 and v1a");
        }
        if signatures.len() > MAX_SIGNATURES {
            let detail = format!("has more than {MAX_SIGNATURES} items");
            self.refuse("/signatures", detail);
        }
    }

    fn check_headers(&mut self, headers: &BTreeMap<String, String>) {
        if headers.len() > MAX_HEADERS {
            self.refuse("/headers", format!("has more than {MAX_HEADERS} headers"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (name, value) in headers {
            let lower = name.to_ascii_lowercase();
            let fault = header_fault(&lower, value)
                .or_else(|| (!seen.insert(lower)).then(|| "is given twice".to_owned()));
            if let Some(detail) = fault {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                self.refuse(format!("/headers/{escaped}"), detail);
            }
        }
    }
}

/// Returns the reason why a header is refused; the name is in lower case.
pub(crate) fn header_fault(name: &str, value: &str) -> Option<String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_text = |b: u8| (b' '..=b'~').contains(&b);
    if name.is_empty() || name.len() > MAX_HEADER_NAME || !name.bytes().all(is_token) {
        return Some(format!(
            "is not the name of a header of 1 to {MAX_HEADER_NAME} characters"
        ));
    }
    let has_reserved_prefix = RESERVED_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix));
    if RESERVED.contains(&name) || has_reserved_prefix {
        return Some("is reserved: HTTP, the signature or deia itself sets this header".into());
    }
    if value.len() > MAX_HEADER_VALUE || !value.bytes().all(is_text) {
        return Some(format!(
            "has a value that is longer than {MAX_HEADER_VALUE} bytes or not printable ASCII"
        ));
    }
    None
}

/// Returns the reason why nothing can be asked for by that name.
fn event_fault(name: &str) -> Option<&'static str> {
    let known = Action::ALL.iter();
    let is_known = known
        .into_iter()
        .any(|action| action.as_str() == name || action.kind() == name);
    let is_external = name == ExternalAction::KIND || ExternalAction::parse(name).is_some();
    (!is_known && !is_external).then_some(
        "is no action and no kind of actions; GET /api/v1/webhooks/event-types lists them, and \
         those of other systems are ext, or ext. with 1 to 4 segments such as ext.deploy.approved",
    )
}

impl WebhookSpec {
    fn check(&self, found: &mut Found) {
        if self.description.chars().count() > MAX_DESCRIPTION {
            let detail = format!("is longer than {MAX_DESCRIPTION} characters");
            found.refuse("/description", detail);
        }
        for (name, list, max) in [
            ("events", &self.events, MAX_TEXT),
            ("tags", &self.tags, MAX_TEXT),
            ("owners", &self.owners, MAX_OWNER),
        ] {
            found.check_list(name, list, max);
        }
        if self.task_types.len() > MAX_LIST {
            found.refuse("/task_types", format!("has more than {MAX_LIST} items"));
        }
        for (at, event) in self.events.iter().enumerate() {
            let is_text = (1..=MAX_TEXT).contains(&event.chars().count());
            if let Some(fault) = event_fault(event).filter(|_| is_text) {
                found.refuse(format!("/events/{at}"), fault);
            }
        }
        for (name, value, max) in [
            ("concurrency", self.concurrency, MAX_CONCURRENCY),
            ("rate_per_second", self.rate_per_second, MAX_RATE),
        ] {
            if value.is_some_and(|n| n == 0 || n > max) {
                found.refuse(format!("/{name}"), format!("must be 1 to {max}"));
            }
        }
    }
}

impl NewWebhook {
    /// Returns the limits that the settings violate, the address aside: whether that can
    /// be reached depends on the settings of the hive.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Found::default();
        self.clone().split().0.check(&mut found);
        found.check_signatures(&self.signatures);
        found.check_headers(&self.headers);
        found.0
    }
}

impl WebhookChange {
    /// Returns the limits that `spec` would violate with this change, the address aside.
    pub fn violations(&self, spec: &WebhookSpec) -> Vec<Violation> {
        let mut found = Found::default();
        spec.changed(self).check(&mut found);
        if let Some(signatures) = &self.signatures {
            found.check_signatures(signatures);
        }
        if let Some(headers) = &self.headers {
            found.check_headers(headers);
        }
        found.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pointers(more: Value) -> Vec<String> {
        let mut body = json!({"url": "https://example.com"});
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        let new: NewWebhook = serde_json::from_value(body).unwrap();
        let found = new.violations().into_iter();
        found.map(|violation| violation.pointer).collect()
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (body, expected) in [
            (json!({}), &[][..]),
            (
                json!({"events": ["task", "task.completed", "ext", "ext.deploy.approved"]}),
                &[],
            ),
            (
                json!({"events": ["ext.", "ext.a", "ext.Deploy"]}),
                &["/events/0", "/events/2"],
            ),
            (json!({"events": ["task", "task.complete"]}), &["/events/1"]),
            (json!({"events": [""]}), &["/events/0"]),
            (json!({"tags": ["x".repeat(129)]}), &["/tags/0"]),
            (json!({"description": "x".repeat(201)}), &["/description"]),
            (json!({"signatures": []}), &["/signatures"]),
            (json!({"signatures": ["v1", "v1", "v1a"]}), &["/signatures"]),
            (json!({"concurrency": 0}), &["/concurrency"]),
            (json!({"concurrency": 65}), &["/concurrency"]),
            (json!({"rate_per_second": 0}), &["/rate_per_second"]),
            (
                json!({"headers": {"X-Team": "a", "authorization": "b"}}),
                &[],
            ),
            (
                json!({"headers": {"Webhook-Id": "a"}}),
                &["/headers/Webhook-Id"],
            ),
            (json!({"headers": {"Host": "a"}}), &["/headers/Host"]),
            (json!({"headers": {"x": "a\r\nb"}}), &["/headers/x"]),
            (json!({"headers": {"x y": "a"}}), &["/headers/x y"]),
            (json!({"headers": {"X": "a", "x": "a"}}), &["/headers/x"]),
        ] {
            assert_eq!(pointers(body.clone()), expected, "{body}");
        }
    }

    #[test]
    fn change_is_checked_as_a_whole() {
        let new: NewWebhook =
            serde_json::from_value(json!({"url": "https://example.com"})).unwrap();
        let spec = new.split().0;
        let change = |body: Value| serde_json::from_value::<WebhookChange>(body).unwrap();
        let none = change(json!({"concurrency": 0, "events": ["bot"]}));
        assert_eq!(none.violations(&spec), []);
        let changed = spec.changed(&none);
        assert_eq!(
            (changed.concurrency, &*changed.events),
            (None, &["bot".to_owned()][..])
        );
        for body in [
            json!({"rate_per_second": 100_001}),
            json!({"signatures": []}),
            json!({"signatures": ["v1", "v1", "v1"]}),
        ] {
            let found = change(body.clone()).violations(&spec);
            assert_eq!(found.len(), 1, "{body}: {found:?}");
        }
    }
}
