//! Opening the store.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use deia_model::{BotRecord, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::{
    SqliteStore, bots,
    connection::{readable, writable},
    errors::store_error,
    meta::{hive_id_of, meta},
    options::SqliteOptions,
    pool::ReaderPool,
    reserve::Reserve,
    schema::{self, SchemaError},
    settings,
    writer::Shared,
};
use crate::{SettingsRecord, StoreError, anchor::Anchor};

/// Minimum version of SQLite: earlier ones may corrupt the file when a WAL is reset.
/// Fact: the release notes of SQLite 3.51.3.
const LEAST_SQLITE: i32 = 3_051_003;

/// Number of threads that serve the hive's own reads. Fixed: the hive's own reads come
/// one after the other, and one may be long.
const INTERNAL_READERS: usize = 2;
/// Number of threads that serve the followers of the event log. Fixed: followers read one
/// after the other.
const FOLLOWER_READERS: usize = 1;

/// Reason why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library is too old to be trusted.
    #[error("SQLite {0} has a bug that can corrupt the store; 3.51.3 or newer is needed")]
    LibraryTooOld(&'static str),
    /// The schema is not one that this binary can use.
    #[error("{path}: {source}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: SchemaError,
    },
    /// There is no space even for the index of the write-ahead log.
    #[error("{path}: the disk is full; free some space on its file system")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: rusqlite::Error,
    },
}

impl SqliteStore {
    /// Opens the file, creating it if it does not exist. Commands are applied only
    /// after [`crate::CommandLog::serve`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let store = Self::open_unmigrated(options)?;
        store.migrate()?;
        Ok(store)
    }

    /// Opens the file but leaves the schema of an existing one as it is: the previous
    /// binary can still use it if the start fails. [`Self::migrate`] must be called
    /// before anything is read.
    ///
    /// # Errors
    /// [`OpenError`], also when [`Self::migrate`] would fail for the schema.
    pub fn open_unmigrated(options: SqliteOptions) -> Result<Self, OpenError> {
        if rusqlite::version_number() < LEAST_SQLITE {
            return Err(OpenError::LibraryTooOld(rusqlite::version()));
        }
        let path = options.path.clone();
        let file_error = |source| OpenError::of_file(&path, source);
        // SQLite has the better message if this fails.
        let _ = make_private(&path);
        let mut db = match writable(&options) {
            // There is no space even for the index of the log.
            Err(error)
                if matches!(store_error(&error), StoreError::Full(_))
                    && Reserve::of(&path).give_up() =>
            {
                writable(&options)
            }
            opened => opened,
        }
        .map_err(file_error)?;
        let shared = Shared::new(options.policy.clone());
        if let Ok(anchor) = Anchor::at(&path) {
            let _ = shared.anchor.set(anchor);
        }
        // A new file is of no use to an older binary.
        let prepared = match schema::is_new(&db).map_err(file_error)? {
            true => schema::migrate(&mut db),
            false => schema::verify(&db),
        };
        prepared.map_err(|source| OpenError::of_schema(&path, source))?;
        warn_of_clock(&db).map_err(file_error)?;
        let hive_id = hive_id(&db).map_err(file_error)?;
        let running = meta(&db, "running").map_err(file_error)?;
        let previous_shutdown_clean = running.as_deref().is_none_or(|value| value == "no");
        let pool = |name, threads, timeout| {
            let metrics = options.metrics.clone();
            ReaderPool::start(name, &path, (threads, options.queue_max), timeout, metrics)
                .map_err(file_error)
        };
        let readers = pool("deia-read", options.readers, Some(options.read_timeout))?;
        let internal_readers = pool("deia-internal", INTERNAL_READERS, None)?;
        let follower_readers = pool("deia-follow", FOLLOWER_READERS, None)?;
        Ok(Self {
            hive_id,
            previous_shutdown_clean,
            is_new: running.is_none(),
            last_event_at: last_event_at(&db).map_err(file_error)?,
            writer: ArcSwapOption::empty(),
            thread: Default::default(),
            readers,
            internal_readers,
            follower_readers,
            shared,
            options,
        })
    }
}

impl SqliteStore {
    /// Migrates the schema to the current version, in one transaction.
    ///
    /// # Errors
    /// [`OpenError`]; the schema is unchanged then.
    pub fn migrate(&self) -> Result<(), OpenError> {
        let path = &self.options.path;
        let mut db = writable(&self.options).map_err(|source| OpenError::of_file(path, source))?;
        schema::migrate(&mut db).map_err(|source| OpenError::of_schema(path, source))
    }

