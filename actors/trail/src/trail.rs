//! The writer of a trail: appends events, and signs checkpoints.

mod open;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

use deia_model::{Event, EventRow, EventRows, Position, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};

pub use self::open::Beginning;
use crate::{
    bundle::Bundle,
    checkpoint::{Checkpoint, SignedCheckpoint},
    details::DetailsWriter,
    edge::{Edge, FullTile},
    entry::{self, Draft, Encoder, Names, SALT_BYTES, Salt},
    files::{self, Dirty, OnChange},
    hash::leaf,
    history::HistoryWriter,
    names::NamesWriter,
    note::SigningKey,
    proof::Head,
    reader::{ReadError, TrailReader},
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// Salts that are made at a time.
const SALTS: usize = 256;

/// A named point of a step, for tests that end the process there.
pub type Hook = fn(&'static str);

/// Settings of a trail.
#[derive(Debug)]
pub struct TrailOptions {
    /// The directory.
    pub dir: PathBuf,
    /// The keys that sign: usually one, while it is replaced the old one and the new one.
    pub keys: Vec<SigningKey>,
    /// Called at named points.
    pub hook: Hook,
    /// True to take over entries behind the last checkpoint that are complete. False once this
    /// process has failed to write: they may be in memory only, though a sync says otherwise.
    pub take_over: bool,
    /// Called when files change.
    pub on_change: OnChange,
}

/// Reason why a trail cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// A part of it cannot be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file cannot be written.
    #[error("the trail cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The checkpoint is not signed by the key.
    #[error("the checkpoint of the trail is not signed by its key: {0}")]
    Untrusted(#[from] crate::note::Untrusted),
    /// The tiles do not have the root that the checkpoint states.
    #[error("the tiles of the trail are damaged: their root is not that of its checkpoint")]
    Root,
    /// The name of the log cannot be one.
    #[error(
        "{0} cannot be the origin of a log: expected 1 to 256 characters, no spaces and no '+'"
    )]
    Origin(String),
}

/// A trail that is written by one process.
#[derive(Debug)]
pub struct Trail {
    options: TrailOptions,
    origin: String,
    reader: TrailReader,
    edge: Edge,
    /// Position of the event of the last entry; `None`: there is none.
    last: Option<Position>,
    /// The entries of the incomplete bundle.
    bundle: Vec<u8>,
    details: DetailsWriter,
    names: NamesWriter,
    dirty: Dirty,
    history: HistoryWriter,
    sealed: Option<SignedCheckpoint>,
    /// True if the next checkpoint is signed though nothing was appended.
    seal_anyway: bool,
    salts: Salts,
    encoder: Encoder,
    scratch: Scratch,
}

/// Memory that each entry uses again.
#[derive(Debug, Default)]
struct Scratch {
    entry: String,
    details: String,
    full: Vec<FullTile>,
}

/// Sequence numbers that are missing between two entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last event before.
    pub after: Position,
    /// The first event behind.
    pub next: Position,
}

/// Result of appending events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Number of new entries.
    pub entries: u64,
    /// Gaps in the numbers of events.
    pub gaps: Vec<Gap>,
}

impl Trail {
    /// Returns the identity of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of entries, sealed or not.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Returns the number of entries that a checkpoint covers.
    pub fn sealed_size(&self) -> u64 {
        self.sealed
            .as_ref()
            .map_or(0, |sealed| sealed.checkpoint.head.size)
    }

    /// Returns whether the newest checkpoint covers all entries, and is published.
    pub fn is_sealed(&self) -> bool {
        let is_signed = self.sealed.is_some() && !self.seal_anyway;
        is_signed && self.sealed_size() == self.edge.size()
    }

    /// Returns the newest checkpoint.
    pub fn sealed(&self) -> Option<&SignedCheckpoint> {
        self.sealed.as_ref()
    }

    /// Returns the position of the event of the last entry.
    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// Returns a reader of the trail.
    pub fn reader(&self) -> &TrailReader {
        &self.reader
    }

