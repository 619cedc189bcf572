//! The secret of an endpoint: its signing keys and the values of its headers, sealed in the
//! secret store.

use std::{collections::BTreeMap, fmt};

use deia_ledger::{SealedWebhookSecret, SecretNotes};
use deia_model::{SecretName, SignatureScheme, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};

use crate::{
    HiveError,
    outgoing::signature::{SigningKey, WebhookSecret},
    secrets::{SealingKeys, SecretValue},
};

/// The keys of an endpoint, and the values of its headers.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct EndpointKeys {
    /// The keys in force, at most one of each scheme.
    current: Vec<String>,
    /// The keys before the last rotation.
    #[serde(default)]
    previous: Vec<String>,
    /// Time until which those sign as well.
    #[serde(default)]
    previous_until: Option<Timestamp>,
    /// Headers of each delivery.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

impl fmt::Debug for EndpointKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointKeys(not shown)")
    }
}

fn scheme_of(key: &str) -> SignatureScheme {
    match key.starts_with("whsk_") {
        true => SignatureScheme::V1a,
        false => SignatureScheme::V1,
    }
}

fn internal(error: impl fmt::Display) -> HiveError {
    HiveError::Internal(format!("keys of a webhook: {error}"))
}

fn fresh(scheme: SignatureScheme) -> Result<String, HiveError> {
    let secret = match scheme {
        SignatureScheme::V1 => WebhookSecret::generate(),
        SignatureScheme::V1a => WebhookSecret::generate_ed25519(),
    };
    Ok(secret.map_err(internal)?.reveal())
}

