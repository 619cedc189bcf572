//! Commands about stored secrets. Values are sealed before they come here.

use deia_model::{SecretInfo, SecretName};

/// A stored secret, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// Description of the secret, without its value.
    pub info: SecretInfo,
    /// Sealed value.
    pub sealed: Vec<u8>,
}

/// A secret that is sealed with another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// Name of the secret.
    pub name: SecretName,
    /// As it was sealed; one that was changed since is left as it is.
    pub was: Vec<u8>,
    /// As it is to be sealed.
    pub sealed: Vec<u8>,
}

/// Something durable to do about stored secrets.
#[derive(Clone, Debug)]
pub enum SecretCommand {
    /// Put a secret in place, or another value into its place. Answered with the
    /// number of secrets that are new.
    Put {
        /// Name of the secret.
        name: SecretName,
        /// Sealed value.
        sealed: Vec<u8>,
        /// Name of the caller.
        actor: String,
        /// Secrets at most.
        max: u32,
    },
    /// Remove a secret.
    Delete {
        /// Name of the secret.
        name: SecretName,
        /// Name of the caller.
        actor: String,
    },
    /// Seal secrets with another key, all or none. Answered with how many were.
    Reseal {
        /// The secrets.
        secrets: Vec<Resealed>,
        /// Name of the caller.
        actor: String,
    },
}
