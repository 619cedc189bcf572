//! Reasons why a command was not applied, and the meaning of errors of SQLite for
//! callers.

use rusqlite::{ErrorCode, ffi};

use crate::{Rejection, Shortage, StoreError};

/// Reason why a command was not applied.
pub(super) enum ApplyError {
    /// The command conflicts with the stored state.
    Refused(Rejection),
    /// SQLite failed: the whole transaction must be rolled back.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for ApplyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Rejection> for ApplyError {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

/// Converts an error of SQLite to the error that the caller gets.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(Shortage::default()),
        // The index of the write-ahead log is a file as well, and could not grow.
        Some(ErrorCode::SystemIoFailure) if extended(error) == ffi::SQLITE_IOERR_SHMSIZE => {
            StoreError::Full(Shortage::default())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::OperationInterrupted) => StoreError::ReadTimeout,
        _ => StoreError::Failed(error.to_string()),
    }
}

/// Returns whether the file can no longer be trusted through this connection: after a
/// failed fsync nobody knows what is on disk until it is opened again.
pub(super) fn is_fatal(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Returns whether the operating system refused to read or write.
pub(super) fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// Consequence of a checkpoint that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckpointFault {
    /// There was no space. The log stays until there is.
    Full,
    /// A lock was held. The next checkpoint does the work.
    Later,
    /// The state of pages on disk is unknown: the process must end, so that the next
    /// one writes all of the log again.
    Untrusted,
}

/// Decides the consequence of a failed checkpoint. `full`: the disk has no space.
pub(super) fn checkpoint_fault(error: &rusqlite::Error, full: bool) -> CheckpointFault {
    let failed_sync = matches!(
        extended(error),
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC
    );
    match (full, is_fatal(error)) {
        // A sync that fails for lack of space has lost pages like any other.
        _ if failed_sync => CheckpointFault::Untrusted,
        (true, _) => CheckpointFault::Full,
        (false, true) => CheckpointFault::Untrusted,
        (false, false) => CheckpointFault::Later,
    }
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
    fn a_failed_checkpoint_is_fatal_unless_the_disk_is_full_or_busy() {
        use CheckpointFault::{Full, Later, Untrusted};
        for (code, full, expected) in [
            (ffi::SQLITE_FULL, true, Full),
            (ffi::SQLITE_IOERR_WRITE, true, Full),
            (ffi::SQLITE_IOERR_WRITE, false, Untrusted),
            (ffi::SQLITE_IOERR_TRUNCATE, false, Untrusted),
            (ffi::SQLITE_IOERR_FSYNC, false, Untrusted),
            (ffi::SQLITE_IOERR_FSYNC, true, Untrusted),
            (ffi::SQLITE_CORRUPT, false, Untrusted),
            (ffi::SQLITE_BUSY, false, Later),
            (ffi::SQLITE_LOCKED, false, Later),
            (ffi::SQLITE_NOMEM, false, Later),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(checkpoint_fault(&error, full), expected, "{error} {full}");
        }
    }

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
