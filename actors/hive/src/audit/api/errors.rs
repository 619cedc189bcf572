//! Errors of reads of the trail, as callers get them.

use deia_model::Violation;
use deia_trail::{ReadError, tile::TileId};

use super::super::query::AuditReadError;
use crate::HiveError;

/// Returns the error of a query.
pub(super) fn of_read(error: AuditReadError) -> HiveError {
    match error {
        AuditReadError::BadCursor => HiveError::BadCursor,
        AuditReadError::NoEntry(index) | AuditReadError::Pruned(index) => HiveError::NotFound {
            kind: "entry",
            id: index.to_string(),
        },
        AuditReadError::Sizes { from, to, size } => HiveError::Invalid(vec![Violation {
            pointer: "/from".into(),
            detail: format!(
                "is {from} and to is {to}; allowed are sizes of the trail, which has {size} \
                 entries, and from no greater than to"
            ),
        }]),
        AuditReadError::Index(error) => HiveError::Internal(error.to_string()),
        AuditReadError::Damaged(_) => HiveError::Internal(error.to_string()),
        AuditReadError::Trail(error) => unreadable(error),
    }
}

/// Returns the error of a file that cannot be read.
pub(super) fn unreadable(error: ReadError) -> HiveError {
    HiveError::Internal(format!("the audit trail cannot be read: {error}"))
}

/// Returns the error of a tile that the trail does not have.
pub(super) fn no_tile(id: TileId) -> HiveError {
    HiveError::NotFound {
        kind: "tile",
        id: id.to_string(),
    }
}
