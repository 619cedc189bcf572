//! Sealing: AES-256-GCM with a random nonce. The name of a secret is bound to its
//! value, so that no sealed value can be put into the place of another.
//!
//! A sealed value is a byte for the format, four bytes that name the key, twelve of
//! the nonce, and the ciphertext with its tag.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use deia_model::SecretName;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};

/// Number of the format. Fact: the format of sealed secrets (AES-256-GCM).
const FORMAT: u8 = 1;
/// Bytes of a key. Fact: the format of sealed secrets (AES-256-GCM).
const KEY_BYTES: usize = 32;
/// Bytes of the id of a key. Fact: the format of sealed secrets (AES-256-GCM).
const ID_BYTES: usize = 4;
/// Bytes before the sealed text. Fact: the format of sealed secrets (AES-256-GCM).
const HEAD_BYTES: usize = 1 + ID_BYTES + NONCE_LEN;
/// First lines of the file of keys.
const PREAMBLE: &str = "\
# The keys that seal the secrets in deia.db; the first one seals, all of them open.
# Without this file the stored secrets are lost. Keep a copy apart from those of deia.db.
";

/// Reason why a secret cannot be sealed or opened. Contains nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system provided no random numbers.
    #[error("the system provided no random numbers")]
    NoRandom,
    /// The file has a line that is not a key.
    #[error("line {line} is not a key (deia-key <id> <base64>)")]
    MalformedKey {
        /// Number of the line, from 1.
        line: usize,
    },
    /// The file has no key.
    #[error("it has no key")]
    NoKey,
    /// None of the keys is the one that the value was sealed with.
    #[error("it was sealed with the key {id}, which secrets.key does not have")]
    UnknownKey {
        /// Name of the key.
        id: String,
    },
    /// The value was changed, or belongs to another name.
    #[error("it was changed or belongs to another name")]
    Broken,
}

/// The value of a secret. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretValue(Vec<u8>);

impl SecretValue {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(not shown)")
    }
}

#[derive(Clone, PartialEq, Eq)]
struct SealingKey {
    id: [u8; ID_BYTES],
    bytes: [u8; KEY_BYTES],
}

impl SealingKey {
    fn generate() -> Result<Self, SealError> {
        let (mut id, mut bytes) = ([0; ID_BYTES], [0; KEY_BYTES]);
        let random = SystemRandom::new();
        random.fill(&mut id).map_err(|_| SealError::NoRandom)?;
        random.fill(&mut bytes).map_err(|_| SealError::NoRandom)?;
        Ok(Self { id, bytes })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (kind, id, bytes) = (words.next()?, words.next()?, words.next()?);
        let id = HEXLOWER.decode(id.as_bytes()).ok()?;
        let bytes = BASE64.decode(bytes.as_bytes()).ok()?;
        if kind != "deia-key" || words.next().is_some() {
            return None;
        }
        Some(Self {
            id: id.try_into().ok()?,
            bytes: bytes.try_into().ok()?,
        })
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        // A key of this algorithm has 32 bytes, so this does not fail.
        let key = UnboundKey::new(&AES_256_GCM, &self.bytes).map_err(|_| SealError::Broken)?;
        Ok(LessSafeKey::new(key))
    }
}

/// The keys that secrets are sealed with: the first one seals, all of them open.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealingKeys(Vec<SealingKey>);

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(|key| HEXLOWER.encode(&key.id));
        f.debug_list().entries(ids).finish()
    }
}

