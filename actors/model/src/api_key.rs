//! API keys: `deia_<id>_<secret>_<crc32>`.
//!
//! The id is the base32 part of a [`KeyId`], the secret 160 random bits in lower-case
//! base32 (RFC 4648, no padding), the checksum the CRC-32 (ISO 3309) of everything
//! before it in eight hexadecimal digits. The checksum tells a mistyped key from a
//! wrong one without a look-up, and secret scanners recognise keys by it.

use std::fmt;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};

use crate::{KeyGrant, KeyId, KeyRecord};

/// Random bytes of a key. Fact: the format of keys: 160 random bits.
const SECRET_BYTES: usize = 20;

/// Reason why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text does not have the form of a key.
    #[error("a key looks like deia_<id>_<secret>_<checksum>")]
    Malformed,
    /// The checksum does not match: the key is mistyped or cut off.
    #[error("the key's checksum does not fit: it is mistyped or cut off")]
    Checksum,
    /// The random number generator of the system failed.
    #[error("the system provided no random numbers")]
    NoRandom,
}

/// A key in plain text. Shown once and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: KeyId,
    secret: String,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, secret not shown)", self.id)
    }
}

impl ApiKey {
    /// Generates a new key.
    ///
    /// # Errors
    /// [`KeyError::NoRandom`] when the system's generator fails.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0u8; SECRET_BYTES];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| KeyError::NoRandom)?;
        Ok(Self {
            id: KeyId::new(),
            secret: BASE32_NOPAD.encode(&secret).to_ascii_lowercase(),
        })
    }

    /// Returns whether `text` contains a key in plain text.
    pub fn is_within(text: &str) -> bool {
        /// Length of a key, in characters. Fact: the format of keys.
        const LENGTH: usize = 73;
        text.match_indices("deia_").any(|(at, _)| {
            let key = text.get(at..at + LENGTH);
            key.is_some_and(|key| Self::parse(key).is_ok())
        })
    }

    /// Parses a key, without a look-up or a hash.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] or [`KeyError::Checksum`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (body, checksum) = text.rsplit_once('_').ok_or(KeyError::Malformed)?;
        let rest = body.strip_prefix("deia_").ok_or(KeyError::Malformed)?;
        let (id, secret) = rest.split_once('_').ok_or(KeyError::Malformed)?;
        let secret_ok = secret.len() == 32
            && secret
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        let checksum_ok = checksum.len() == 8
            && checksum
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !secret_ok || !checksum_ok {
            return Err(KeyError::Malformed);
        }
        let id = format!("key_{id}")
            .parse()
            .map_err(|_| KeyError::Malformed)?;
        if checksum_of(body) != checksum {
            return Err(KeyError::Checksum);
        }
        Ok(Self {
            id,
            secret: secret.to_owned(),
        })
    }

    /// Returns the id of the key, which is not secret.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the SHA-256 hash of the secret part, which is stored. The secret has 160
    /// random bits, so a fast hash is enough.
    pub fn secret_sha256(&self) -> [u8; 32] {
        let mut out = [0u8; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, self.secret.as_bytes()).as_ref());
        out
    }

    /// Returns the record to store for a key with this grant.
    pub fn record(&self, grant: KeyGrant) -> KeyRecord {
        KeyRecord::new(self.id, self.secret_sha256(), grant)
    }

    /// Returns the whole key, to be shown once.
    pub fn reveal(&self) -> String {
        let id = self.id.to_string();
        let body = format!("deia_{}_{}", id.trim_start_matches("key_"), self.secret);
        format!("{body}_{}", checksum_of(&body))
    }
}

fn checksum_of(body: &str) -> String {
    HEXLOWER.encode(&crc32fast::hash(body.as_bytes()).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_reads_back_and_is_not_shown_by_debug() {
        let key = ApiKey::generate().unwrap();
        let text = key.reveal();
        assert_eq!(ApiKey::parse(&text).unwrap(), key);
        assert!(!format!("{key:?}").contains(&key.secret));
        assert_ne!(ApiKey::generate().unwrap().reveal(), text);
    }

    #[test]
    fn mistyped_and_malformed_keys_have_different_errors() {
        let text = ApiKey::generate().unwrap().reveal();
        let secret_at = text.len() - 12;
        let other = if &text[secret_at..=secret_at] == "a" {
            "b"
        } else {
            "a"
        };
        let mistyped = format!("{}{other}{}", &text[..secret_at], &text[secret_at + 1..]);
        assert_eq!(ApiKey::parse(&mistyped), Err(KeyError::Checksum));
        for text in [
            "",
            "deia",
            "deia___",
            "sk_a_b_c",
            &text[..text.len() - 1],
            &text.to_uppercase(),
        ] {
            assert_eq!(ApiKey::parse(text), Err(KeyError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            prop_assert!(ApiKey::parse(&text).is_err());
        }

        #[test]
        fn only_the_exact_text_of_a_key_is_accepted(
            text in "deia_[0-9a-hjkmnp-tv-z]{24,28}_[a-z2-7]{30,34}_[0-9a-f]{7,9}",
        ) {
            if let Ok(key) = ApiKey::parse(&text) {
                prop_assert_eq!(key.reveal(), text);
            }
        }

        #[test]
        fn a_key_with_one_changed_character_is_refused(at in 0_usize..73, other in "[ -~]") {
            let text = ApiKey::generate().unwrap().reveal();
            let mut changed = text.clone();
            changed.replace_range(at..=at, &other);
            prop_assert_eq!(ApiKey::parse(&changed).is_ok(), changed == text);
        }

        #[test]
        fn truncated_and_extended_keys_are_refused(cut in 0_usize..73, more in "[ -~]{1,4}") {
            let text = ApiKey::generate().unwrap().reveal();
            prop_assert!(ApiKey::parse(&text[..cut]).is_err());
            let (longer, later) = (format!("{text}{more}"), format!("{more}{text}"));
            prop_assert!(ApiKey::parse(&longer).is_err());
            prop_assert!(ApiKey::parse(&later).is_err());
        }
    }
}
