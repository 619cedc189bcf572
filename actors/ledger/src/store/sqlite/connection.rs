//! Connections to the file, and the settings of each kind.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi};

use super::options::SqliteOptions;

/// Maximum wait of a connection for another that holds the lock. Fixed: another process
/// holds the lock for moments only.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the writer's connection: durable before it answers, with explicit checkpoints.
pub(super) fn writable(options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let db = Connection::open(&options.path)?;
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        // Must come before the first table: later it would require a rewrite of the
        // whole file.
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let journal: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if let Some(why) = not_durable(&journal, synchronous) {
        return Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_CANTOPEN),
            Some(why),
        ));
    }
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A log that had to grow is truncated when it is restarted.
    db.pragma_update(
        None,
        "journal_size_limit",
        u64::from(options.checkpoint_pages) * 2 * 4_096,
    )?;
    db.pragma_update(
        None,
        "cache_size",
        -i64::try_from(options.cache_bytes / 1024).unwrap_or(i64::MAX),
    )?;
    if options.shipping.is_some() {
        // The last connection must not fold back a log that is not shipped.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "secure_delete", SECURE_DELETE)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(&db)?;
    Ok(db)
}

/// Value of `PRAGMA secure_delete`: deleted content is overwritten where its page is
/// written anyway, so that old versions of a row do not remain in pages in use.
pub(super) const SECURE_DELETE: &str = "FAST";
/// Like [`SECURE_DELETE`], including pages that are freed.
pub(super) const SECURE_DELETE_ALL: &str = "ON";

/// Value of `PRAGMA synchronous` for FULL. Fact: the documentation of the pragma.
const SYNCHRONOUS_FULL: i64 = 2;

/// Returns the reason why commits would not survive a power loss, if any. SQLite does
/// not fail when it cannot do what a PRAGMA asks.
fn not_durable(journal: &str, synchronous: i64) -> Option<String> {
    if !journal.eq_ignore_ascii_case("wal") {
        return Some(format!(
            "the file system has no shared memory for a write-ahead log (journal_mode is {journal}): choose a local one for data_dir"
        ));
    }
    (synchronous != SYNCHRONOUS_FULL).then(|| {
        format!(
            "synchronous is {synchronous}, not {SYNCHRONOUS_FULL}: commits would not be durable"
        )
    })
}
/// Opens a reader's connection.
pub(super) fn readable(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.pragma_update(None, "cache_size", -2_048)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(&db)?;
    Ok(db)
}

/// Keeps prepared statements and their plans. By default SQLite compiles some
/// statements again for each new bound value, to see whether another plan would suit it
/// better: on the writer, for every check of a caller's key.
fn keep_plans(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{SqliteStore, tests::options};

    #[test]
    fn only_a_synced_write_ahead_log_is_durable() {
        for (journal, synchronous, durable) in [
            ("wal", 2, true),
            ("WAL", 2, true),
            ("wal", 1, false),
            ("wal", 0, false),
            ("delete", 2, false),
            ("memory", 2, false),
        ] {
            let why = not_durable(journal, synchronous);
            assert_eq!(why.is_none(), durable, "{journal} {synchronous}: {why:?}");
        }
    }

    #[test]
    fn plans_do_not_depend_on_the_values_that_are_bound() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        drop(SqliteStore::open(options.clone()).unwrap());
        for db in [writable(&options), readable(&options.path)] {
            let db = db.unwrap();
            let keeps_plans = db.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG);
            assert!(keeps_plans.unwrap());
        }
    }
}
