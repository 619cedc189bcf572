//! Opening the file, and the connections to it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use uuid::Uuid;

use super::{
    SqliteStore,
    pool::ReaderPool,
    schema::{self, SchemaError},
};
use crate::{
    config::{Config, TypeSettings},
    ledger::{TaskPolicy, TypePolicy},
    metrics::StoreMetrics,
    model::TaskType,
};

/// SQLite before this one may corrupt the file when a WAL is reset.
const LEAST_SQLITE: i32 = 3_051_003;

/// How the store is to work.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file.
    pub path: PathBuf,
    /// Commands that share one commit.
    pub group_commit_max: usize,
    /// Commands that may wait.
    pub queue_max: usize,
    /// Threads that read.
    pub readers: usize,
    /// Pages of the write-ahead log before a checkpoint is due.
    pub checkpoint_pages: u32,
    /// Page cache of the writer, in bytes.
    pub cache_bytes: u64,
    /// Rules that are applied to tasks.
    pub policy: TaskPolicy,
    /// What is counted.
    pub metrics: Arc<StoreMetrics>,
}

impl SqliteOptions {
    /// What the settings say.
    pub fn from_config(config: &Config) -> Self {
        Self {
            path: config.database_path(),
            group_commit_max: config.store.group_commit_max as usize,
            queue_max: config.store.queue_max as usize,
            readers: usize::from(config.store.readers),
            checkpoint_pages: config.store.checkpoint_pages,
            cache_bytes: config.store.cache_bytes.as_u64(),
            policy: TaskPolicy {
                default_max_attempts: config.tasks.default_max_attempts,
                default_timeout_seconds: config.tasks.default_timeout.as_secs(),
                poison_after: config.tasks.poison_after,
                retry: config.tasks.retry,
                idempotency_retention: config.tasks.idempotency_retention,
                by_type: by_type(config),
                max_types: config.tasks.max_types,
                max_dependents: config.tasks.max_dependents,
                claim_max_bytes: config.scheduler.claim_max_bytes.as_u64(),
                retention: config.tasks.retention,
            },
            metrics: Arc::default(),
        }
    }
}

fn by_type(config: &Config) -> HashMap<TaskType, TypePolicy> {
    let policy = |settings: &TypeSettings| TypePolicy {
        max_attempts: settings.max_attempts,
        timeout_seconds: settings.timeout.map(|timeout| timeout.as_secs()),
        expires_after: settings.expires_after,
        retry: settings.retry.as_override(),
    };
    let all = config.tasks.by_type.iter();
    all.map(|(task_type, settings)| (task_type.clone(), policy(settings)))
        .collect()
}

/// Why the store cannot be opened.
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
        /// Why.
        source: SchemaError,
    },
    /// The file cannot be opened.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl SqliteStore {
    /// Opens the file, creating it when it is not there. Commands are applied
    /// only after [`crate::ledger::Store::serve`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        if rusqlite::version_number() < LEAST_SQLITE {
            return Err(OpenError::LibraryTooOld(rusqlite::version()));
        }
        let path = options.path.clone();
        let file_error = |source| OpenError::File {
            path: path.clone(),
            source,
        };
        let mut db = writable(&options).map_err(file_error)?;
        schema::migrate(&mut db).map_err(|source| OpenError::Schema {
            path: path.clone(),
            source,
        })?;
        let hive_id = hive_id(&db).map_err(file_error)?;
        let running = meta(&db, "running").map_err(file_error)?;
        let previous_shutdown_clean = running.as_deref().is_none_or(|value| value == "no");
        let readers = ReaderPool::start(
            &path,
            options.readers,
            options.queue_max,
            options.metrics.clone(),
        )
        .map_err(file_error)?;
        Ok(Self {
            hive_id,
            previous_shutdown_clean,
            is_new: running.is_none(),
            writer: ArcSwapOption::empty(),
            thread: Default::default(),
            readers,
            sinks: Default::default(),
            options,
        })
    }
}

impl SqliteStore {
    /// Looks whether the file, if there is one, could be opened. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`], as [`SqliteStore::open`] would.
    pub fn check(options: &SqliteOptions) -> Result<(), OpenError> {
        let path = options.path.clone();
        if !path.exists() {
            return Ok(());
        }
        let db = readable(&path).map_err(|source| OpenError::File {
            path: path.clone(),
            source,
        })?;
        schema::verify(&db).map_err(|source| OpenError::Schema { path, source })
    }
}

/// The writer's connection: durable before it answers, checkpoints by its own hand.
pub(super) fn writable(options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let db = Connection::open(&options.path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(
        None,
        "cache_size",
        -i64::try_from(options.cache_bytes / 1024).unwrap_or(i64::MAX),
    )?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// A reader's connection.
pub(super) fn readable(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.pragma_update(None, "cache_size", -2_048)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
        row.get(0)
    })
    .optional()
}

fn hive_id(db: &Connection) -> rusqlite::Result<String> {
    if let Some(id) = meta(db, "hive_id")? {
        return Ok(id);
    }
    let id = format!("hive-{}", Uuid::now_v7().simple());
    db.execute(
        "INSERT INTO meta (key, value) VALUES ('hive_id', ?1)",
        [&id],
    )?;
    Ok(id)
}
