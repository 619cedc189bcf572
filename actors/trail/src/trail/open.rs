//! Opening a trail: it goes on exactly where its last checkpoint, or what was made durable
//! behind it, ends.

use std::{io::ErrorKind, path::Path};

use deia_model::{EventRow, Position};

use super::{Salts, Scratch, Trail, TrailError, TrailOptions};
use crate::{
    bundle::Bundle,
    checkpoint::SignedCheckpoint,
    details::{self, Details, DetailsWriter, End, Record},
    edge::Edge,
    entry::{self, Encoder, Entry},
    files::{self, Dirty},
    hash::leaf,
    history::{self, HistoryWriter},
    names::{self, NamesWriter, Pseudonyms},
    note::{KeyName, SigningKey},
    reader::{ReadError, TrailReader, hashes},
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// Directory of the details below `private`.
const DETAILS: &str = "details";
/// File of the names below `private`.
const NAMES: &str = "names";

/// The beginning of a new log.
#[derive(Clone, Debug)]
pub struct Beginning<'a> {
    /// The identity of the log.
    pub origin: &'a str,
    /// The event of the first entry, if the log follows another one.
    pub first: Option<&'a EventRow<'a>>,
}

impl Trail {
    /// Opens a trail; `None` if the directory has none. Entries that were written completely
    /// behind the last checkpoint are taken over.
    ///
    /// # Errors
    /// The trail is damaged, or its checkpoint is not signed by the keys.
    pub fn open(options: TrailOptions) -> Result<Option<Self>, (TrailError, TrailOptions)> {
        match Opened::read(&options) {
            Ok(None) => Ok(None),
            Ok(Some(opened)) => Ok(Some(Self::from_opened(options, opened))),
            Err(error) => Err((error, options)),
        }
    }

    /// Begins a new log in a directory that has none. Nothing is on disk before the first
    /// [`seal`](Self::seal), apart from the list of keys.
    ///
    /// # Errors
    /// The origin cannot be one, or the directory cannot be written.
    pub fn begin(options: TrailOptions, beginning: &Beginning<'_>) -> Result<Self, TrailError> {
        let origin = beginning.origin;
        let name = KeyName::new(origin).ok_or_else(|| TrailError::Origin(origin.to_owned()))?;
        let mut dirty = Dirty::new(options.dir.clone(), options.on_change.clone());
        dirty.make_dir_of(&options.dir.join("checkpoint"))?;
        let private = options.dir.join("private");
        let opened = Opened {
            origin: origin.to_owned(),
            keys: named(&options.keys, &name)?,
            edge: Edge::default(),
            last: None,
            bundle: Vec::new(),
            sealed: None,
            details: DetailsWriter::open(
                private.join(DETAILS),
                End {
                    size: 0,
                    last: None,
                },
            )?,
            names: NamesWriter::open(private.join(NAMES))?,
            dirty,
            taken_over: false,
        };
        let mut trail = Self::from_opened(options, opened);
        trail.note_keys()?;
        if let Some(first) = beginning.first {
            trail.enter(first)?;
        }
        Ok(trail)
    }

    fn from_opened(mut options: TrailOptions, opened: Opened) -> Self {
        options.keys = opened.keys;
        Self {
            origin: opened.origin,
            reader: TrailReader::new(options.dir.clone()),
            edge: opened.edge,
            last: opened.last,
            bundle: opened.bundle,
            details: opened.details,
            names: opened.names,
            dirty: opened.dirty,
            history: HistoryWriter::default(),
            sealed: opened.sealed,
            seal_anyway: opened.taken_over || options.keys.len() > 1,
            salts: Salts::new(),
            encoder: Encoder::default(),
            scratch: Scratch::default(),
            options,
        }
    }
}

/// Returns the keys under the name of the log, which is the name that clients look for.
fn named(keys: &[SigningKey], name: &KeyName) -> Result<Vec<SigningKey>, TrailError> {
    let keys = keys.iter().map(|key| key.named(name));
    keys.collect::<Result<_, _>>()
        .map_err(|error| TrailError::Write(std::io::Error::other(error)))
}

/// A trail as it was found.
struct Opened {
    origin: String,
    keys: Vec<SigningKey>,
    edge: Edge,
    last: Option<Position>,
    bundle: Vec<u8>,
    sealed: Option<SignedCheckpoint>,
    details: DetailsWriter,
    names: NamesWriter,
    dirty: Dirty,
    taken_over: bool,
}

