//! Commands about stored secrets. Values are sealed before they come here.

use deia_model::{SecretInfo, SecretName};

use super::{Command, Reply, ledger_command};

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

/// Any command about stored secrets, as a store gets it.
#[derive(Clone, Debug)]
pub enum SecretCommand {
    /// See [`PutSecret`].
    Put(PutSecret),
    /// See [`DeleteSecret`].
    Delete(DeleteSecret),
    /// See [`ResealSecrets`].
    Reseal(ResealSecrets),
}

/// Puts a secret in place, or another value into its place. Replies with whether it is
/// new.
#[derive(Clone, Debug)]
pub struct PutSecret {
    /// Name of the secret.
    pub name: SecretName,
    /// Sealed value.
    pub sealed: Vec<u8>,
    /// Name of the caller.
    pub actor: String,
    /// Maximum number of secrets.
    pub max: u32,
}

ledger_command!(
    PutSecret,
    |command| Command::Secret(SecretCommand::Put(command)),
    bool,
    Reply::Done(n) => n > 0
);

/// Removes a secret.
#[derive(Clone, Debug)]
pub struct DeleteSecret {
    /// Name of the secret.
    pub name: SecretName,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    DeleteSecret,
    |command| Command::Secret(SecretCommand::Delete(command)),
    (),
    Reply::Done(_) => ()
);

/// Seals secrets with another key, all or none. Replies with how many were.
#[derive(Clone, Debug)]
pub struct ResealSecrets {
    /// The secrets.
    pub secrets: Vec<Resealed>,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    ResealSecrets,
    |command| Command::Secret(SecretCommand::Reseal(command)),
    u64,
    Reply::Done(n) => n
);