impl SealingKeys {
    /// Makes a ring of one fresh key.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub(crate) fn generate() -> Result<Self, SealError> {
        Ok(Self(vec![SealingKey::generate()?]))
    }

    /// Reads the file of keys.
    ///
    /// # Errors
    /// [`SealError::MalformedKey`] or [`SealError::NoKey`].
    pub(crate) fn parse(text: &str) -> Result<Self, SealError> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = SealError::MalformedKey { line: number + 1 };
            keys.push(SealingKey::parse(line).ok_or(malformed)?);
        }
        match keys.is_empty() {
            true => Err(SealError::NoKey),
            false => Ok(Self(keys)),
        }
    }

    /// Returns the text of the file of keys.
    pub(crate) fn to_text(&self) -> String {
        let line = |key: &SealingKey| {
            let (id, bytes) = (HEXLOWER.encode(&key.id), BASE64.encode(&key.bytes));
            format!("deia-key {id} {bytes}")
        };
        let lines: Vec<String> = self.0.iter().map(line).collect();
        format!("{PREAMBLE}{}", lines.join("\n"))
    }

    /// Names the key that seals; not secret.
    pub(crate) fn current_id(&self) -> String {
        self.0
            .first()
            .map_or_else(String::new, |key| HEXLOWER.encode(&key.id))
    }

    /// Returns these keys with a fresh one that seals from now on.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub(crate) fn with_new_key(&self) -> Result<Self, SealError> {
        let mut keys = Self::generate()?;
        keys.0.extend(self.0.iter().cloned());
        Ok(keys)
    }

    /// Returns the key that seals, alone.
    pub(crate) fn only_current(&self) -> Self {
        Self(self.0.iter().take(1).cloned().collect())
    }

    /// Returns keys for another purpose, one for each of these and in their order. They tell
    /// nothing about these keys (HKDF, RFC 5869).
    pub(crate) fn derive(&self, purpose: &str) -> Vec<LessSafeKey> {
        let salt = Salt::new(HKDF_SHA256, &[]);
        let derive = |key: &SealingKey| {
            let (info, secret) = ([purpose.as_bytes()], salt.extract(&key.bytes));
            // Fails only for keys that are longer than this algorithm's.
            let derived = secret.expand(&info, &AES_256_GCM).ok()?;
            Some(LessSafeKey::new(UnboundKey::from(derived)))
        };
        self.0.iter().filter_map(derive).collect()
    }

    /// Seals a value under its name.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub(crate) fn seal(
        &self,
        name: &SecretName,
        value: &SecretValue,
    ) -> Result<Vec<u8>, SealError> {
        let key = self.0.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| SealError::NoRandom)?;
        let mut sealed = vec![FORMAT];
        sealed.extend(key.id);
        sealed.extend(nonce);
        let mut body = value.reveal().to_vec();
        let (nonce, bound) = (
            Nonce::assume_unique_for_key(nonce),
            Aad::from(name.as_str()),
        );
        key.cipher()?
            .seal_in_place_append_tag(nonce, bound, &mut body)
            .map_err(|_| SealError::Broken)?;
        sealed.extend(body);
        Ok(sealed)
    }

    /// Opens a sealed value of that name.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] or [`SealError::Broken`].
    pub(crate) fn open(&self, name: &SecretName, sealed: &[u8]) -> Result<SecretValue, SealError> {
        let (head, body) = sealed
            .split_at_checked(HEAD_BYTES)
            .ok_or(SealError::Broken)?;
        let (id, nonce) = head[1..].split_at(ID_BYTES);
        if head[0] != FORMAT {
            return Err(SealError::Broken);
        }
        let unknown = || SealError::UnknownKey {
            id: HEXLOWER.encode(id),
        };
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(unknown)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Broken)?;
        let mut body = body.to_vec();
        let opened = key
            .cipher()?
            .open_in_place(nonce, Aad::from(name.as_str()), &mut body)
            .map_err(|_| SealError::Broken)?
            .len();
        body.truncate(opened);
        Ok(SecretValue::new(body))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::of_bots(text).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_under_its_name_only() {
        let keys = SealingKeys::generate().unwrap();
        let value = SecretValue::new(b"hunter2".to_vec());
        let sealed = keys.seal(&name("a"), &value).unwrap();
        assert_eq!(keys.open(&name("a"), &sealed).unwrap(), value);
        assert_eq!(keys.open(&name("b"), &sealed), Err(SealError::Broken));
        assert_ne!(keys.seal(&name("a"), &value).unwrap(), sealed);
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert!(!format!("{value:?} {keys:?}").contains("hunter2"));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let keys = SealingKeys::generate().unwrap();
        let value = SecretValue::new(b"x".to_vec());
        let sealed = keys.seal(&name("a"), &value).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(keys.open(&name("a"), &changed).is_err(), "{at}");
            assert!(keys.open(&name("a"), &sealed[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn a_new_key_seals_and_the_old_ones_open_until_they_are_gone() {
        let old = SealingKeys::generate().unwrap();
        let value = SecretValue::new(b"x".to_vec());
        let by_old = old.seal(&name("a"), &value).unwrap();
        let both = SealingKeys::parse(&old.with_new_key().unwrap().to_text()).unwrap();
        assert_eq!(both.open(&name("a"), &by_old).unwrap(), value);
        let by_new = both.seal(&name("a"), &value).unwrap();
        let new = both.only_current();
        assert_eq!(new.open(&name("a"), &by_new).unwrap(), value);
        let unknown = new.open(&name("a"), &by_old).unwrap_err();
        assert_eq!(
            unknown,
            SealError::UnknownKey {
                id: old.current_id()
            }
        );
    }

    #[test]
    fn a_file_that_is_not_of_keys_is_refused_with_the_line() {
        let text = SealingKeys::generate().unwrap().to_text();
        let keys = SealingKeys::parse(&format!("{text}\n\n# a comment\n")).unwrap();
        assert_eq!(keys.to_text(), text);
        let cut = &text[..text.len() - 4];
        for (text, expected) in [
            ("", SealError::NoKey),
            ("# nothing", SealError::NoKey),
            ("\nhunter2", SealError::MalformedKey { line: 2 }),
            (cut, SealError::MalformedKey { line: 3 }),
        ] {
            assert_eq!(SealingKeys::parse(text), Err(expected.clone()));
            assert!(!expected.to_string().contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_opened_without_a_panic(sealed: Vec<u8>) {
            let keys = SealingKeys::generate().unwrap();
            prop_assert!(keys.open(&name("a"), &sealed).is_err());
        }

        #[test]
        fn any_value_comes_back(value: Vec<u8>) {
            let keys = SealingKeys::generate().unwrap();
            let value = SecretValue::new(value);
            let sealed = keys.seal(&name("a"), &value).unwrap();
            prop_assert_eq!(keys.open(&name("a"), &sealed).unwrap(), value);
        }
    }
}