impl Opened {
    fn read(options: &TrailOptions) -> Result<Option<Self>, TrailError> {
        let reader = TrailReader::new(options.dir.clone());
        let published = reader.checkpoint()?;
        let published_size = published.as_ref().map(size_of);
        let Some(sealed) = newest(published, newest_of_history(&reader)?) else {
            return Ok(None);
        };
        let origin = sealed.checkpoint.origin.clone();
        let name = KeyName::new(&origin).ok_or_else(|| TrailError::Origin(origin.clone()))?;
        let keys = named(&options.keys, &name)?;
        let verifiers: Vec<_> = keys.iter().map(SigningKey::verifier).collect();
        sealed.verify(&verifiers)?;
        let head = sealed.checkpoint.head;
        let edge = read_edge(&reader, head.size)?;
        if edge.root() != head.root {
            return Err(TrailError::Root);
        }
        let mut found = Found {
            last: last_position(&reader, head.size)?,
            bundle: partial_bundle(&reader, head.size)?,
            pseudonyms: reader.pseudonyms()?,
            edge,
            reader,
            dirty: Dirty::new(options.dir.clone(), options.on_change.clone()),
        };
        if options.take_over {
            found.take_over()?;
        }
        let size = found.edge.size();
        if size > head.size {
            found.note_private(head.size);
        }
        let last = found.last_with_details()?;
        remove_stray(&options.dir, size)?;
        let private = options.dir.join("private");
        Ok(Some(Self {
            origin,
            keys,
            taken_over: published_size != Some(size),
            dirty: found.dirty,
            edge: found.edge,
            last: found.last,
            bundle: found.bundle,
            sealed: Some(sealed),
            details: DetailsWriter::open(private.join(DETAILS), End { size, last })?,
            names: NamesWriter::open(private.join(NAMES))?,
        }))
    }
}

fn size_of(signed: &SignedCheckpoint) -> u64 {
    signed.checkpoint.head.size
}

/// Returns the larger of two checkpoints. The history is written first, so a crash leaves it
/// ahead.
fn newest(
    published: Option<SignedCheckpoint>,
    noted: Option<SignedCheckpoint>,
) -> Option<SignedCheckpoint> {
    match (published, noted) {
        (Some(published), Some(noted)) if size_of(&noted) > size_of(&published) => Some(noted),
        (published, noted) => published.or(noted),
    }
}

fn newest_of_history(reader: &TrailReader) -> Result<Option<SignedCheckpoint>, TrailError> {
    let newest = history::newest(&reader.dir().join("checkpoints"));
    let line = newest.map_err(ReadError::io("checkpoints"))?;
    Ok(line.and_then(|line| SignedCheckpoint::parse(&line.checkpoint).ok()))
}

fn read_edge(reader: &TrailReader, size: u64) -> Result<Edge, TrailError> {
    let mut levels = Vec::new();
    for (level, width) in (0_u8..).zip(TileId::partial_widths(size)) {
        let index = size >> (8 * (u32::from(level) + 1));
        levels.push(match width {
            0 => Vec::new(),
            width => {
                let id = TileId::partial(TileKind::Hashes(level), index, width);
                hashes(&reader.tile(id)?)
            }
        });
    }
    Edge::new(size, levels).ok_or(TrailError::Root)
}

fn last_position(reader: &TrailReader, size: u64) -> Result<Option<Position>, TrailError> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(None);
    };
    let bundle = reader.bundle(last / TILE_WIDTH as u64, size)?;
    let entry = bundle.iter().next_back().map(Entry::parse);
    match entry {
        Some(Ok(entry)) => Ok(Some(entry.position())),
        _ => Err(ReadError::damaged("the last entry", "it is not the entry of an event").into()),
    }
}

fn partial_bundle(reader: &TrailReader, size: u64) -> Result<Vec<u8>, TrailError> {
    match size % TILE_WIDTH as u64 {
        0 => Ok(Vec::new()),
        _ => Ok(reader
            .bundle(size / TILE_WIDTH as u64, size)?
            .bytes()
            .to_vec()),
    }
}

/// A trail whose end is looked for.
struct Found {
    reader: TrailReader,
    edge: Edge,
    last: Option<Position>,
    bundle: Vec<u8>,
    pseudonyms: Pseudonyms,
    dirty: Dirty,
}

impl Found {
    /// Notes that details and names behind a checkpoint may be in memory only.
    fn note_private(&mut self, sealed: u64) {
        let private = self.reader.dir().join("private");
        let segments = sealed / details::SEGMENT..=self.edge.size() / details::SEGMENT;
        let files = segments.map(|n| details::path_of(&private.join(DETAILS), n));
        for path in files.chain([private.join(NAMES)]) {
            if path.exists() {
                self.dirty.changed(path);
            }
        }
    }

