//! Keys of signed notes.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

use super::Signature;
use crate::hash::of_two;

/// Type of Ed25519 signatures of notes. Fact: C2SP signed-note.
const NOTE: u8 = 0x01;
/// Type of timestamped Ed25519 cosignatures of checkpoints. Fact: C2SP tlog-cosignature.
const COSIGNATURE: u8 = 0x04;
/// Beginning of the text of a private key.
const PRIVATE: &str = "PRIVATE+KEY+";

/// A text that is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of signed notes: {0}")]
pub struct InvalidKey(&'static str);

/// The name of a key: without spaces, control characters or plus signs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Returns the name, if the text can be one; at most 256 bytes.
    pub fn new(name: &str) -> Option<Self> {
        let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        let valid = !name.is_empty() && name.len() <= 256 && name.chars().all(fits);
        valid.then(|| Self(name.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A public key that verifies signatures, written as a *vkey*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    algorithm: u8,
    public: [u8; 32],
}

impl VerifierKey {
    /// Returns the name of the key.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Returns the first bytes of the hash that names the key.
    pub fn id(&self) -> [u8; 4] {
        let name = format!("{}\n", self.name.as_str());
        let key = [&[self.algorithm][..], &self.public].concat();
        let hash = of_two(name.as_bytes(), &key);
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Returns whether the key is that of a witness, which signs the time too.
    pub fn is_witness(&self) -> bool {
        self.algorithm == COSIGNATURE
    }

    /// Returns whether a signature is that of the key over the text of a note.
    pub(super) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        match self.algorithm {
            COSIGNATURE => cosigned_at(signature).is_some_and(|(time, signature)| {
                let message = format!("cosignature/v1\ntime {time}\n{text}");
                key.verify(message.as_bytes(), signature).is_ok()
            }),
            _ => key.verify(text.as_bytes(), signature).is_ok(),
        }
    }
}

/// Splits a cosignature into its time, in seconds since the epoch, and the signature.
fn cosigned_at(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = signature.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), signature))
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.algorithm][..], &self.public].concat();
        let (name, id) = (self.name.as_str(), HEXLOWER.encode(&self.id()));
        write!(f, "{name}+{id}+{}", BASE64.encode(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = InvalidKey("expected name+id+base64 of a public key");
        let parts: Vec<_> = text.splitn(3, '+').collect();
        let &[name, id, key] = &parts[..] else {
            return Err(malformed);
        };
        let name = KeyName::new(name).ok_or(malformed)?;
        let key = BASE64.decode(key.as_bytes()).map_err(|_| malformed)?;
        let (algorithm, public) = key.split_first().ok_or(malformed)?;
        if ![NOTE, COSIGNATURE].contains(algorithm) {
            return Err(InvalidKey("only Ed25519 keys (types 1 and 4) are known"));
        }
        let key = Self {
            name,
            algorithm: *algorithm,
            public: public.try_into().map_err(|_| malformed)?,
        };
        match HEXLOWER.encode(&key.id()) == id {
            true => Ok(key),
            false => Err(InvalidKey("the id is not that of the name and the key")),
        }
    }
}

/// A private key that signs notes.
pub struct SigningKey {
    name: KeyName,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier())
    }
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate(name: &KeyName) -> Result<Self, InvalidKey> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| InvalidKey("the system gives no random numbers"))?;
        Self::from_seed(name.clone(), seed)
    }

    fn from_seed(name: KeyName, seed: [u8; 32]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|_| InvalidKey("the seed is not that of an Ed25519 key"))?;
        Ok(Self { name, seed, pair })
    }

    /// Parses the text that [`to_text`](Self::to_text) writes.
    ///
    /// # Errors
    /// The text is not a private key.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let malformed = InvalidKey("expected PRIVATE+KEY+name+id+base64");
        let rest = text.trim().strip_prefix(PRIVATE).ok_or(malformed)?;
        let parts: Vec<_> = rest.splitn(3, '+').collect();
        let &[name, id, key] = &parts[..] else {
            return Err(malformed);
        };
        let name = KeyName::new(name).ok_or(malformed)?;
        let key = BASE64.decode(key.as_bytes()).map_err(|_| malformed)?;
        let Some((&NOTE, seed)) = key.split_first() else {
            return Err(InvalidKey("only Ed25519 keys are known"));
        };
        let key = Self::from_seed(name, seed.try_into().map_err(|_| malformed)?)?;
        match HEXLOWER.encode(&key.verifier().id()) == id {
            true => Ok(key),
            false => Err(InvalidKey("the id is not that of the name and the key")),
        }
    }

    /// Returns the key as text. It is a secret.
    pub fn to_text(&self) -> String {
        let key = [&[NOTE][..], &self.seed].concat();
        let (name, id) = (self.name.as_str(), HEXLOWER.encode(&self.verifier().id()));
        format!("{PRIVATE}{name}+{id}+{}", BASE64.encode(&key))
    }

    /// Returns the name of the key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Returns the same key under another name.
    ///
    /// # Errors
    /// The key cannot be made again.
    pub fn named(&self, name: &KeyName) -> Result<Self, InvalidKey> {
        Self::from_seed(name.clone(), self.seed)
    }

    /// Returns the key that verifies signatures of this one.
    pub fn verifier(&self) -> VerifierKey {
        let mut public = [0; 32];
        public.copy_from_slice(self.pair.public_key().as_ref());
        VerifierKey {
            name: self.name.clone(),
            algorithm: NOTE,
            public,
        }
    }

    /// Signs the text of a note.
    pub(super) fn sign(&self, text: &str) -> Signature {
        Signature {
            name: self.name.as_str().to_owned(),
            key_id: self.verifier().id(),
            bytes: self.pair.sign(text.as_bytes()).as_ref().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_spelling() {
        let name = KeyName::new("deia.example/audit").unwrap();
        let key = SigningKey::generate(&name).unwrap();
        let text = key.to_text();
        let again = SigningKey::parse(&format!("{text}\n")).unwrap();
        assert_eq!(again.verifier(), key.verifier());
        let public = key.verifier().to_string();
        assert_eq!(public.parse(), Ok(key.verifier()));
        assert!(!format!("{key:?}").contains(&text[text.len() - 20..]));
        let other_name = public.replace("audit", "other");
        assert!(other_name.parse::<VerifierKey>().is_err());
        for text in ["", "a+b", "a+00000000+AQ==", "a+00000000+!"] {
            assert!(text.parse::<VerifierKey>().is_err(), "{text}");
            assert!(SigningKey::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_without_spaces_and_plus_signs() {
        for (name, valid) in [
            ("a", true),
            ("example.com/log", true),
            ("", false),
            ("a b", false),
            ("a+b", false),
            ("a\u{a0}b", false),
        ] {
            assert_eq!(KeyName::new(name).is_some(), valid, "{name}");
        }
    }
}
