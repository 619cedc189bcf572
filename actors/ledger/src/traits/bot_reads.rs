//! Reads of bots.

use deia_model::{BotName, BotRecord};

use super::{BoxFuture, StoreError};
use crate::HeldAttempt;

/// Reads the stored bots.
pub trait BotReads: Send + Sync + 'static {
    /// Returns all bots, by name.
    fn bots(&self) -> BoxFuture<'_, Result<Vec<BotRecord>, StoreError>>;

    /// Returns one bot.
    fn bot(&self, name: BotName) -> BoxFuture<'_, Result<Option<BotRecord>, StoreError>>;

    /// Returns the running attempts of a bot under leases that expire.
    fn held_attempts(&self, bot: BotName) -> BoxFuture<'_, Result<Vec<HeldAttempt>, StoreError>>;
}
