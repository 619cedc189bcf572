//! Signatures of Standard Webhooks (specification 1.0.0, "Signature scheme"). Pure, but for the
//! random numbers of new secrets.

use std::fmt;

use data_encoding::BASE64;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};

/// Prefixes of serialized secrets: symmetric, private, public.
const SYMMETRIC: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

/// Bytes that a symmetric secret may have. Fact: the specification of Standard Webhooks.
const SYMMETRIC_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of a new symmetric secret: those of the hash, beyond which more add nothing.
/// Fact: FIPS 180-4: SHA-256 gives 32 bytes.
const NEW_SYMMETRIC_BYTES: usize = 32;
/// Bytes of the seed of an Ed25519 key (RFC 8032, 5.1.5), and of its public key. Fact:
/// RFC 8032, 5.1.5.
const ED25519_BYTES: usize = 32;

/// A secret that deliveries to an endpoint are signed with.
///
/// `Debug` does not show it; [`Self::reveal`] does.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum WebhookSecret {
    /// Key of HMAC-SHA256, which the receiver has too: `whsec_` and base64.
    Symmetric(Vec<u8>),
    /// Seed of an Ed25519 key pair, of which the receiver has the public half: `whsk_` and
    /// base64 of the seed and the public key.
    Ed25519([u8; ED25519_BYTES]),
}

/// Reason why a text is not a secret. Has nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    /// The prefix is that of a public key, which cannot sign.
    #[error("whpk_ is a public key, which cannot sign; use the private key, whsk_")]
    PublicKey,
    /// The prefix is neither `whsec_` nor `whsk_`.
    #[error("a signing secret begins with whsec_ (HMAC-SHA256) or whsk_ (Ed25519)")]
    Prefix,
    /// The rest is not base64 with padding.
    #[error("the part after the prefix is not base64 (standard alphabet, with padding)")]
    Base64,
    /// A symmetric secret is too short or too long.
    #[error("the secret has {0} bytes; 24 to 64 are allowed")]
    Length(usize),
    /// A private key is not a seed and its public key.
    #[error("the private key is not an Ed25519 key pair: 32 bytes of seed, then its public key")]
    KeyPair,
    /// The system gave no random numbers.
    #[error("the system provided no random numbers")]
    Random,
}

impl WebhookSecret {
    /// Generates a symmetric secret.
    ///
    /// # Errors
    /// [`SecretError::Random`]
    pub(crate) fn generate() -> Result<Self, SecretError> {
        Ok(Self::Symmetric(random::<NEW_SYMMETRIC_BYTES>()?.to_vec()))
    }

    /// Generates an Ed25519 key pair.
    ///
    /// # Errors
    /// [`SecretError::Random`]
    pub(crate) fn generate_ed25519() -> Result<Self, SecretError> {
        Ok(Self::Ed25519(random()?))
    }

