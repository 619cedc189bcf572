//! Entries: the canonical JSON of events, without their details.

use deia_model::{EventLevel, EventResult, EventRow, EventTarget, Position, TaskStatus, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hash::{Hash, of_two};

/// Maximum size of an entry: its length is stored in 16 bits. Fact: C2SP tlog-tiles: an
/// entry of a bundle has a length of 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;
/// Bytes of the salt of an entry's details. Fact: the format of the trail, which its
/// verifiers read.
pub const SALT_BYTES: usize = 16;

/// A random value that keeps details from being guessed by their hash.
pub type Salt = [u8; SALT_BYTES];

/// The names in an entry, as it contains them: pseudonyms in place of the names of persons.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The actor.
    pub actor: &'a str,
    /// The owner.
    pub owner: Option<&'a str>,
    /// The id of the target.
    pub target: &'a str,
}

/// Actor of the entries about callers who have shown no key. Their addresses are details.
pub const ANONYMOUS: &str = "anonymous";

/// Returns whether the actor of an event is a caller that is known by its address only.
pub fn actor_is_anonymous(event: &EventRow<'_>) -> bool {
    event.actor.starts_with("address:")
}

/// Returns whether the actor of an event is a person or a program with a key, rather than the
/// hive or a bot.
pub fn actor_is_person(event: &EventRow<'_>) -> bool {
    let is_bot = event.bot_id == Some(event.actor)
        || (event.target_type == "bot" && event.target_id == event.actor);
    event.actor != "deia" && !actor_is_anonymous(event) && !is_bot
}

/// Returns whether the target of an event is a person or a program with a key.
pub fn target_is_person(event: &EventRow<'_>) -> bool {
    event.target_type == "user"
}

/// Writes the details of an event as they are hashed and stored; nothing if it has none. The
/// address of a caller without a key is among them, so that it is erased with them.
pub fn details_of(event: &EventRow<'_>, out: &mut String) {
    out.clear();
    let is_anonymous = actor_is_anonymous(event);
    if event.details.is_none() && !is_anonymous {
        times_of(event, out);
        return;
    }
    let stored = event.details.unwrap_or("{}");
    // Text that is not JSON is better than a gap in the trail.
    let stored = serde_json::from_str(stored).unwrap_or_else(|_| Value::from(stored));
    let mut members = match stored {
        Value::Object(members) => members,
        Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("details".to_owned(), other)]),
    };
    if is_anonymous {
        members.insert("actor".to_owned(), event.actor.into());
    }
    for (name, ms) in [("wait_ms", event.wait_ms), ("run_ms", event.run_ms)] {
        if let Some(ms) = ms {
            members.insert(name.to_owned(), ms.into());
        }
    }
    write_canonical(&Value::Object(members), out);
}

/// Writes the details that most events of tasks have: the times of an attempt.
fn times_of(event: &EventRow<'_>, out: &mut String) {
    for (name, ms) in [
        ("\"run_ms\":", event.run_ms),
        ("\"wait_ms\":", event.wait_ms),
    ] {
        if let Some(ms) = ms {
            out.push(if out.is_empty() { '{' } else { ',' });
            number(name, ms, out);
        }
    }
    if !out.is_empty() {
        out.push('}');
    }
}

/// Returns what an entry says of its details: a hash that proves them once they are shown.
pub fn commitment(salt: &Salt, details: &[u8]) -> Hash {
    of_two(salt, details)
}

/// Returns details as they are hashed and stored: JSON with sorted members and no spaces. The
/// hash is over these bytes, which exports contain; numbers are written as they were given.
pub fn canonical(details: &Value) -> String {
    let mut text = String::new();
    write_canonical(details, &mut text);
    text
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            // RFC 8785 sorts by UTF-16 code units.
            names.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, name) in names.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write_canonical(&members[name], out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_text(text: &str, out: &mut String) {
    let is_plain = |b: u8| b >= b' ' && b != b'"' && b != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// Writes entries.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The second that was written last, as text up to it.
    second: Option<(i64, String)>,
}

/// An event and what its entry contains in place of names and details.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The event.
    pub event: &'a EventRow<'a>,
    /// The names.
    pub names: Names<'a>,
    /// The hash of the details, if there are any.
    pub commitment: Option<&'a Hash>,
}

impl Encoder {
    /// Writes the entry of an event to `out`. Tags that would make the entry longer than
    /// [`MAX_ENTRY_BYTES`] are left out, and then texts are cut.
    pub fn encode(&mut self, draft: Draft<'_>, out: &mut String) {
        self.write(draft, out);
        if out.len() <= MAX_ENTRY_BYTES {
            return;
        }
        let tagless = EventRow {
            tags: None,
            ..*draft.event
        };
        let draft = Draft {
            event: &tagless,
            ..draft
        };
        self.write(draft, out);
        if out.len() <= MAX_ENTRY_BYTES {
            return;
        }
        let short = EventRow {
            action: cut(tagless.action),
            target_type: cut(tagless.target_type),
            session_id: tagless.session_id.map(cut),
            trace_id: tagless.trace_id.map(cut),
            task_type: tagless.task_type.map(cut),
            bot_id: tagless.bot_id.map(cut),
            ..tagless
        };
        let names = Names {
            actor: cut(draft.names.actor),
            owner: draft.names.owner.map(cut),
            target: cut(draft.names.target),
        };
        let draft = Draft {
            event: &short,
            names,
            ..draft
        };
        self.write(draft, out);
    }

