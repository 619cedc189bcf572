//! The parts of an entry that the index and filters look at, read without copying them.

use std::borrow::Cow;

use deia_model::{EventLevel, EventResult, Timestamp};
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, IgnoredAny},
};

/// A glance at an entry. Members of later versions are passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct Glance<'e> {
    #[serde(borrow)]
    pub(crate) action: Cow<'e, str>,
    #[serde(borrow)]
    pub(crate) actor: Cow<'e, str>,
    #[serde(deserialize_with = "time")]
    pub(crate) at: Timestamp,
    #[serde(default, deserialize_with = "is_there")]
    details_sha256: bool,
    pub(crate) level: EventLevel,
    pub(crate) result: EventResult,
    pub(crate) seq: u64,
    #[serde(borrow)]
    pub(crate) target: Target<'e>,
    pub(crate) timeline: u64,
}

/// The target of an entry.
#[derive(Debug, Deserialize)]
pub(crate) struct Target<'e> {
    #[serde(borrow)]
    pub(crate) id: Cow<'e, str>,
    #[serde(borrow)]
    pub(crate) r#type: Cow<'e, str>,
}

impl<'e> Glance<'e> {
    /// Looks at an entry; `None` if it is none.
    pub(crate) fn at(entry: &'e [u8]) -> Option<Self> {
        let glance: Self = serde_json::from_slice(entry).ok()?;
        let fits = i64::try_from(glance.seq.max(glance.timeline)).is_ok();
        fits.then_some(glance)
    }

    /// Returns whether the entry has details, erased or not.
    pub(crate) fn has_details(&self) -> bool {
        self.details_sha256
    }
}

/// Returns the action and the actor of an entry, with which it opens; `None` if that takes more
/// than a look.
pub(crate) fn opening(entry: &[u8]) -> Option<(&str, &str)> {
    let (action, rest) = text(entry.strip_prefix(b"{\"action\":\"")?)?;
    let (actor, _) = text(rest.strip_prefix(b",\"actor\":\"")?)?;
    Some((action, actor))
}

/// Returns the text before the next quote, and the bytes after it; `None` if it has escapes.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (text, rest) = bytes.split_at(end);
    let rest = rest.strip_prefix(b"\"")?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    struct Text;
    impl serde::de::Visitor<'_> for Text {
        type Value = Timestamp;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a time of RFC 3339")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text).map_err(D::Error::custom)
}

/// Returns whether details are nothing but the times that a task waited and ran, which say
/// nothing of its content. Details are canonical JSON: this has one spelling.
pub(super) fn is_timing_only(details: &[u8]) -> bool {
    let inner = details
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"));
    let is_time = |member: &[u8]| {
        let value = member
            .strip_prefix(b"\"run_ms\":")
            .or_else(|| member.strip_prefix(b"\"wait_ms\":"));
        value.is_some_and(|value| !value.is_empty() && value.iter().all(u8::is_ascii_digit))
    };
    inner.is_some_and(|inner| inner.split(|b| *b == b',').all(is_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glance_sees_what_the_entry_has() {
        let entry = br#"{"action":"user.changed","actor":"a\"b","at":"2026-11-29T08:00:00.123Z","details_sha256":"00","level":"warning","new":[{}],"result":"partial","seq":7,"target":{"id":"user_1","type":"user"},"timeline":2,"v":1}"#;
        let glance = Glance::at(entry).unwrap();
        assert_eq!((&*glance.action, &*glance.actor), ("user.changed", "a\"b"));
        assert!(matches!(glance.action, Cow::Borrowed(_)));
        assert_eq!(glance.at.to_string(), "2026-11-29T08:00:00.123Z");
        assert_eq!(glance.level, EventLevel::Warning);
        assert_eq!(glance.result, EventResult::Partial);
        assert_eq!((glance.seq, glance.timeline), (7, 2));
        assert_eq!(
            (&*glance.target.id, &*glance.target.r#type),
            ("user_1", "user")
        );
        assert!(glance.has_details());
        let without = String::from_utf8_lossy(entry).replace("\"details_sha256\":\"00\",", "");
        assert!(!Glance::at(without.as_bytes()).unwrap().has_details());
        for damaged in [&b""[..], b"{}", &entry[..80], &without.as_bytes()[1..]] {
            assert!(Glance::at(damaged).is_none());
        }
    }

    #[test]
    fn opening_is_told_where_it_is_plain() {
        for (entry, expected) in [
            (
                r#"{"action":"a.b","actor":"ada","at":"#,
                Some(("a.b", "ada")),
            ),
            (r#"{"action":"a.b","actor":"","#, Some(("a.b", ""))),
            (r#"{"action":"a.b","actor":"x\"y","at":"#, None),
            (r#"{"action":"a.b","actor":"x"#, None),
            (r#"{"action":"a.b","at":"x"}"#, None),
            (r#"{"actor":"x","action":"a.b"}"#, None),
            ("", None),
        ] {
            assert_eq!(opening(entry.as_bytes()), expected, "{entry}");
        }
    }

    #[test]
    fn times_say_nothing_of_the_content() {
        for (details, expected) in [
            (r#"{"run_ms":12}"#, true),
            (r#"{"wait_ms":0}"#, true),
            (r#"{"run_ms":12,"wait_ms":3}"#, true),
            (r#"{"error":"x","run_ms":12}"#, false),
            (r#"{"run_ms":"12"}"#, false),
            (r#"{"run_ms":}"#, false),
            (r#"{"run_ms":1,"x":2}"#, false),
            ("{}", false),
            ("12", false),
            ("", false),
        ] {
            assert_eq!(is_timing_only(details.as_bytes()), expected, "{details}");
        }
    }
}
