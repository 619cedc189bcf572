//! Identifiers: a type prefix and a UUIDv7 in base32, as defined by the TypeID
//! specification 0.3 (`task_01h455vb4pex5vsknk084sn02q`); the names of bots are chosen
//! by operators.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

/// Reason why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not `<prefix>_` and 26 base32 characters.
    #[error("expected {prefix}_ followed by 26 characters of lower-case base32")]
    Malformed {
        /// The prefix of this kind of id.
        prefix: &'static str,
    },
    /// The text is not a bot name.
    #[error(
        "expected 1 to 63 characters of a-z, 0-9 and '-', the first of them a letter or a digit"
    )]
    BotName,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of an id after its prefix. Fact: the format of TypeID: 128 bits in base32.
const ENCODED_LEN: usize = 26;

fn encode(bytes: [u8; 16]) -> [u8; ENCODED_LEN] {
    let mut rest = u128::from_be_bytes(bytes);
    let mut out = [b'0'; ENCODED_LEN];
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    out
}

fn decode(text: &[u8]) -> Option<[u8; 16]> {
    // 26 characters carry 130 bits: the first may only use its lower three.
    if text.len() != ENCODED_LEN || text[0] > b'7' {
        return None;
    }
    let mut value: u128 = 0;
    for &byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'h' => byte - b'a' + 10,
            b'j'..=b'k' => byte - b'j' + 18,
            b'm'..=b'n' => byte - b'm' + 20,
            b'p'..=b't' => byte - b'p' + 22,
            b'v'..=b'z' => byte - b'v' + 27,
            _ => return None,
        };
        value = (value << 5) | u128::from(digit);
    }
    Some(value.to_be_bytes())
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $new:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;

            /// Creates a new id.
            #[allow(clippy::new_without_default, reason = "a default id would be a shared id")]
            pub fn new() -> Self {
                Self($new)
            }

            /// Creates an id from the sixteen bytes returned by [`Self::as_bytes`].
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Returns the sixteen bytes of the id; they sort like the id.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; $prefix.len() + 1 + ENCODED_LEN];
                text[..$prefix.len()].copy_from_slice($prefix.as_bytes());
                text[$prefix.len()] = b'_';
                text[$prefix.len() + 1..].copy_from_slice(&encode(self.0));
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| decode(rest.as_bytes()))
                    .map(Self)
                    .ok_or(IdError::Malformed { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(deserializer)?
                    .parse()
                    .map_err(D::Error::custom)
            }
        }
    };
}

typed_id!(
    /// The id of a task. Ids of later submissions are greater.
    TaskId, "task", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// Names an alert. Ids of later alerts are greater.
    AlertId, "alert", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of a webhook endpoint. Ids of later endpoints are greater.
    WebhookId, "webhook", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of a message to an endpoint: the `webhook-id` of its deliveries. It follows
    /// from the endpoint and the event, and tells nothing about either.
    MessageId, "msg", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of a message to a bot. Ids of later messages are greater.
    BotMessageId, "message", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of a session of a user with a bot. Ids of later sessions are greater.
    SessionId, "session", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of a restore point. Ids of later points are greater.
    PointId, "point", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of a replay. Ids of later replays are greater.
    ReplayId, "replay", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of an API key; not secret.
    KeyId, "key", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The id of a web session; not secret.
    WebSessionId, "web_session", Uuid::now_v7().into_bytes()
);
typed_id!(
    /// The fencing token of one attempt at a task: only its holder may report on the
    /// attempt. All 128 bits are random, so that the holder of one token cannot guess
    /// another.
    LeaseToken, "lease", rand::random::<[u8; 16]>()
);

impl LeaseToken {
    /// Returns a number in 0..1 from the random part: good enough to spread retries.
    pub fn spread(&self) -> f64 {
        let bytes = self.as_bytes();
        let random = [bytes[12], bytes[13], bytes[14], bytes[15]];
        f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX)
    }
}

/// The name of a bot, chosen by an operator: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BotName(std::sync::Arc<str>);

impl BotName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BotName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = text.as_bytes();
        let name_byte = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        if bytes.is_empty() || bytes.len() > 63 || bytes[0] == b'-' || !bytes.iter().all(name_byte)
        {
            return Err(IdError::BotName);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for BotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BotName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_answers_of_the_typeid_specification() {
        for (text, uuid) in [
            (
                "task_00000000000000000000000000",
                "00000000-0000-0000-0000-000000000000",
            ),
            (
                "task_0123456789abcdefghjkmnpqrs",
                "0110c853-1d09-52d8-d73e-1194e95b5f19",
            ),
            (
                "task_01h455vb4pex5vsknk084sn02q",
                "01890a5d-ac96-774b-bcce-b302099a8057",
            ),
            (
                "task_7zzzzzzzzzzzzzzzzzzzzzzzzz",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ),
        ] {
            let id: TaskId = text.parse().unwrap();
            assert_eq!(Uuid::from_bytes(*id.as_bytes()).to_string(), uuid);
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in [
            "",
            "task_",
            "key_01h455vb4pex5vsknk084sn02q",
            "task_01h455vb4pex5vsknk084sn02",
            "task_01h455vb4pex5vsknk084sn02qq",
            "task_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "task_01H455VB4PEX5VSKNK084SN02Q",
            "task_01h455vb4pex5vsknk084sn0ü",
            "task_01h455vb4pex5vsknk084sn02i",
        ] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }

    #[test]
    fn bot_names_follow_the_rule() {
        let long = "a".repeat(63);
        for text in ["a", "0", "bot-dev-001", long.as_str()] {
            assert_eq!(text.parse::<BotName>().unwrap().as_str(), text);
        }
        let longer = "a".repeat(64);
        for text in ["", "-a", "A", "a_b", "a.b", "a/b", "ä", longer.as_str()] {
            assert_eq!(text.parse::<BotName>(), Err(IdError::BotName), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_form_round_trips_and_keeps_order(a: [u8; 16], b: [u8; 16]) {
            let (a, b) = (TaskId::from_bytes(a), TaskId::from_bytes(b));
            prop_assert_eq!(a.to_string().parse::<TaskId>().unwrap(), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn any_text_parses_or_is_refused_without_a_panic(text: String) {
            let _ = text.parse::<TaskId>();
            let _ = text.parse::<BotName>();
        }
    }
}
