//! Exports: records as JSON lines or CSV, and proofs for third parties.

mod csv;
mod proof;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use deia_model::{AuditFilter, AuditOrder, AuditRecord, PageRequest};

use super::query::{AuditReadError, AuditReads};

/// Number of records that are read at a time.
const RECORDS: u32 = 500;
/// Bytes after which a chunk ends.
const CHUNK_BYTES: usize = 64 << 10;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    /// One JSON object a line.
    JsonLines,
    /// RFC 4180, with a header.
    Csv,
}

impl ExportFormat {
    fn header(self) -> Option<Vec<u8>> {
        match self {
            Self::JsonLines => None,
            Self::Csv => Some(csv::header().into_bytes()),
        }
    }

    fn write(self, record: &AuditRecord, out: &mut Vec<u8>) {
        match self {
            Self::JsonLines => {
                // Writing a record to memory does not fail.
                if serde_json::to_writer(&mut *out, record).is_ok() {
                    out.push(b'\n');
                }
            }
            Self::Csv => out.extend(csv::row(record).into_bytes()),
        }
    }
}

/// An export under way: chunks of bytes, the oldest record first. It blocks. An error ends it,
/// so that an export with a gap does not look complete.
#[derive(Debug)]
pub(crate) struct Export {
    reads: Arc<AuditReads>,
    filter: AuditFilter,
    format: ExportFormat,
    records: VecDeque<AuditRecord>,
    cursor: Option<String>,
    header: Option<Vec<u8>>,
    is_read: bool,
}

impl AuditReads {
    /// Begins an export of the records that match the filter and that the index has now.
    ///
    /// # Errors
    /// The trail or its index cannot be read.
    pub(crate) fn export(
        self: &Arc<Self>,
        mut filter: AuditFilter,
        format: ExportFormat,
    ) -> Result<Export, AuditReadError> {
        let one = PageRequest {
            limit: 1,
            cursor: None,
        };
        let nothing = AuditFilter {
            to_entry: Some(0),
            ..AuditFilter::default()
        };
        let state = self.query(&nothing, AuditOrder::OldestFirst, &one)?;
        let to = filter.to_entry.unwrap_or(u64::MAX);
        filter.to_entry = Some(to.min(state.indexed_upto));
        Ok(Export {
            reads: self.clone(),
            filter,
            format,
            records: VecDeque::new(),
            cursor: None,
            header: format.header(),
            is_read: false,
        })
    }
}

impl Export {
    /// Reads the next records, if there are more.
    fn read(&mut self) -> Result<(), AuditReadError> {
        while self.records.is_empty() && !self.is_read {
            let request = PageRequest {
                limit: RECORDS,
                cursor: self.cursor.take(),
            };
            let page = self
                .reads
                .query(&self.filter, AuditOrder::OldestFirst, &request)?;
            if let Some(damaged) = page.unreadable.into_iter().next() {
                return Err(AuditReadError::Damaged(damaged));
            }
            self.records.extend(page.items);
            self.is_read = page.next_cursor.is_none();
            self.cursor = page.next_cursor;
        }
        Ok(())
    }
}

impl Iterator for Export {
    type Item = Result<Vec<u8>, AuditReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = self.header.take().unwrap_or_default();
        while chunk.len() < CHUNK_BYTES {
            if let Err(error) = self.read() {
                self.is_read = true;
                self.records.clear();
                return Some(Err(error));
            }
            let Some(record) = self.records.pop_front() else {
                break;
            };
            self.format.write(&record, &mut chunk);
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    }
}
