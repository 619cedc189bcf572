//! Reads of bots.

use deia_model::{BotName, BotRecord};

use super::{BoxFuture, StoreError};

/// Reads the stored bots.
pub trait BotReads: Send + Sync + 'static {
    /// Returns all bots, by name.
    fn bots(&self) -> BoxFuture<'_, Result<Vec<BotRecord>, StoreError>>;

    /// Returns one bot.
    fn bot(&self, name: BotName) -> BoxFuture<'_, Result<Option<BotRecord>, StoreError>>;
}
