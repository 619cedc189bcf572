//! Options of the store, derived from the settings.

use std::{collections::HashMap, path::Path, sync::Arc};

use deia_ledger::{
    FeedWaits, Ledger, LogFeed, SettingsRecord, TaskPolicy, TypePolicy,
    store::{Examined, SqliteOptions, SqliteStore},
};
use deia_model::{RecoveryMode, TaskType};

use crate::{
    HiveStartError,
    config::{Config, TypeSettings},
};

/// Number of the only node that a file serves. Fact: a SQLite file is served by one
/// process.
const THE_ONLY_NODE: u32 = 1;

/// Returns the options of the store and of the rules that it applies.
pub fn store_options(config: &Config) -> SqliteOptions {
    SqliteOptions {
        path: config.database_path(),
        group_commit_max: config.store.group_commit_max as usize,
        queue_max: config.store.queue_max as usize,
        readers: usize::from(config.store.readers),
        read_timeout: config.store.read_timeout,
        checkpoint_pages: config.store.checkpoint_pages,
        wal_max_bytes: config.store.wal_max_bytes.as_u64(),
        reserve_bytes: config.store.reserve_bytes.as_u64(),
        cache_bytes: config.store.cache_bytes.as_u64(),
        node: THE_ONLY_NODE,
        shipping: shipping(config),
        policy: task_policy(config),
        metrics: Arc::default(),
    }
}

/// Returns the rules that the store applies to tasks.
pub(crate) fn task_policy(config: &Config) -> TaskPolicy {
    TaskPolicy {
        default_max_attempts: config.tasks.default_max_attempts,
        default_timeout_seconds: config.tasks.default_timeout.as_secs(),
        poison_after: config.tasks.poison_after,
        poison_after_hive_deaths: config.tasks.poison_after_hive_deaths,
        bot_fault_delay: config.tasks.bot_fault_delay,
        retry: config.tasks.retry,
        idempotency_retention: config.tasks.idempotency_retention,
        by_type: by_type(config),
        max_waiting: config.tasks.max_waiting,
        per_submitter: config.tasks.per_submitter,
        max_idempotency_answers: config.tasks.max_idempotency_answers,
        max_idempotency_bytes: config.tasks.max_idempotency_bytes.as_u64(),
        max_types: config.tasks.max_types,
        max_types_external: config.tasks.max_types_external,
        max_dependents: config.tasks.max_dependents,
        claim_max_bytes: config.scheduler.claim_max_bytes.as_u64(),
        retention: config.tasks.retention,
    }
}

/// Returns the versions of the settings in the store, read from its file before the store is
/// opened. A store that cannot be read has none: it stops the start when it is opened.
pub(crate) fn stored_settings(config: &Config) -> SettingsRecord {
    SqliteStore::settings_of(&store_options(config)).unwrap_or_default()
}

/// Returns the hand-over of the log to its shipper, unless there is no archive.
fn shipping(config: &Config) -> Option<Arc<LogFeed>> {
    let waits = FeedWaits {
        checkpoint: config.recovery.checkpoint_wait,
        answer: config.recovery.answer_within,
    };
    let feed = || Arc::new(LogFeed::new(&config.database_path(), waits));
    (config.recovery.mode != RecoveryMode::Off).then(feed)
}

/// Examines a database file that no hive uses.
///
/// # Errors
/// [`HiveStartError::Store`].
pub(crate) fn examine_store(path: &Path) -> Result<Examined, HiveStartError> {
    Ok(deia_ledger::store::examine(path)?)
}

/// Opens a restored store, whose log is folded back at will: no archive has it.
///
/// # Errors
/// [`HiveStartError::Store`].
pub(crate) fn open_restored(config: &Config) -> Result<Ledger, HiveStartError> {
    let options = SqliteOptions {
        shipping: None,
        ..store_options(config)
    };
    Ok(Arc::new(SqliteStore::open(options)?))
}

/// Opens the store of a hive that does not run.
///
/// # Errors
/// [`HiveStartError::Store`].
pub(crate) fn open_store(config: &Config) -> Result<Ledger, HiveStartError> {
    let store = SqliteStore::open(store_options(config))?;
    Ok(Arc::new(store))
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