    /// Returns the last entry with details in the last two bundles.
    fn last_with_details(&self) -> Result<Option<u64>, TrailError> {
        let size = self.edge.size();
        let index = size / TILE_WIDTH as u64;
        let mut bundles = vec![(index, Bundle::parse_torn(self.bundle.clone()))];
        if let Some(before) = index.checked_sub(1) {
            match self.reader.bundle(before, size) {
                Ok(bundle) => bundles.push((before, bundle)),
                Err(ReadError::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let last = bundles.iter().find_map(|(index, bundle)| {
            let has_details = |entry: &[u8]| {
                Entry::parse(entry).is_ok_and(|entry| entry.details_sha256.is_some())
            };
            let at = bundle.iter().rposition(has_details)?;
            Some(index * TILE_WIDTH as u64 + at as u64)
        });
        Ok(last)
    }

    /// Takes over the entries behind the checkpoint that were written completely. A crash may
    /// have come after a checkpoint was signed and before it was kept: its entries must not be
    /// made anew with other salts.
    fn take_over(&mut self) -> Result<(), TrailError> {
        loop {
            let index = self.edge.size() / TILE_WIDTH as u64;
            let Some(bundle) = longest(self.reader.dir(), index, &self.bundle)? else {
                return Ok(());
            };
            let from = self.edge.size() % TILE_WIDTH as u64;
            let details = match self.reader.details_of_bundle(index) {
                // A file whose beginning was being written when power was lost has no details of
                // entries that count. Other damage is found where it is.
                Err(ReadError::Io { source, .. }) if source.kind() == ErrorKind::InvalidData => {
                    Vec::new()
                }
                read => read?,
            };
            let from = usize::try_from(from).unwrap_or(TILE_WIDTH);
            for bytes in bundle.iter().skip(from) {
                let Some(position) = self.follows(bytes, &details) else {
                    return Ok(());
                };
                self.last = Some(position);
                let _ = Bundle::push(&mut self.bundle, bytes);
                let mut full = Vec::new();
                self.edge.push(leaf(bytes), &mut full);
                for tile in full {
                    self.dirty
                        .write(&tile.id.to_string(), tile.hashes.as_flattened())?;
                }
            }
            if !self.edge.size().is_multiple_of(TILE_WIDTH as u64) || bundle.len() == from {
                return Ok(());
            }
            let full = TileId::full(TileKind::Entries, index).to_string();
            self.dirty.write(&full, &self.bundle)?;
            self.bundle.clear();
        }
    }

    /// Returns the position of the next entry, if this is one and is complete.
    fn follows(&self, bytes: &[u8], details: &[Record]) -> Option<Position> {
        let entry = Entry::parse(bytes).ok()?;
        let position = entry.position();
        let index = self.edge.size();
        let is_next = self.last.is_none_or(|last| position > last);
        let is_kept = entry.details_sha256.is_none() || {
            let record = details.iter().find(|record| record.index == index);
            match record.map(|record| &record.details) {
                Some(Details::Kept { salt, json }) => {
                    entry.commitment() == Some(entry::commitment(salt, json))
                }
                Some(Details::Erased) | None => false,
            }
        };
        let is_named =
            |id: &str| !id.starts_with(names::PREFIX) || self.pseudonyms.name(id).is_some();
        let are_named = is_named(&entry.actor)
            && entry.owner.as_deref().is_none_or(is_named)
            && (entry.target.r#type != "user" || is_named(&entry.target.id));
        (is_next && is_kept && are_named).then_some(position)
    }
}

/// Returns the longest form of a bundle that begins with what the trail has of it.
fn longest(dir: &Path, index: u64, known: &[u8]) -> Result<Option<Bundle>, TrailError> {
    let full = TileId::full(TileKind::Entries, index);
    let widths = partial_widths(&dir.join(full.partials_dir()))?;
    let partial = widths
        .into_iter()
        .map(|width| TileId::partial(TileKind::Entries, index, width));
    let mut longest: Option<Bundle> = None;
    for id in partial.chain([full]) {
        let Some(bytes) = files::read(&dir.join(id.to_string()))? else {
            continue;
        };
        let bundle = Bundle::parse_torn(bytes);
        let is_longer = longest.as_ref().is_none_or(|it| bundle.len() > it.len());
        if is_longer && bundle.bytes().starts_with(known) {
            longest = Some(bundle);
        }
    }
    Ok(longest)
}

fn partial_widths(dir: &Path) -> std::io::Result<Vec<u8>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut widths = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        widths.extend(name.to_str().and_then(|name| name.parse::<u8>().ok()));
    }
    widths.sort_unstable();
    Ok(widths)
}

/// Removes the forms of the last bundle and of the last tiles that are wider than the trail:
/// they were torn by a crash and belong to no checkpoint. Removes the incomplete forms of full
/// tiles too, which a crash may have left.
fn remove_stray(dir: &Path, size: u64) -> std::io::Result<()> {
    let levels = (0_u8..7).map(TileKind::Hashes);
    for kind in levels.chain([TileKind::Entries]) {
        let index = size >> (8 * (kind.level() + 1));
        let kept = TileId::in_tree(kind, index, size).map_or(0, TileId::width);
        let full = TileId::full(kind, index);
        files::remove(&dir.join(full.to_string()))?;
        for width in partial_widths(&dir.join(full.partials_dir()))? {
            if usize::from(width) > kept {
                let stray = TileId::partial(kind, index, width);
                files::remove(&dir.join(stray.to_string()))?;
            }
        }
        // Tiles that have a directory in common have the last three digits of their index.
        for before in index.saturating_sub(index % 1_000 + 1)..index {
            files::remove_dir(&dir.join(TileId::full(kind, before).partials_dir()))?;
        }
    }
    Ok(())
}