impl EndpointKeys {
    /// Makes a fresh key of each scheme.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub(super) fn generate(
        schemes: &[SignatureScheme],
        headers: BTreeMap<String, String>,
    ) -> Result<Self, HiveError> {
        let current = schemes.iter().map(|scheme| fresh(*scheme));
        Ok(Self {
            current: current.collect::<Result<_, _>>()?,
            headers,
            ..Self::default()
        })
    }

    /// Drops keys of other schemes, and makes a fresh key of each scheme that has none.
    /// Returns true if there is a new `v1` secret.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub(super) fn set_schemes(&mut self, schemes: &[SignatureScheme]) -> Result<bool, HiveError> {
        let has = |keys: &[String], scheme| keys.iter().any(|key| scheme_of(key) == scheme);
        let had_v1 = has(&self.current, SignatureScheme::V1);
        self.current.retain(|key| schemes.contains(&scheme_of(key)));
        self.previous
            .retain(|key| schemes.contains(&scheme_of(key)));
        for scheme in schemes {
            if !has(&self.current, *scheme) {
                self.current.push(fresh(*scheme)?);
            }
        }
        Ok(!had_v1 && has(&self.current, SignatureScheme::V1))
    }

    /// Replaces all keys by fresh ones. The previous ones sign as well until then.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub(super) fn rotate(&mut self, previous_until: Timestamp) -> Result<(), HiveError> {
        let schemes: Vec<_> = self.current.iter().map(|key| scheme_of(key)).collect();
        let fresh = schemes.into_iter().map(fresh);
        let fresh = fresh.collect::<Result<Vec<_>, _>>()?;
        self.previous = std::mem::replace(&mut self.current, fresh);
        self.previous_until = Some(previous_until);
        Ok(())
    }

    /// Returns the shared secret that receivers verify `v1` signatures with.
    pub(super) fn shared_secret(&self) -> Option<&str> {
        let shared = |key: &&String| scheme_of(key) == SignatureScheme::V1;
        self.current.iter().find(shared).map(String::as_str)
    }

    /// Returns the keys that sign at that time, those in force first.
    ///
    /// # Errors
    /// A stored key is malformed.
    pub(super) fn signing(&self, now: Timestamp) -> Result<Vec<SigningKey>, HiveError> {
        let overlaps = self.previous_until.is_some_and(|until| until > now);
        let previous = self.previous.iter().filter(|_| overlaps);
        let keys = self.current.iter().chain(previous).map(|text| {
            let secret = WebhookSecret::parse(text).map_err(internal)?;
            SigningKey::new(&secret).map_err(internal)
        });
        keys.collect()
    }

    /// Returns the time at which other keys sign than now.
    pub(super) fn sign_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.previous_until.filter(|until| *until > now)
    }

    /// Seals the keys for the store.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub(super) fn seal(
        &self,
        id: WebhookId,
        sealing: &SealingKeys,
    ) -> Result<SealedWebhookSecret, HiveError> {
        let bytes = serde_json::to_vec(self).map_err(internal)?;
        let sealed = sealing.seal(&SecretName::of_webhook(id), &SecretValue::new(bytes));
        let asymmetric = |key: &&String| scheme_of(key) == SignatureScheme::V1a;
        let public_key = match self.current.iter().find(asymmetric) {
            Some(key) => WebhookSecret::parse(key).map_err(internal)?.public_key(),
            None => None,
        };
        Ok(SealedWebhookSecret {
            sealed: sealed.map_err(internal)?,
            notes: SecretNotes {
                public_key,
                old_secret_until: self.previous_until,
            },
        })
    }

    /// Opens keys that the store has.
    ///
    /// # Errors
    /// They cannot be opened: `secrets.key` is another one.
    pub(super) fn open(
        id: WebhookId,
        sealed: &[u8],
        sealing: &SealingKeys,
    ) -> Result<Self, HiveError> {
        let opened = sealing
            .open(&SecretName::of_webhook(id), sealed)
            .map_err(internal)?;
        serde_json::from_slice(opened.reveal()).map_err(internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SignatureScheme::{V1, V1a};

    #[test]
    fn rotation_signs_with_both_keys_for_a_while() {
        let mut keys = EndpointKeys::generate(&[V1, V1a], BTreeMap::new()).unwrap();
        let at = Timestamp::from_millis;
        let before = keys.shared_secret().unwrap().to_owned();
        assert_eq!(keys.signing(at(0)).unwrap().len(), 2);
        keys.rotate(at(10)).unwrap();
        assert_ne!(keys.shared_secret().unwrap(), before);
        assert_eq!(keys.signing(at(9)).unwrap().len(), 4);
        assert_eq!(keys.signing(at(10)).unwrap().len(), 2);
    }

    #[test]
    fn sealed_keys_open_for_their_endpoint_only() {
        let sealing = SealingKeys::generate().unwrap();
        let headers = BTreeMap::from([("x-team".to_owned(), "hunter2".to_owned())]);
        let keys = EndpointKeys::generate(&[V1, V1a], headers).unwrap();
        let (id, other) = (WebhookId::new(), WebhookId::new());
        let secret = keys.seal(id, &sealing).unwrap();
        assert!(secret.notes.public_key.unwrap().starts_with("whpk_"));
        let opened = EndpointKeys::open(id, &secret.sealed, &sealing).unwrap();
        assert_eq!(opened.shared_secret(), keys.shared_secret());
        assert_eq!(opened.headers["x-team"], "hunter2");
        assert!(EndpointKeys::open(other, &secret.sealed, &sealing).is_err());
        assert!(!format!("{keys:?}").contains("whsec_"));
    }

    #[test]
    fn added_scheme_gets_a_key_and_a_dropped_one_loses_it() {
        let mut keys = EndpointKeys::generate(&[V1a], BTreeMap::new()).unwrap();
        assert!(keys.set_schemes(&[V1, V1a]).unwrap());
        let secret = keys.shared_secret().unwrap().to_owned();
        assert!(!keys.set_schemes(&[V1]).unwrap());
        assert_eq!(keys.shared_secret(), Some(&*secret));
        assert_eq!(keys.signing(Timestamp::from_millis(0)).unwrap().len(), 1);
    }
}
