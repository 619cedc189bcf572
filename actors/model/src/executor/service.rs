//! Parts of executors that send requests: addresses, headers, and the secrets among them.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use crate::{
    SecretRefs, Violation, secret,
    webhook::{MAX_HEADER_NAME, MAX_HEADER_VALUE, MAX_HEADERS, MAX_URL, WEBHOOK_URL, header_fault},
};

/// Name of the secret that is the value of the header `Authorization`.
pub const AUTHORIZATION: &str = "AUTHORIZATION";

/// Prefix of the names of secrets that are values of other headers: `HEADER_X_API_KEY` is
/// that of `x-api-key`.
pub const SECRET_HEADER_PREFIX: &str = "HEADER_";

/// The remedy for a secret in plain text.
const BELONGS_IN_SECRETS: &str = "this is stored and shown as it is; put a reference into secrets instead, by the name AUTHORIZATION, API_KEY (llm) or HEADER_<NAME>";

/// Returns the name of the header whose value is the secret of that name.
pub fn header_of_secret(name: &str) -> Option<String> {
    if name == AUTHORIZATION {
        return Some("authorization".into());
    }
    let header = name.strip_prefix(SECRET_HEADER_PREFIX)?;
    Some(header.to_ascii_lowercase().replace('_', "-"))
}

/// Returns the errors in the address of a service. The settings decide which addresses may
/// be reached.
pub(super) fn url_violations(at: String, url: &str) -> Option<Violation> {
    let scheme = url.split("://").next().unwrap_or_default();
    let is_http = url.contains("://")
        && ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
    let detail = match secret::secret_shape(url) {
        Some(what) => format!("looks like {what}: {BELONGS_IN_SECRETS}"),
        None if url.len() > MAX_URL => format!("is longer than {MAX_URL} bytes"),
        None if !is_http => "must be an absolute https or http URL".into(),
        None => return None,
    };
    Some(Violation {
        pointer: at,
        detail,
    })
}

/// Returns the errors in the plain headers of a bot, with pointers below `at`.
pub(super) fn header_violations(at: &str, headers: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut found = Vec::new();
    if headers.len() > MAX_HEADERS {
        found.push(Violation {
            pointer: format!("{at}/headers"),
            detail: format!("has more than {MAX_HEADERS} headers"),
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let fault = header_fault(&lower, value)
            .or_else(|| clear_secret(&lower, value))
            .or_else(|| (!seen.insert(lower)).then(|| "is given twice".to_owned()));
        if let Some(detail) = fault {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            found.push(Violation {
                pointer: format!("{at}/headers/{escaped}"),
                detail,
            });
        }
    }
    found
}

/// Returns the reason why a header looks like a secret.
fn clear_secret(name: &str, value: &str) -> Option<String> {
    let by_name = || {
        let is_secret = name == "authorization" || secret::is_secret_name(name);
        is_secret.then_some("a secret, by its name")
    };
    let what = secret::secret_shape(value).or_else(by_name)?;
    Some(format!("looks like {what}: {BELONGS_IN_SECRETS}"))
}

/// Returns the errors in the secrets of a bot that uses those of these names, and those
/// that are values of headers.
pub(crate) fn secret_violations(secrets: &SecretRefs, used: &[&str]) -> Vec<Violation> {
    let unused = secrets.keys().filter_map(|name| {
        let detail = match header_of_secret(name) {
            _ if used.contains(&name.as_str()) => return None,
            Some(header) if name != AUTHORIZATION => header_fault(&header, "")?,
            _ => format!(
                "is no secret that this kind of bot uses: {}, or {SECRET_HEADER_PREFIX}<NAME> for the header <NAME>",
                used.join(", ")
            ),
        };
        Some(Violation {
            pointer: format!("/secrets/{}", name.replace('~', "~0").replace('/', "~1")),
            detail,
        })
    });
    let malformed = secret::violations(secrets, &BTreeMap::new());
    match malformed.is_empty() {
        true => unused.collect(),
        false => malformed,
    }
}

/// The address of a service. No value has this type.
pub(super) struct ServiceUrl;

/// Plain headers of requests to a service. No value has this type.
pub(super) struct ServiceHeaders;

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

impl PartialSchema for ServiceUrl {
    fn schema() -> RefOr<Schema> {
        string()
            .description(Some(
                "The address of a service: `https` at a public address, or any at an address of `bots.allow_networks`; a DNS name or an address in full; no user name, fragment, blank or backslash. At most 2,048 characters.",
            ))
            .pattern(Some(WEBHOOK_URL))
            .max_length(Some(MAX_URL))
            .examples([json!("https://agents.example.com/run")])
            .into()
    }
}

impl ToSchema for ServiceUrl {
    fn name() -> Cow<'static, str> {
        "ServiceUrl".into()
    }
}

impl PartialSchema for ServiceHeaders {
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
                "Headers by name, at most 16, for values that are not secret: they are stored and shown. Names of 1 to 64 characters, each once in any case, and none that HTTP or the signature use; values of at most 1,024 printable ASCII characters. Secret ones belong in `secrets`: `AUTHORIZATION`, or `HEADER_X_API_KEY` for the header `x-api-key`.",
            ))
            .property_names(Some(name))
            .additional_properties(Some(value))
            .max_properties(Some(MAX_HEADERS))
            .examples([json!({"x-team": "billing"})])
            .into()
    }
}

impl ToSchema for ServiceHeaders {
    fn name() -> Cow<'static, str> {
        "ServiceHeaders".into()
    }
}
