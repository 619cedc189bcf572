//! The index of the trail: an SQLite file that can be built again from the entries.
//!
//! Entries in the [`Scope`] have a row each. All others, which are those that every task
//! causes, are in the summary of their bundle: its times, actors, classes (action, level and
//! result), and a sketch of its targets. Numbers by hour count both. The position moves in the
//! transaction that takes entries in, so each is taken in exactly once.

mod counts;
mod dictionary;
mod erasure;
mod glance;
mod reads;
mod retention;
mod schema;
mod scope;
mod sketch;
mod summary;
mod taking;
#[cfg(test)]
mod tests;
mod view;

use std::{
    io,
    path::{Path, PathBuf},
};

use deia_trail::{
    ReadError, TrailReader,
    bundle::Bundle,
    hash::{self, Hash},
    tile::{TILE_WIDTH, TileId, TileKind},
};
use rusqlite::{Connection, ErrorCode};

pub(crate) use self::{
    counts::Counted,
    dictionary::Class,
    glance::{Glance, opening},
    reads::IndexReaders,
    scope::{Scope, kind_of},
    sketch::Probe,
    summary::HOUR_MS,
    view::{BundleKey, BundleRow, EntryKey, EntryRow, IndexView, Scanned},
};
use self::{dictionary::Dictionary, schema::Meta, taking::Batch};

/// Number of entries of a bundle.
pub(crate) const BUNDLE: u64 = TILE_WIDTH as u64;

/// Number of bundles that one transaction takes in.
const BUNDLES_OF_TRANSACTION: u64 = 64;

/// Reason why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// SQLite reports an error.
    #[error("the index of the audit trail cannot be used: {0}")]
    Sql(#[from] rusqlite::Error),
    /// A file cannot be created or removed.
    #[error("the index of the audit trail cannot be replaced: {0}")]
    Io(#[from] io::Error),
    /// The trail cannot be read.
    #[error(transparent)]
    Trail(#[from] ReadError),
}

impl IndexError {
    /// Returns whether the file is damaged, so that it must be built again.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(error, _)) => matches!(
                error.code,
                // A table that is not there is an error without a code of its own.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown
            ),
            Self::Sql(
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::QueryReturnedNoRows,
            ) => true,
            _ => false,
        }
    }
}

/// Progress of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caught {
    /// Number of entries that the index has.
    pub(crate) upto: u64,
    /// Number of entries of the trail.
    pub(crate) size: u64,
    /// Number of entries whose details were erased by this step.
    pub(crate) erased: u64,
    /// Number of entries that are damaged and were passed over, by this step and all before.
    pub(crate) unreadable: u64,
    /// True if the index was damaged, or that of another trail, and is built again.
    pub(crate) rebuilt: bool,
}

/// The index of a trail, as its only writer has it.
#[derive(Debug)]
pub(crate) struct AuditIndex {
    path: PathBuf,
    db: Connection,
    meta: Meta,
    scope: Scope,
    names: Dictionary,
    /// True once the last entry was compared with that of the trail.
    is_checked: bool,
}

