//! Settings of the store.

#[cfg(any(test, feature = "testing"))]
use std::path::Path;
use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{LogFeed, TaskPolicy, metrics::StoreMetrics};

/// Settings of a SQLite store.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file.
    pub path: PathBuf,
    /// Maximum number of commands that share one commit.
    pub group_commit_max: usize,
    /// Maximum number of waiting commands.
    pub queue_max: usize,
    /// Number of threads that serve the reads of callers. The hive's own reads have
    /// others.
    pub readers: usize,
    /// Maximum duration of a read of a caller.
    pub read_timeout: Duration,
    /// Pages of the write-ahead log at which a checkpoint is due.
    pub checkpoint_pages: u32,
    /// Maximum length of the write-ahead log, in bytes; exceeded by little.
    pub wal_max_bytes: u64,
    /// Disk space reserved for writes that must succeed on a full disk, in bytes.
    pub reserve_bytes: u64,
    /// Page cache of the writer, in bytes.
    pub cache_bytes: u64,
    /// The node that grants leases. A start releases only its own.
    pub node: u32,
    /// Hand-over of the log to its shipper; without one the log is folded back at will.
    pub shipping: Option<Arc<LogFeed>>,
    /// Rules that are applied to tasks.
    pub policy: TaskPolicy,
    /// Metrics of the store.
    pub metrics: Arc<StoreMetrics>,
}

#[cfg(any(test, feature = "testing"))]
impl SqliteOptions {
    /// Returns a small store in `dir`, for tests.
    pub fn for_tests(dir: &Path) -> Self {
        Self {
            path: dir.join("deia.db"),
            group_commit_max: 64,
            queue_max: 1_024,
            readers: 2,
            read_timeout: Duration::from_secs(60),
            checkpoint_pages: 100,
            wal_max_bytes: 1 << 30,
            reserve_bytes: 1 << 20,
            cache_bytes: 4 << 20,
            node: 1,
            shipping: None,
            policy: crate::testing::policy(),
            metrics: Arc::default(),
        }
    }
}
