//! The file of the index and its tables.

use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, params};

/// Version of the tables. A file of another one is built again. Fact: the format of the
/// index.
const VERSION: i64 = 1;

/// Maximum wait for another connection that holds the lock. Fixed: another connection
/// holds the lock for moments only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

// An entry is either a row of `entries`, or it is in the summary of its bundle, so that a
// change of the scope needs no other index. Hours count all entries.
const TABLES: &str = "
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        origin TEXT NOT NULL,
        position INTEGER NOT NULL,      -- number of entries that were taken in
        last BLOB,                      -- hash of the last of them
        unreadable INTEGER NOT NULL     -- number of them that are damaged
    ) STRICT;
    CREATE TABLE classes (
        id INTEGER PRIMARY KEY,
        action TEXT NOT NULL,
        level INTEGER NOT NULL,
        result INTEGER NOT NULL,
        UNIQUE (action, level, result)
    ) STRICT;
    CREATE TABLE actors (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

    CREATE TABLE entries (
        idx INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,            -- ms
        class INTEGER NOT NULL,
        actor INTEGER NOT NULL,
        target_type TEXT NOT NULL,
        target TEXT NOT NULL
    ) STRICT;
    CREATE INDEX entries_class ON entries (class);
    CREATE INDEX entries_actor ON entries (actor);
    CREATE INDEX entries_target ON entries (target);

    CREATE TABLE bundles (
        bundle INTEGER PRIMARY KEY,
        first_at INTEGER NOT NULL,      -- the earliest time, ms
        last_at INTEGER NOT NULL,       -- the latest time
        peak INTEGER NOT NULL,          -- the latest time of this bundle and all before
        is_back INTEGER NOT NULL,       -- whether a time is before the peak of the bundle before
        timeline INTEGER NOT NULL,      -- position of the first entry
        seq INTEGER NOT NULL,
        classes INTEGER NOT NULL        -- a bit for each class of entries without a row
    ) STRICT;
    CREATE INDEX bundles_peak ON bundles (peak);
    CREATE INDEX bundles_back ON bundles (first_at) WHERE is_back = 1;
    CREATE INDEX bundles_seq ON bundles (timeline, seq);
    CREATE TABLE timelines (timeline INTEGER PRIMARY KEY, first INTEGER NOT NULL) STRICT;
    -- Entries without a row.
    CREATE TABLE bundle_targets (bundle INTEGER PRIMARY KEY, sketch BLOB NOT NULL) STRICT;
    CREATE TABLE bundle_classes (
        class INTEGER, bundle INTEGER, n INTEGER NOT NULL, PRIMARY KEY (class, bundle)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE bundle_actors (
        actor INTEGER, bundle INTEGER, PRIMARY KEY (actor, bundle)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE erasable (
        idx INTEGER PRIMARY KEY, target_type TEXT NOT NULL, target TEXT NOT NULL
    ) STRICT;
    CREATE INDEX erasable_target ON erasable (target);

    CREATE TABLE hour_classes (
        hour INTEGER, class INTEGER, n INTEGER NOT NULL, PRIMARY KEY (hour, class)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE hour_actors (
        hour INTEGER, actor INTEGER, n INTEGER NOT NULL, PRIMARY KEY (hour, actor)
    ) STRICT, WITHOUT ROWID;
";

/// The row that says how far the index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) origin: String,
    pub(super) position: u64,
    pub(super) last: Option<Vec<u8>>,
    pub(super) unreadable: u64,
}

/// Opens the file for the writer; `None` if it does not exist or has another version.
pub(super) fn open(path: &Path) -> rusqlite::Result<Option<(Connection, Meta)>> {
    if !path.exists() {
        return Ok(None);
    }
    let db = writable(path)?;
    match version(&db)? {
        VERSION => {
            let meta = read_meta(&db)?;
            Ok(Some((db, meta)))
        }
        _ => Ok(None),
    }
}

/// Replaces the file by an empty index. No connection of this process may write it.
pub(super) fn create(path: &Path, origin: &str) -> Result<(Connection, Meta), super::IndexError> {
    remove(path)?;
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    let mut db = writable(path)?;
    let tx = db.transaction()?;
    tx.execute_batch(TABLES)?;
    tx.execute(
        "INSERT INTO meta (one, origin, position, last, unreadable) VALUES (1, ?1, 0, NULL, 0)",
        [origin],
    )?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()?;
    let meta = read_meta(&db)?;
    Ok((db, meta))
}

fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    // The files beside it get the same mode. If it cannot be changed, the file is not ours, and
    // the first write fails.
    let _ = fs::set_permissions(path, Permissions::from_mode(0o600));
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // Entries that a power loss takes back are taken in again.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.pragma_update(None, "cache_size", -8_192)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Opens the file for a reader; `None` if there is no index of this version yet.
pub(super) fn readable(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = match Connection::open_with_flags(path, flags) {
        Err(_) if !path.exists() => return Ok(None),
        opened => opened?,
    };
    db.busy_timeout(BUSY_TIMEOUT)?;
    // The log beside the file is the writer's: another file may have its name by now.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.pragma_update(None, "cache_size", -8_192)?;
    db.set_prepared_statement_cache_capacity(64);
    let is_current = version(&db)? == VERSION;
    Ok(is_current.then_some(db))
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

pub(super) fn read_meta(db: &Connection) -> rusqlite::Result<Meta> {
    db.prepare_cached("SELECT origin, position, last, unreadable FROM meta")?
        .query_row([], |row| {
            Ok(Meta {
                origin: row.get(0)?,
                position: row.get(1)?,
                last: row.get(2)?,
                unreadable: row.get(3)?,
            })
        })
}

pub(super) fn write_meta(db: &Connection, meta: &Meta) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE meta SET position = ?1, last = ?2, unreadable = ?3")?
        .execute(params![meta.position, meta.last, meta.unreadable])?;
    Ok(())
}
