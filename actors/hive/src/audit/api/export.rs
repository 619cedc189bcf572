//! Exports that are read piece by piece.

use super::{super::export::Export, errors};
use crate::HiveError;

/// An export under way.
#[derive(Debug)]
pub struct AuditExport {
    /// `None` after its end.
    rest: Option<Export>,
}

impl AuditExport {
    pub(super) fn new(export: Export) -> Self {
        Self { rest: Some(export) }
    }

    /// Returns the next piece; `None` at the end, and after an error.
    ///
    /// # Errors
    /// The trail or its index cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, HiveError> {
        let Some(mut export) = self.rest.take() else {
            return Ok(None);
        };
        let reading = move || (export.next(), export);
        let (piece, export) = tokio::task::spawn_blocking(reading)
            .await
            .map_err(|error| HiveError::Internal(error.to_string()))?;
        match piece {
            Some(Ok(bytes)) => {
                self.rest = Some(export);
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(errors::of_read(error)),
            None => Ok(None),
        }
    }
}
