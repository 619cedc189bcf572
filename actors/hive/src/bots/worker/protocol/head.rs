//! The beginning of a message whose rest is not there: which attempt it was to end.

use std::fmt;

use deia_model::TaskId;
use serde::de::{Deserializer as _, MapAccess, Visitor};

use crate::bots::bot::AttemptKey;

/// The fields that name the attempt, as far as they come before any other.
#[derive(Default)]
struct Head {
    kind: Option<String>,
    id: Option<TaskId>,
    attempt: Option<u32>,
}

impl<'de> Visitor<'de> for &mut Head {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "type" => self.kind = Some(fields.next_value()?),
                "id" => self.id = Some(fields.next_value()?),
                "attempt" => self.attempt = Some(fields.next_value()?),
                _ => break,
            }
        }
        Ok(())
    }
}

/// Returns the attempt that a message was to end, from the beginning of its line. Its type, id
/// and attempt must be the first fields.
pub(in super::super) fn attempt_ended_by(beginning: &[u8]) -> Option<AttemptKey> {
    let mut head = Head::default();
    // The message is cut off, so this does not succeed.
    let _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(&mut head);
    let ends = matches!(head.kind.as_deref(), Some("result" | "error"));
    let key = AttemptKey {
        task: head.id?,
        number: head.attempt?,
    };
    ends.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_answers_name_their_attempt() {
        let id = TaskId::new();
        let key = AttemptKey {
            task: id,
            number: 2,
        };
        let of = format!("\"id\":\"{id}\",\"attempt\":2");
        for (beginning, expected) in [
            (
                format!("{{\"type\":\"result\",{of},\"output\":\"xxx"),
                Some(key),
            ),
            (
                format!("{{{of}, \"type\":\"error\",\"message\":\"xxx"),
                Some(key),
            ),
            (format!("{{\"type\":\"output\",{of},\"text\":\"xxx"), None),
            (
                format!("{{\"output\":\"xxx\",\"type\":\"result\",{of}"),
                None,
            ),
            (format!("{{\"type\":\"result\",\"id\":\"{id}\",\"att"), None),
            ("xxx".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(
                attempt_ended_by(beginning.as_bytes()),
                expected,
                "{beginning}"
            );
        }
    }
}
