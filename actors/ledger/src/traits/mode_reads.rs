//! Reads of the level that an operator has set.

use deia_model::OperatorLevel;

use super::{BoxFuture, StoreError};

/// Reads the level that an operator has set.
pub trait ModeReads: Send + Sync + 'static {
    /// Returns the level, if one is set, even if its time is over.
    fn operator_level(&self) -> BoxFuture<'_, Result<Option<OperatorLevel>, StoreError>>;
}
