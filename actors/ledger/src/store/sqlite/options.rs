//! Settings of the store.

#[cfg(any(test, feature = "testing"))]
use std::path::Path;
use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{TaskPolicy, metrics::StoreMetrics};

/// How the store is to work.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file.
    pub path: PathBuf,
    /// Commands that share one commit.
    pub group_commit_max: usize,
    /// Commands that may wait.
    pub queue_max: usize,
    /// Threads that read what callers ask for. The hive's own reads have others.
    pub readers: usize,
    /// How long a read that a caller asks for may take.
    pub read_timeout: Duration,
    /// Pages of the write-ahead log before a checkpoint is due.
    pub checkpoint_pages: u32,
    /// Bytes that the write-ahead log may never be much longer than.
    pub wal_max_bytes: u64,
    /// Bytes of disk that are held for writes that must succeed when it is full.
    pub reserve_bytes: u64,
    /// Page cache of the writer, in bytes.
    pub cache_bytes: u64,
    /// The node that gives leases. A start takes back only those of its own.
    pub node: u32,
    /// Rules that are applied to tasks.
    pub policy: TaskPolicy,
    /// What is counted.
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
            policy: crate::testing::policy(),
            metrics: Arc::default(),
        }
    }
}
