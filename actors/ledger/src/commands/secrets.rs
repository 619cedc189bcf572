//! Commands about stored secrets. Values are sealed before they reach the ledger.

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

/// A secret that was sealed again with another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// Name of the secret.
    pub name: SecretName,
    /// The old sealed value; a secret that was changed since is left as it is.
    pub was: Vec<u8>,
    /// The new sealed value.
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

/// Creates a secret or replaces its value. Replies with whether it is new.
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

/// Deletes a secret.
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

/// Replaces the sealed values of secrets, all or none. Replies with the number
/// replaced.
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
