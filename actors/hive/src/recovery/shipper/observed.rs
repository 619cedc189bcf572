//! A storage whose calls are seen while they last: one that does not return is not an archive.

use std::{io, sync::Arc, time::Instant};

use deia_archive::{Item, Storage};

use crate::recovery::state::Shared;

/// The storage of the thread that writes the archive.
pub(super) struct Observed {
    inner: Arc<dyn Storage>,
    shared: Arc<Shared>,
}

impl Observed {
    pub(super) fn new(inner: Arc<dyn Storage>, shared: Arc<Shared>) -> Self {
        // A thread before this one may have died within a call.
        shared.lock().asked_at = None;
        Self { inner, shared }
    }

    fn noting<T>(&self, call: impl FnOnce(&dyn Storage) -> io::Result<T>) -> io::Result<T> {
        self.shared.lock().asked_at = Some(Instant::now());
        let answer = call(&*self.inner);
        self.shared.lock().asked_at = None;
        answer
    }
}

impl Storage for Observed {
    fn prepare(&self) -> io::Result<()> {
        self.noting(|storage| storage.prepare())
    }

    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.noting(|storage| storage.put(key, bytes))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.noting(|storage| storage.create(key, bytes))
    }

    fn get(&self, key: &str) -> io::Result<Vec<u8>> {
        self.noting(|storage| storage.get(key))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Item>> {
        self.noting(|storage| storage.list(prefix))
    }

    fn remove(&self, key: &str) -> io::Result<()> {
        self.noting(|storage| storage.remove(key))
    }

    fn sweep(&self) -> io::Result<()> {
        self.noting(|storage| storage.sweep())
    }

    fn interrupt(&self) {
        self.inner.interrupt();
    }

    fn address(&self, key: &str) -> String {
        self.inner.address(key)
    }
}