    /// Appends events in order. Events at or before the last entry are passed over, so that an
    /// event that is read again is not entered twice. Nothing is durable before
    /// [`seal`](Self::seal). After an error the trail must be opened again.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn append_rows(&mut self, events: &EventRows) -> Result<Appended, TrailError> {
        let mut appended = Appended::default();
        for event in events.iter() {
            let at = event.position();
            if let Some(last) = self.last {
                if at <= last {
                    continue;
                }
                if at.timeline == last.timeline && at.seq != last.seq + 1 {
                    appended.gaps.push(Gap {
                        after: last,
                        next: at,
                    });
                }
            }
            self.enter(&event)?;
            self.last = Some(at);
            appended.entries += 1;
        }
        Ok(appended)
    }

    /// Appends events as [`append_rows`](Self::append_rows) does.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn append(&mut self, events: &[Event]) -> Result<Appended, TrailError> {
        self.append_rows(&events.iter().collect())
    }

    fn enter(&mut self, event: &EventRow<'_>) -> Result<(), TrailError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let entered = self.enter_with(event, &mut scratch);
        self.scratch = scratch;
        entered
    }

    fn enter_with(
        &mut self,
        event: &EventRow<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), TrailError> {
        let Scratch {
            entry,
            details,
            full,
        } = scratch;
        entry::details_of(event, details);
        let mut commitment = None;
        if !details.is_empty() {
            let (salt, json) = (self.salts.next()?, details.as_bytes());
            let index = self.edge.size();
            self.details.push(index, &salt, json, &mut self.dirty)?;
            commitment = Some(entry::commitment(&salt, json));
        }
        let (actor_is_person, target_is_person) = (
            entry::actor_is_person(event),
            entry::target_is_person(event),
        );
        if actor_is_person {
            self.names.admit(event.actor)?;
        }
        if let Some(owner) = event.owner {
            self.names.admit(owner)?;
        }
        if target_is_person {
            self.names.admit(event.target_id)?;
        }
        let all = self.names.all();
        let pseudonym = |name: &str| {
            let missing = || io::Error::other("a name has no pseudonym");
            all.id(name).ok_or_else(missing)
        };
        let names = Names {
            actor: match actor_is_person {
                true => pseudonym(event.actor)?,
                false if entry::actor_is_anonymous(event) => entry::ANONYMOUS,
                false => event.actor,
            },
            owner: event.owner.map(pseudonym).transpose()?,
            target: match target_is_person {
                true => pseudonym(event.target_id)?,
                false => event.target_id,
            },
        };
        let draft = Draft {
            event,
            names,
            commitment: commitment.as_ref(),
        };
        self.encoder.encode(draft, entry);
        self.push(entry.as_bytes(), full)
    }

    fn push(&mut self, entry: &[u8], full: &mut Vec<FullTile>) -> Result<(), TrailError> {
        Bundle::push(&mut self.bundle, entry)
            .ok_or_else(|| io::Error::other("an entry is longer than 65,535 bytes"))?;
        self.edge.push(leaf(entry), full);
        for tile in full.drain(..) {
            self.dirty
                .write(&tile.id.to_string(), tile.hashes.as_flattened())?;
        }
        if self.edge.size().is_multiple_of(TILE_WIDTH as u64) {
            let index = self.edge.size() / TILE_WIDTH as u64 - 1;
            let id = TileId::full(TileKind::Entries, index);
            self.dirty.write(&id.to_string(), &self.bundle)?;
            self.bundle.clear();
        }
        Ok(())
    }

    /// Makes all entries durable, and then signs and publishes a checkpoint. Does nothing if
    /// there is nothing new. After an error the trail must be opened again.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn seal(&mut self, now: Timestamp) -> Result<Option<&SignedCheckpoint>, TrailError> {
        let size = self.edge.size();
        if self.is_sealed() {
            return Ok(None);
        }
        let before = self.sealed_size();
        self.write_partial()?;
        (self.options.hook)("audit_before_sync");
        self.dirty.sync()?;
        (self.options.hook)("audit_before_sign");
        let head = Head {
            size,
            root: self.edge.root(),
        };
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            head,
        };
        let signed = checkpoint.sign(&self.options.keys);
        let dir = &self.options.dir;
        let history = dir.join("checkpoints");
        self.history.note(&history, &signed, now)?;
        self.options.on_change.changed(&history);
        let hook = self.options.hook;
        let note = signed.note.to_text();
        files::replace(&dir.join("checkpoint"), note.as_bytes(), || {
            hook("audit_before_publish");
        })?;
        hook("audit_after_publish");
        self.options.on_change.changed(&dir.join("checkpoint"));
        self.seal_anyway = false;
        self.remove_outgrown(before)?;
        Ok(Some(self.sealed.insert(signed)))
    }

    /// Writes what is not full: details, names, the last bundle, the last tiles.
    fn write_partial(&mut self) -> Result<(), TrailError> {
        self.details.write(&mut self.dirty)?;
        self.names.write(&mut self.dirty)?;
        let sealed = self.sealed_size();
        let is_new = |id: TileId| TileId::in_tree(id.kind(), id.index(), sealed) != Some(id);
        let size = self.edge.size();
        let bundle = TileId::in_tree(TileKind::Entries, size / TILE_WIDTH as u64, size);
        if let Some(id) = bundle.filter(|id| is_new(*id)) {
            self.dirty.write(&id.to_string(), &self.bundle)?;
        }
        // Tiles of higher levels seldom change.
        for (id, hashes) in self.edge.partial_tiles().filter(|(id, _)| is_new(*id)) {
            self.dirty.write(&id.to_string(), hashes.as_flattened())?;
        }
        Ok(())
    }

    /// Removes the incomplete forms of tiles that are full now.
    fn remove_outgrown(&self, before: u64) -> Result<(), TrailError> {
        let levels = (0_u8..).zip(TileId::partial_widths(before));
        let kinds = levels
            .filter(|(_, width)| *width > 0)
            .map(|(level, _)| TileKind::Hashes(level))
            .chain([TileKind::Entries]);
        for kind in kinds {
            let index = before >> (8 * (kind.level() + 1));
            let now = TileId::in_tree(kind, index, self.edge.size());
            if now.is_some_and(|tile| !tile.is_partial()) {
                let partials = TileId::full(kind, index).partials_dir();
                let partials = self.options.dir.join(partials);
                files::remove_dir(&partials)?;
                self.options.on_change.changed(&partials);
            }
        }
        Ok(())
    }

    /// Replaces the keys that sign. The next checkpoint is signed with them, even if nothing is
    /// appended.
    ///
    /// # Errors
    /// The list of keys cannot be written.
    pub fn set_keys(&mut self, keys: Vec<SigningKey>) -> Result<(), TrailError> {
        self.options.keys = keys;
        self.seal_anyway = true;
        self.note_keys()
    }

    /// Returns the keys that sign.
    pub fn keys(&self) -> &[SigningKey] {
        &self.options.keys
    }

    /// Adds the verifiers of the keys to the list that the directory has of them.
    fn note_keys(&self) -> Result<(), TrailError> {
        let mut known = self.reader.keys()?;
        let before = known.len();
        for key in self.options.keys.iter().map(SigningKey::verifier) {
            if !known.contains(&key) {
                known.push(key);
            }
        }
        if known.len() > before {
            let lines: String = known.iter().map(|key| format!("{key}\n")).collect();
            let path = self.options.dir.join("keys");
            files::replace(&path, lines.as_bytes(), || {})?;
            self.options.on_change.changed(&path);
        }
        Ok(())
    }

    /// Removes bundles and details of entries before `end`, as far as they are whole. Hash
    /// tiles stay, so that proofs of the other entries hold. The last bundle stays too.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn prune(&mut self, end: u64) -> Result<(), TrailError> {
        let kept_from = end.min(self.sealed_size().saturating_sub(1)) / TILE_WIDTH as u64;
        let first = self.reader.first_bundle(self.sealed_size())?;
        for index in first..kept_from {
            let id = TileId::full(TileKind::Entries, index);
            files::remove(&self.options.dir.join(id.to_string()))?;
            files::remove_dir(&self.options.dir.join(id.partials_dir()))?;
        }
        self.details.remove_before(kept_from * TILE_WIDTH as u64)?;
        Ok(())
    }
}

/// Salts, made many at a time.
struct Salts {
    random: SystemRandom,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Salts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salts")
    }
}

impl Salts {
    fn new() -> Self {
        Self {
            random: SystemRandom::new(),
            bytes: Vec::new(),
        }
    }

    fn next(&mut self) -> io::Result<Salt> {
        if self.bytes.is_empty() {
            self.bytes.resize(SALTS * SALT_BYTES, 0);
            self.random
                .fill(&mut self.bytes)
                .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        }
        let mut salt = [0; SALT_BYTES];
        let rest = self.bytes.len() - SALT_BYTES;
        salt.copy_from_slice(&self.bytes[rest..]);
        self.bytes.truncate(rest);
        Ok(salt)
    }
}