    fn write(&mut self, draft: Draft<'_>, out: &mut String) {
        let Draft {
            event,
            names,
            commitment,
        } = draft;
        out.clear();
        // Members in the order of their names.
        text("{\"action\":", event.action, out);
        text(",\"actor\":", names.actor, out);
        out.push_str(",\"at\":\"");
        self.time(event.at, out);
        out.push('"');
        if let Some(attempt) = event.attempt {
            number(",\"attempt\":", attempt.into(), out);
        }
        maybe(",\"bot_id\":", event.bot_id, out);
        if let Some(hash) = commitment {
            out.push_str(",\"details_sha256\":\"");
            data_encoding::HEXLOWER.encode_append(hash, out);
            out.push('"');
        }
        text(",\"level\":", level(event.level), out);
        maybe(",\"owner\":", names.owner, out);
        text(",\"result\":", result(event.result), out);
        number(",\"seq\":", event.seq, out);
        maybe(",\"session_id\":", event.session_id, out);
        maybe(",\"status\":", event.status.map(TaskStatus::as_str), out);
        let tags: Vec<String> = event
            .tags
            .and_then(|tags| serde_json::from_str(tags).ok())
            .unwrap_or_default();
        if !tags.is_empty() {
            out.push_str(",\"tags\":");
            write_canonical(&tags.into(), out);
        }
        text(",\"target\":{\"id\":", names.target, out);
        text(",\"type\":", event.target_type, out);
        out.push('}');
        maybe(",\"task_type\":", event.task_type, out);
        number(",\"timeline\":", event.timeline, out);
        maybe(",\"trace_id\":", event.trace_id, out);
        number(",\"v\":", event.v.into(), out);
        out.push('}');
    }

    /// Writes a time. Those of most events differ from the one before in the milliseconds only.
    fn time(&mut self, at: Timestamp, out: &mut String) {
        /// Length of a time up to its second. Fact: RFC 3339, 5.6.
        const UP_TO_SECOND: usize = "2026-11-29T08:00:00".len();
        let second = at.as_millis().div_euclid(1_000);
        if self
            .second
            .as_ref()
            .is_none_or(|(known, _)| *known != second)
        {
            let text = at.to_string();
            // Times that cannot be written are all the same one.
            let is_plain = text.get(UP_TO_SECOND..) == Some(&*millis_of(at));
            if !is_plain {
                out.push_str(&text);
                return;
            }
            self.second = Some((second, text[..UP_TO_SECOND].to_owned()));
        }
        if let Some((_, text)) = &self.second {
            out.push_str(text);
        }
        out.push_str(&millis_of(at));
    }
}

fn millis_of(at: Timestamp) -> String {
    format!(".{:03}Z", at.as_millis().rem_euclid(1_000))
}

/// Returns the beginning of a text that is too long for an entry.
fn cut(text: &str) -> &str {
    /// Names that are remembered. Fixed: a table of fixed size, so that callers cannot
    /// make it grow.
    const KEPT: usize = 1_024;
    let mut end = text.len().min(KEPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn maybe(name: &str, value: Option<&str>, out: &mut String) {
    if let Some(value) = value {
        text(name, value, out);
    }
}

fn text(name: &str, value: &str, out: &mut String) {
    out.push_str(name);
    write_text(value, out);
}

fn number(name: &str, value: u64, out: &mut String) {
    use std::fmt::Write;
    out.push_str(name);
    // Writing to a string does not fail.
    let _ = write!(out, "{value}");
}

fn level(level: EventLevel) -> &'static str {
    match level {
        EventLevel::Info => "info",
        EventLevel::Warning => "warning",
        EventLevel::Critical => "critical",
    }
}

fn result(result: EventResult) -> &'static str {
    match result {
        EventResult::Success => "success",
        EventResult::Failure => "failure",
        EventResult::Partial => "partial",
    }
}

/// An entry that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The dotted name of the action.
    pub action: String,
    /// The actor: `deia`, a bot, or a pseudonym.
    pub actor: String,
    /// Time at which the event was recorded.
    pub at: Timestamp,
    /// The attempt at the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The bot that had the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_id: Option<String>,
    /// Hash of the salt and the details, in hexadecimal digits; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_sha256: Option<String>,
    /// The level.
    pub level: EventLevel,
    /// User whose visibility decides who may see the event, as a pseudonym.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The result.
    pub result: EventResult,
    /// Sequence number of the event.
    pub seq: u64,
    /// The session that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Status of the task after the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Tags of the task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The target.
    pub target: EventTarget,
    /// Type of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// The history that the sequence number belongs to.
    pub timeline: u64,
    /// The W3C trace that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Version of the form of the details.
    pub v: u32,
}

