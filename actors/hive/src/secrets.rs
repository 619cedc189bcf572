//! Secrets: how they are kept, and how the programs of bots come by them.

mod resolve;
mod seal;

pub(crate) use resolve::{BotSecrets, SecretResolver};
pub use seal::SealError;
pub(crate) use seal::{SealingKeys, SecretValue};
