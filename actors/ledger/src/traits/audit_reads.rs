//! Reads of what the store knows about the audit trail.

use super::{BoxFuture, StoreError};
use crate::SealedTrail;

/// Reads what the store knows about the audit trail.
pub trait AuditReads: Send + Sync + 'static {
    /// Returns the last checkpoint that was noted; `None` if none was.
    fn sealed_trail(&self) -> BoxFuture<'_, Result<Option<SealedTrail>, StoreError>>;
}
