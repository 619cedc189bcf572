//! The settings of the store.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{GIB, HOUR, MIB},
};

/// The store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct StoreSettings {
    pub url: String,
    pub group_commit_max: u32,
    pub queue_max: u32,
    pub readers: u16,
    #[serde(with = "deia_model::duration")]
    pub read_timeout: Duration,
    pub checkpoint_pages: u32,
    pub wal_max_bytes: ByteSize,
    pub reserve_bytes: ByteSize,
    pub cache_bytes: ByteSize,
}

impl StoreSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        if self.url != "sqlite" {
            check.refuse(
                "store.url",
                &self.url,
                "`sqlite`, the only engine of this version",
            );
        }
        check.number("store.group_commit_max", self.group_commit_max, 1..=4_096);
        check.number("store.queue_max", self.queue_max, 64..=1_000_000);
        check.number("store.readers", self.readers, 1..=64);
        check.number(
            "store.checkpoint_pages",
            self.checkpoint_pages,
            100..=1_000_000,
        );
        check.duration(
            "store.read_timeout",
            self.read_timeout,
            Duration::from_millis(100)..=HOUR,
        );
        check.size("store.wal_max_bytes", self.wal_max_bytes, MIB..=64 * GIB);
        check.size("store.reserve_bytes", self.reserve_bytes, 0..=GIB);
        check.size("store.cache_bytes", self.cache_bytes, MIB..=4 * GIB);
    }
}