impl Entry {
    /// Parses an entry.
    ///
    /// # Errors
    /// The text is not an entry.
    pub fn parse(entry: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(entry)
    }

    /// Returns the position of the event in the event log.
    pub fn position(&self) -> Position {
        Position {
            timeline: self.timeline,
            seq: self.seq,
        }
    }

    /// Returns the hash of the salt and the details, if the entry has one.
    pub fn commitment(&self) -> Option<Hash> {
        let text = self.details_sha256.as_ref()?;
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full<'a>() -> EventRow<'a> {
        EventRow {
            seq: 7,
            timeline: 2,
            at: "2026-11-29T08:00:00.123Z".parse().unwrap(),
            action: "task.completed",
            level: EventLevel::Info,
            actor: "b-1",
            target_type: "task",
            target_id: "task_1",
            owner: Some("ada \"l\""),
            result: EventResult::Success,
            task_type: Some("brief"),
            bot_id: Some("b-1"),
            tags: Some(r#"["eu","\u0001"]"#),
            attempt: Some(1),
            status: Some(TaskStatus::Completed),
            session_id: Some("s"),
            v: 1,
            details: Some(r#"{"b": [1, {"z": null, "a": 1.5}], "a": "x"}"#),
            wait_ms: None,
            run_ms: Some(5),
            trace_id: Some("t"),
        }
    }

    fn entry_of(event: &EventRow<'_>) -> String {
        let names = Names {
            actor: event.actor,
            owner: event.owner,
            target: event.target_id,
        };
        let mut out = String::new();
        let commitment = Some(&[0xab; 32]);
        let draft = Draft {
            event,
            names,
            commitment,
        };
        Encoder::default().encode(draft, &mut out);
        out
    }

    #[test]
    fn entry_is_canonical_and_reads_back() {
        let text = entry_of(&full());
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(canonical(&value), text);
        let entry = Entry::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&entry).unwrap(), value);
        assert_eq!(entry.commitment(), Some([0xab; 32]));
        assert_eq!(entry.position(), full().position());
        assert_eq!(entry.tags, ["eu", "\u{1}"]);
        assert!(!text.contains("\"details\":"));
    }

    #[test]
    fn times_are_those_of_the_events() {
        let mut encoder = Encoder::default();
        for ms in [
            0,
            1,
            999,
            1_000,
            -1,
            1_764_403_200_123,
            1_764_403_200_124,
            i64::MAX,
        ] {
            let at = Timestamp::from_millis(ms);
            let mut out = String::new();
            encoder.time(at, &mut out);
            assert_eq!(out, at.to_string());
        }
    }

    #[test]
    fn details_have_one_spelling() {
        let details = |event: EventRow<'_>| {
            let mut out = String::from("before");
            details_of(&event, &mut out);
            out
        };
        let bare = EventRow {
            details: None,
            run_ms: None,
            ..full()
        };
        let waited = EventRow {
            wait_ms: Some(3),
            run_ms: Some(4),
            ..bare
        };
        let denied = EventRow {
            actor: "address:203.0.113.7/32",
            ..bare
        };
        let broken = EventRow {
            details: Some("no JSON"),
            ..bare
        };
        for (event, expected) in [
            (full(), r#"{"a":"x","b":[1,{"a":1.5,"z":null}],"run_ms":5}"#),
            (bare, ""),
            (waited, r#"{"run_ms":4,"wait_ms":3}"#),
            (denied, r#"{"actor":"address:203.0.113.7/32"}"#),
            (broken, r#"{"details":"no JSON"}"#),
        ] {
            assert_eq!(details(event), expected);
        }
        // U+E000 is after the surrogates of U+10000 by code units.
        let odd = json!({"\u{e000}": 1, "\u{10000}": 2});
        assert_eq!(canonical(&odd), "{\"\u{10000}\":2,\"\u{e000}\":1}");
    }

    #[test]
    fn entry_that_is_too_long_loses_its_tags_and_then_the_ends_of_texts() {
        let tags = json!(["x".repeat(MAX_ENTRY_BYTES)]).to_string();
        let target = "ä".repeat(MAX_ENTRY_BYTES);
        let long = EventRow {
            tags: Some(&tags),
            ..full()
        };
        let text = entry_of(&long);
        assert!(text.len() < 1_000);
        assert!(Entry::parse(text.as_bytes()).unwrap().tags.is_empty());
        let longer = EventRow {
            target_id: &target,
            ..long
        };
        let entry = Entry::parse(entry_of(&longer).as_bytes()).unwrap();
        assert_eq!(entry.target.id.len(), 1_024);
    }

    #[test]
    fn bots_and_the_hive_are_no_persons() {
        for (actor, target_type, target_id, expected) in [
            ("b-1", "task", "task_1", false),
            ("deia", "task", "task_1", false),
            ("ada", "task", "task_1", true),
            ("b-2", "bot", "b-2", false),
            ("ada", "bot", "b-2", true),
            ("address:::1/64", "route", "r", false),
        ] {
            let event = EventRow {
                actor,
                target_type,
                target_id,
                ..full()
            };
            assert_eq!(actor_is_person(&event), expected, "{actor} {target_id}");
        }
    }
}
