//! What errors of SQLite mean for those who asked.

use rusqlite::{ErrorCode, ffi};

use crate::ledger::StoreError;

/// What a caller is told of an error of SQLite.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        // The index of the write-ahead log is a file, too, and could not grow.
        Some(ErrorCode::SystemIoFailure) if extended(error) == ffi::SQLITE_IOERR_SHMSIZE => {
            StoreError::Full
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::OperationInterrupted) => StoreError::ReadTimeout,
        _ => StoreError::Failed(error.to_string()),
    }
}

/// Whether the file can no longer be trusted through this connection: after a
/// failed fsync nobody knows what is on disk until it is opened anew.
pub(super) fn is_fatal(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Whether the operating system refused to read or write.
pub(super) fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

fn extended(error: &rusqlite::Error) -> i32 {
    error
        .sqlite_error()
        .map_or(0, |failure| failure.extended_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_told_as_what_it_is() {
        let error = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        for (code, told, fatal) in [
            (ffi::SQLITE_FULL, "Full", false),
            (ffi::SQLITE_IOERR_SHMSIZE, "Full", true),
            (ffi::SQLITE_IOERR_FSYNC, "Failed", true),
            (ffi::SQLITE_IOERR_WRITE, "Failed", true),
            (ffi::SQLITE_CORRUPT, "Failed", true),
            (ffi::SQLITE_NOTADB, "Failed", true),
            (ffi::SQLITE_BUSY, "Busy", false),
            (ffi::SQLITE_LOCKED, "Busy", false),
            (ffi::SQLITE_INTERRUPT, "ReadTimeout", false),
            (ffi::SQLITE_CONSTRAINT, "Failed", false),
        ] {
            let error = error(code);
            assert!(
                format!("{:?}", store_error(&error)).starts_with(told),
                "{error}"
            );
            assert_eq!(is_fatal(&error), fatal, "{error}");
        }
    }
}
