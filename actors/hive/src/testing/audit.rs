//! A trail with its index, without a hive around it, for benchmarks.

use std::path::Path;

use deia_model::{AuditFilter, AuditOrder, Event, PageRequest, Timestamp};
use deia_trail::{
    Beginning, Trail, TrailOptions,
    note::{KeyName, SigningKey},
};

use crate::audit::{
    index::{AuditIndex, Scope},
    query::AuditReads,
};

const ORIGIN: &str = "deia.example/audit";

/// A trail with its index.
pub struct IndexedTrail {
    trail: Trail,
    index: AuditIndex,
    reads: AuditReads,
}

fn no_hook(_: &'static str) {}

impl IndexedTrail {
    /// Begins a trail below a directory.
    pub fn begin(data_dir: &Path) -> Self {
        let key = SigningKey::generate(&KeyName::new(ORIGIN).unwrap()).unwrap();
        let options = TrailOptions {
            dir: data_dir.join("audit"),
            keys: vec![key],
            hook: no_hook,
            take_over: true,
            on_change: deia_trail::OnChange::default(),
        };
        let beginning = Beginning {
            origin: ORIGIN,
            first: None,
        };
        let trail = Trail::begin(options, &beginning).unwrap();
        let path = data_dir.join("audit-index.db");
        let index = AuditIndex::open(&path, ORIGIN, Scope::default()).unwrap();
        let reads = AuditReads::new(trail.reader().clone(), &path);
        Self {
            trail,
            index,
            reads,
        }
    }

    /// Appends events, and seals them.
    pub fn append(&mut self, events: &[Event]) {
        self.trail.append(events).unwrap();
        self.trail.seal(Timestamp::now()).unwrap();
    }

    /// Takes all entries into the index.
    pub fn index(&mut self) {
        let size = self.trail.size();
        let caught = self.index.catch_up(self.trail.reader(), size, u64::MAX);
        assert_eq!(caught.unwrap().upto, size);
    }

    /// Returns the number of records of the first page, and whether there is another.
    pub fn first_page(&self, filter: &AuditFilter, limit: u32) -> (usize, bool) {
        let request = PageRequest {
            limit,
            cursor: None,
        };
        let page = self.reads.query(filter, AuditOrder::NewestFirst, &request);
        let page = page.unwrap();
        (page.items.len(), page.next_cursor.is_some())
    }
}
