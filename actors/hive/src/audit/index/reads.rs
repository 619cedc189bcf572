//! Reads of the index, beside its writer.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use rusqlite::Connection;

use super::{IndexError, schema, view::IndexView};

/// Maximum number of connections that are kept open. Fixed: a connection is opened within
/// a millisecond.
const IDLE_MAX: usize = 4;

/// Connections to the index for any number of threads.
#[derive(Debug)]
pub(crate) struct IndexReaders {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    db: Connection,
    /// Device and inode of the file. The writer may have replaced it.
    file: (u64, u64),
}

impl IndexReaders {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::default(),
        }
    }

    /// Reads one state of the index; `None` stands for an index that does not exist yet.
    ///
    /// # Errors
    /// It cannot be opened, or the read fails.
    pub(crate) fn read<T, E: From<IndexError>>(
        &self,
        read: impl FnOnce(Option<&IndexView<'_>>) -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(reader) = self.take()? else {
            return read(None);
        };
        let done = {
            let tx = reader
                .db
                .unchecked_transaction()
                .map_err(IndexError::from)?;
            let meta = schema::read_meta(&tx).map_err(IndexError::from)?;
            read(Some(&IndexView::new(&tx, meta)))
        };
        // After an error the connection is not used again.
        if done.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(reader);
            }
        }
        done
    }

    fn take(&self) -> Result<Option<Reader>, IndexError> {
        let file = match fs::metadata(&self.path) {
            Ok(metadata) => (metadata.dev(), metadata.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|reader| reader.file == file);
        if let Some(reader) = idle.pop() {
            return Ok(Some(reader));
        }
        drop(idle);
        let opened = schema::readable(&self.path)?;
        Ok(opened.map(|db| Reader { db, file }))
    }
}