impl AuditIndex {
    /// Opens the index of the trail with that origin. One that has another version, belongs to
    /// another trail or is damaged is replaced by an empty one.
    ///
    /// # Errors
    /// The file cannot be opened or created.
    pub(crate) fn open(path: &Path, origin: &str, scope: Scope) -> Result<Self, IndexError> {
        let found = match schema::open(path).map_err(IndexError::from) {
            Ok(found) => found.filter(|(_, meta)| meta.origin == origin),
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error),
        };
        let (db, meta) = match found {
            Some(found) => found,
            None => schema::create(path, origin)?,
        };
        Ok(Self {
            path: path.to_owned(),
            db,
            meta,
            scope,
            names: Dictionary::default(),
            is_checked: false,
        })
    }

    /// Returns the number of entries that the index has.
    pub(crate) fn position(&self) -> u64 {
        self.meta.position
    }

    /// Takes in entries behind the position, up to `size` and from `max_bundles` bundles at
    /// most, and erases the details that they say are erased. Damaged entries are passed over.
    /// A damaged index, or one of another trail, is built again from the first entry on.
    ///
    /// # Errors
    /// The index cannot be written, or the trail cannot be read.
    pub(crate) fn catch_up(
        &mut self,
        reader: &TrailReader,
        size: u64,
        max_bundles: u64,
    ) -> Result<Caught, IndexError> {
        let mut caught = Caught::default();
        if self.is_of_another(reader, size)? {
            self.rebuild()?;
            caught.rebuilt = true;
        }
        let first = self.position() / BUNDLE;
        let end = first.saturating_add(max_bundles.max(1));
        let end = end.saturating_mul(BUNDLE).min(size);
        while self.position() < end {
            let part = (self.position() / BUNDLE + BUNDLES_OF_TRANSACTION) * BUNDLE;
            match self.take_in(reader, part.min(end), size) {
                Ok(erased) => caught.erased += erased,
                Err(error) if error.is_damage() && !caught.rebuilt => {
                    tracing::warn!(%error, "building the index of the audit trail again");
                    self.rebuild()?;
                    caught.rebuilt = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        caught.upto = self.position();
        caught.size = size;
        caught.unreadable = self.meta.unreadable;
        Ok(caught)
    }

    /// Forgets the bundles of the entries before `end`, after they were removed from the trail.
    ///
    /// # Errors
    /// The index cannot be written.
    pub(crate) fn prune(&mut self, end: u64) -> Result<(), IndexError> {
        Ok(retention::prune(&self.db, end)?)
    }

    /// Returns whether the entries that were taken in are not those of this trail.
    fn is_of_another(&mut self, reader: &TrailReader, size: u64) -> Result<bool, IndexError> {
        if std::mem::replace(&mut self.is_checked, true) {
            return Ok(self.position() > size);
        }
        let Some(last) = self.meta.position.checked_sub(1) else {
            return Ok(false);
        };
        if last >= size {
            return Ok(true);
        }
        let bundle = match bundle_of(reader, last / BUNDLE, size)? {
            // It may have been removed since.
            Found::Pruned { .. } | Found::Damaged => return Ok(false),
            Found::Bundle(bundle) => bundle,
        };
        let hash = entry_in(&bundle, last).map(hash::leaf);
        Ok(hash.as_ref().map(Hash::as_slice) != self.meta.last.as_deref())
    }

    /// Replaces the index by an empty one, for a reader that has found it damaged.
    ///
    /// # Errors
    /// The file cannot be replaced.
    pub(crate) fn rebuild(&mut self) -> Result<(), IndexError> {
        // The file must be closed before another has its name.
        self.db = Connection::open_in_memory()?;
        let (db, meta) = schema::create(&self.path, &self.meta.origin)?;
        self.db = db;
        self.meta = meta;
        self.names.clear();
        Ok(())
    }

    /// Takes in the entries up to `end` in one transaction.
    fn take_in(&mut self, reader: &TrailReader, end: u64, size: u64) -> Result<u64, IndexError> {
        let tx = self.db.transaction()?;
        let mut batch = Batch::new(&tx, reader, &self.scope, &mut self.names);
        let mut meta = self.meta.clone();
        let taken = batch.take(&mut meta, end, size).and_then(|()| {
            batch.finish()?;
            schema::write_meta(&tx, &meta)?;
            Ok(batch.erased())
        });
        let committed = taken.and_then(|erased| {
            tx.commit()?;
            Ok(erased)
        });
        match committed {
            Ok(_) => self.meta = meta,
            Err(_) => self.names.clear(),
        }
        committed
    }
}

/// A bundle of the trail, or the reason why there is none.
#[derive(Debug)]
pub(crate) enum Found {
    Bundle(Bundle),
    /// Retention has removed it, as all before the `first` one that is kept.
    Pruned {
        first: u64,
    },
    Damaged,
}

/// Reads a bundle.
///
/// # Errors
/// It cannot be read though it may be there.
pub(crate) fn bundle_of(reader: &TrailReader, index: u64, size: u64) -> Result<Found, ReadError> {
    match reader.bundle(index, size) {
        Ok(bundle) => Ok(Found::Bundle(bundle)),
        Err(ReadError::Damaged { .. }) => Ok(Found::Damaged),
        Err(ReadError::Missing(_)) => {
            // Retention removes bundles from the first on. What is missing behind one that is
            // there was not removed by it.
            let oldest = TileId::full(TileKind::Entries, 0);
            let first = match reader.dir().join(oldest.to_string()).exists() {
                true => 0,
                false => reader.first_bundle(size)?,
            };
            Ok(match index < first {
                true => Found::Pruned { first },
                false => Found::Damaged,
            })
        }
        Err(error) => Err(error),
    }
}

/// Returns an entry of the bundle that it is in.
pub(crate) fn entry_in(bundle: &Bundle, index: u64) -> Option<&[u8]> {
    bundle.entry(usize::try_from(index % BUNDLE).ok()?)
}
