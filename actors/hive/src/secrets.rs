//! Secrets: their storage, and their way to the programs of bots.

mod resolve;
mod seal;

pub(crate) use resolve::{BotSecrets, SecretResolver};
pub use seal::SealError;
pub(crate) use seal::{SealingKeys, SecretValue};