    /// Reads a serialized secret.
    ///
    /// # Errors
    /// [`SecretError`]
    pub(crate) fn parse(text: &str) -> Result<Self, SecretError> {
        let decode = |base64: &str| BASE64.decode(base64.as_bytes());
        if let Some(base64) = text.strip_prefix(SYMMETRIC) {
            let key = decode(base64).map_err(|_| SecretError::Base64)?;
            return match SYMMETRIC_BYTES.contains(&key.len()) {
                true => Ok(Self::Symmetric(key)),
                false => Err(SecretError::Length(key.len())),
            };
        }
        let Some(base64) = text.strip_prefix(PRIVATE) else {
            return Err(match text.starts_with(PUBLIC) {
                true => SecretError::PublicKey,
                false => SecretError::Prefix,
            });
        };
        let pair = decode(base64).map_err(|_| SecretError::Base64)?;
        let (seed, public) = pair
            .split_first_chunk::<ED25519_BYTES>()
            .ok_or(SecretError::KeyPair)?;
        // Fails if the public key is not that of the seed.
        Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| SecretError::KeyPair)?;
        Ok(Self::Ed25519(*seed))
    }

    /// Reads a serialized secret, or takes a text without the prefix of one as the key itself.
    ///
    /// # Errors
    /// [`SecretError`]: a serialized secret that is malformed, or a key that is too short.
    pub(crate) fn parse_or_raw(text: &str) -> Result<Self, SecretError> {
        match Self::parse(text) {
            Err(SecretError::Prefix) if text.len() < *SYMMETRIC_BYTES.start() => {
                Err(SecretError::Length(text.len()))
            }
            Err(SecretError::Prefix) => Ok(Self::Symmetric(text.as_bytes().to_vec())),
            other => other,
        }
    }

    /// Returns the serialized secret, as it is shown once and kept in the secret store.
    pub(crate) fn reveal(&self) -> String {
        match self {
            Self::Symmetric(key) => format!("{SYMMETRIC}{}", BASE64.encode(key)),
            Self::Ed25519(seed) => {
                let mut pair = seed.to_vec();
                pair.extend(
                    key_pair(seed)
                        .iter()
                        .flat_map(|pair| pair.public_key().as_ref()),
                );
                format!("{PRIVATE}{}", BASE64.encode(&pair))
            }
        }
    }

    /// Returns the serialized public key that verifies the signatures; a symmetric secret has
    /// none.
    pub(crate) fn public_key(&self) -> Option<String> {
        match self {
            Self::Symmetric(_) => None,
            Self::Ed25519(seed) => {
                let pair = key_pair(seed)?;
                Some(format!(
                    "{PUBLIC}{}",
                    BASE64.encode(pair.public_key().as_ref())
                ))
            }
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symmetric(_) => f.write_str("WebhookSecret(whsec_..)"),
            Self::Ed25519(_) => f.write_str("WebhookSecret(whsk_..)"),
        }
    }
}

/// A secret made ready to sign, so that a delivery does not pay for it again.
pub(crate) enum SigningKey {
    /// HMAC-SHA256: signatures `v1,..`.
    Symmetric(hmac::Key),
    /// Ed25519: signatures `v1a,..`.
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Makes a secret ready to sign.
    ///
    /// # Errors
    /// [`SecretError::KeyPair`], which a secret that was parsed or generated never gives.
    pub(crate) fn new(secret: &WebhookSecret) -> Result<Self, SecretError> {
        Ok(match secret {
            WebhookSecret::Symmetric(key) => {
                Self::Symmetric(hmac::Key::new(hmac::HMAC_SHA256, key))
            }
            WebhookSecret::Ed25519(seed) => {
                Self::Ed25519(Box::new(key_pair(seed).ok_or(SecretError::KeyPair)?))
            }
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symmetric(_) => f.write_str("SigningKey(v1)"),
            Self::Ed25519(_) => f.write_str("SigningKey(v1a)"),
        }
    }
}

/// Returns the value of the header `webhook-signature`: one signature for each key, separated by
/// spaces. The keys overlap while a secret is rotated.
///
/// `id` is that of the header `webhook-id`, `timestamp` that of `webhook-timestamp` in seconds
/// of Unix time. The receiver cannot tell where an id ends that has a full stop, so ids have
/// none.
pub(crate) fn sign(id: &str, timestamp: i64, body: &[u8], keys: &[SigningKey]) -> String {
    debug_assert!(!id.contains('.'), "{id} has a full stop");
    let head = format!("{id}.{timestamp}.");
    let signature = |key: &SigningKey| match key {
        SigningKey::Symmetric(key) => {
            let mut context = hmac::Context::with_key(key);
            context.update(head.as_bytes());
            context.update(body);
            format!("v1,{}", BASE64.encode(context.sign().as_ref()))
        }
        SigningKey::Ed25519(pair) => {
            let message = [head.as_bytes(), body].concat();
            format!("v1a,{}", BASE64.encode(pair.sign(&message).as_ref()))
        }
    };
    keys.iter().map(signature).collect::<Vec<_>>().join(" ")
}

/// Returns the key pair of a seed. Every 32 bytes are a seed.
fn key_pair(seed: &[u8; ED25519_BYTES]) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed).ok()
}

fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| SecretError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
