//! Events that other systems record in the audit trail: their actions, and the limits of
//! what belongs to them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::{Violation, is_at_most_deep, new_task::METADATA_LEVELS, secret};

/// Maximum number of parts of a name. Fact: the API, whose schema states it.
const MAX_SEGMENTS: usize = 4;
/// Maximum length of a part, in characters. Fact: the API, whose schema states it.
const MAX_SEGMENT: usize = 40;
/// Maximum length of the id of a target, in characters. Fact: the API, whose schema
/// states it.
const MAX_TARGET: usize = 256;
/// Maximum size of the details, in bytes. Fact: the API, whose schema states it.
const MAX_DETAILS_BYTES: usize = 32 * 1_024;

/// The action of an event that another system recorded: `ext.` and 1 to 4 segments of
/// `a-z 0-9 _`, with dots between them. Each segment begins with a letter and has at most
/// 40 characters; the whole has at most 128. No action of deia itself has that form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExternalAction(String);

impl ExternalAction {
    /// The kind of all external actions.
    pub const KIND: &'static str = "ext";

    /// Maximum length of the dotted name. Fact: the API, whose schema states it.
    pub const MAX_LENGTH: usize = 128;

    /// Returns the action with the dotted name `name`, if that is the name of an
    /// external one.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('.')?;
        let segment = |segment: &str| {
            (1..=MAX_SEGMENT).contains(&segment.len())
                && segment.starts_with(|c: char| c.is_ascii_lowercase())
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let is_external = kind == Self::KIND
            && name.len() <= Self::MAX_LENGTH
            && rest.split('.').count() <= MAX_SEGMENTS
            && rest.split('.').all(segment);
        is_external.then(|| Self(name.to_owned()))
    }

    /// Returns the dotted name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not an external action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected ext. and 1 to 4 segments of a-z 0-9 _ with dots between them, such as \
     ext.deploy.approved; each begins with a letter and has at most 40 characters, the whole at \
     most 128"
)]
pub struct InvalidExternalAction;

impl FromStr for ExternalAction {
    type Err = InvalidExternalAction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or(InvalidExternalAction)
    }
}

impl fmt::Display for ExternalAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ExternalAction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ExternalAction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Returns the limits that the target and the details of an external event violate.
/// Details that are `Null` are absent.
///
/// An entry of the audit trail stays for a year and is shown to auditors. So neither part
/// may hold a key, and a target may not hold characters that change how a line is shown.
pub fn external_violations(target: &str, details: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut refuse = |pointer: &str, detail: String| {
        found.push(Violation {
            pointer: pointer.into(),
            detail,
        });
    };
    let length = target.chars().count();
    if !(1..=MAX_TARGET).contains(&length) {
        let detail = format!("is {length} characters long; allowed are 1 to {MAX_TARGET}");
        refuse("/target", detail);
    } else if target.contains(changes_the_line) {
        let detail = "has a control character, a line separator or a change of direction; \
                      allowed is text that can be shown in one line";
        refuse("/target", detail.into());
    } else if secret::holds_key(target) {
        refuse("/target", HOLDS_KEY.into());
    }
    if details.is_null() {
        return found;
    }
    let text = details.to_string();
    if !details.is_object() {
        refuse("/details", "is not an object".into());
    } else if text.len() > MAX_DETAILS_BYTES {
        let bytes = text.len();
        let detail = format!("is {bytes} bytes of JSON; the limit is {MAX_DETAILS_BYTES}");
        refuse("/details", detail);
    } else if !is_at_most_deep(details, METADATA_LEVELS) {
        let detail = format!("is nested more than {METADATA_LEVELS} deep");
        refuse("/details", detail);
    } else if secret::holds_key(&text) {
        refuse("/details", HOLDS_KEY.into());
    }
    found
}

const HOLDS_KEY: &str = "has a key of deia in it, which the audit trail would keep";

/// Returns whether a character ends the line that it is shown in, or changes how other
/// characters of it are shown. The pattern of targets has the same set.
fn changes_the_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Action, ApiKey};

    #[test]
    fn external_actions_have_one_form() {
        let long = "a".repeat(40);
        let longest = format!("ext.{long}.{long}.{long}.a");
        for (name, expected) in [
            ("ext.deploy", true),
            ("ext.deploy.approved", true),
            ("ext.a.b2.c_d.e", true),
            (longest.as_str(), true),
            (&format!("{longest}b"), false),
            (&format!("ext.{long}a"), false),
            ("ext", false),
            ("ext.", false),
            ("ext..a", false),
            ("ext.a.", false),
            ("ext.a.b.c.d.e", false),
            ("ext.1a", false),
            ("ext._a", false),
            ("ext.A", false),
            ("ext.ä", false),
            ("ext.a-b", false),
            ("ext.a b", false),
            ("ext.a\n", false),
            ("EXT.a", false),
            ("task.submitted", false),
            ("external.a", false),
        ] {
            let parsed = ExternalAction::parse(name);
            assert_eq!(parsed.is_some(), expected, "{name}");
            let read = serde_json::from_value::<ExternalAction>(json!(name));
            assert_eq!(read.ok(), parsed, "{name}");
            assert!(parsed.is_none_or(|parsed| parsed.as_str() == name));
        }
        let of_deia = |action: &&Action| ExternalAction::parse(action.as_str()).is_some();
        assert_eq!(Action::ALL.iter().find(of_deia), None);
    }

    #[test]
    fn violations_name_the_part() {
        let deep = (0..32).fold(json!({}), |inner, _| json!({"a": inner}));
        for (target, details, expected) in [
            ("release 7", Value::Null, &[][..]),
            ("ähre", json!({}), &[]),
            (&"x".repeat(256), json!({"a": [1, "b\n"]}), &[]),
            (&"ü".repeat(257), Value::Null, &["/target"]),
            ("", Value::Null, &["/target"]),
            ("a\nb", Value::Null, &["/target"]),
            ("a\u{202e}b", Value::Null, &["/target"]),
            ("a\u{7f}", Value::Null, &["/target"]),
            ("a", json!([]), &["/details"]),
            ("a", json!("b"), &["/details"]),
            ("a", json!({"a": "x".repeat(32 * 1_024 - 8)}), &[]),
            ("a", json!({"a": "x".repeat(32 * 1_024 - 7)}), &["/details"]),
            ("a", deep, &["/details"]),
            ("", json!(1), &["/target", "/details"]),
        ] {
            let found = external_violations(target, &details);
            let pointers: Vec<_> = found.iter().map(|it| it.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{target:?} {found:?}");
        }
        let key = ApiKey::generate().unwrap().reveal();
        for (target, details) in [(key.as_str(), Value::Null), ("a", json!({"a": {"b": key}}))] {
            assert_eq!(external_violations(target, &details).len(), 1, "{details}");
        }
    }
}