    /// Checks that the file, if it exists, could be opened. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`], as [`SqliteStore::open`] would.
    pub fn check(options: &SqliteOptions) -> Result<(), OpenError> {
        let path = options.path.clone();
        if !path.exists() {
            return Ok(());
        }
        let db = readable(&path).map_err(|source| OpenError::of_file(&path, source))?;
        schema::verify(&db).map_err(|source| OpenError::of_schema(&path, source))
    }

    /// Returns the bots in the file; none if it does not exist. Changes nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bots_of(options: &SqliteOptions) -> Result<Vec<BotRecord>, OpenError> {
        let path = options.path.clone();
        if !path.exists() {
            return Ok(Vec::new());
        }
        let found = readable(&path).and_then(|db| bots::all(&db));
        found.map_err(|source| OpenError::of_file(&path, source))
    }

    /// Returns the versions of the settings in the file that a start needs; none if the file does
    /// not exist. Changes nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn settings_of(options: &SqliteOptions) -> Result<SettingsRecord, OpenError> {
        let path = options.path.clone();
        if !path.exists() {
            return Ok(SettingsRecord::default());
        }
        let found = readable(&path).and_then(|db| settings::record(&db));
        found.map_err(|source| OpenError::of_file(&path, source))
    }
}

impl OpenError {
    pub(super) fn of_file(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match store_error(&source) {
            StoreError::Full(_) => Self::Full { path },
            _ => Self::File { path, source },
        }
    }

    pub(super) fn of_schema(path: &Path, source: SchemaError) -> Self {
        match source {
            SchemaError::Sqlite(source) => Self::of_file(path, source),
            source => Self::Schema {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Creates the file if it does not exist, readable by its owner only. SQLite gives its
/// log and the log's index the mode of the file.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    match options.create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(_) => match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => File::open(dir)?.sync_all(),
            None => File::open(".")?.sync_all(),
        },
    }
}

/// Lead of the newest events over the clock below which no warning is logged. Fixed:
/// clocks of one host go apart by less.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Returns the lag of the clock behind the newest events if it exceeds [`CLOCK_SLACK`].
fn clock_behind(newest_event: i64, now: Timestamp) -> Option<Duration> {
    let behind = u64::try_from(newest_event.saturating_sub(now.as_millis())).unwrap_or(0);
    Some(Duration::from_millis(behind)).filter(|behind| *behind > CLOCK_SLACK)
}

/// Logs a warning if the clock was ahead in an earlier run, or is behind now.
fn warn_of_clock(db: &Connection) -> rusqlite::Result<()> {
    // Events are in the order of the log, not of time: the clock may have been
    // corrected since.
    let newest: Option<i64> = db.query_row(
        "SELECT max(at) FROM (SELECT at FROM events ORDER BY seq DESC LIMIT 10000)",
        [],
        |row| row.get(0),
    )?;
    if let Some(behind) = newest.and_then(|at| clock_behind(at, Timestamp::now())) {
        tracing::warn!(
            behind_seconds = behind.as_secs(),
            "the clock is behind the events of an earlier run: check the clock; until it has caught up, tasks of that time are kept and retries due then wait"
        );
    }
    Ok(())
}

fn last_event_at(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let at = db
        .query_row(
            "SELECT at FROM events ORDER BY seq DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(at.map(Timestamp::from_millis))
}

fn hive_id(db: &Connection) -> rusqlite::Result<String> {
    if let Some(id) = hive_id_of(db)? {
        return Ok(id);
    }
    let id = format!("hive-{}", Uuid::now_v7().simple());
    db.execute(
        "INSERT INTO meta (key, value) VALUES ('hive_id', ?1)",
        [&id],
    )?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_well_behind_the_events_is_reported() {
        let now = Timestamp::from_millis(1_000_000);
        for (newest, behind_ms) in [
            (0, None),
            (1_000_000, None),
            (1_060_000, None),
            (1_060_001, Some(60_001)),
            (86_401_000_000, Some(86_400_000_000)),
        ] {
            let expected = behind_ms.map(Duration::from_millis);
            assert_eq!(clock_behind(newest, now), expected, "{newest}");
        }
    }
}
