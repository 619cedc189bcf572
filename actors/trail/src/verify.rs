//! Verification of a trail by its files alone.
//!
//! # Checked
//!
//! - The published checkpoint and each of the history is signed by a key of the log, and a key
//!   changes only by a checkpoint that the old one and the new one signed.
//! - The sizes of checkpoints do not fall, and each has the root that the tree has at its size:
//!   no two of them contradict each other. None of the history is newer than the published one.
//! - The root of the newest checkpoint is that of the hash tiles, each hash of a tile is that of
//!   the tile below it, and those of the lowest level are the hashes of the entries.
//! - Each entry is canonical JSON of an event; events are in order and none is missing.
//! - Details have the hash that their entry has of them. Erased ones are accepted if a later
//!   entry of the same target is a record of the erasure.
//! - Bundles that are missing from the beginning on are accepted as far as an entry
//!   `audit.pruned` has the target `audit_entries` `0-<end>`: the entries before `<end>`.
//! - Forms of tiles and bundles that are narrower than the tree has them, as a growing trail
//!   leaves them, are beginnings of the tiles and bundles of the tree.
//!
//! # Not provable
//!
//! - `private/names`: names are no part of the tree. Somebody who can write that file can
//!   attribute entries to other names, consistently.
//! - The times of the lines of the history, which nothing signs; and that no line was removed
//!   from it, other than one by which a key changed. What such a line proves, newer ones do.
//! - Signatures of witnesses whose keys were not given.
//! - Details of entries that retention has removed, where their file is kept for later entries.
//! - That the whole directory was not set back to an earlier state, history included. Compare
//!   the checkpoint with one kept elsewhere, or with what a witness has signed.
//! - Who introduced a key, if the keys are not given: see [`KeySource::Directory`]. A checkpoint
//!   that was signed by the old key can be signed by anybody else in addition, so that a new key
//!   which is not among the given ones is told as a note, to be confirmed.
//! - Anything in `former`, which holds earlier logs, and other files that are no part of a
//!   trail: they are named in notes.
//!
//! A trail may grow while it is verified: the checkpoint that was found at the start counts.
//! Bundles must not be pruned meanwhile.

mod details;
mod entries;
mod files;
mod forms;
mod history;
mod lines;
mod report;
mod scan;
mod state;
mod survey;
mod tiles;
mod walk;

use std::{io, num::NonZero, path::PathBuf};

use data_encoding::BASE64;

use self::{
    entries::Checker,
    files::Files,
    history::{HistoryFile, Keys},
    state::{Found, Stage},
    survey::Survey,
    tiles::Tiles,
};
pub use self::{
    report::{Checked, DetailsCheck, Fault, FaultKind, KeySource, MAX_FAULTS, MAX_NOTES, Report},
    state::State,
};
use crate::{
    checkpoint::SignedCheckpoint,
    note::VerifierKey,
    proof::Head,
    reader::TrailReader,
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// Bytes of the history that count as one unit of progress. Fixed: a scale of progress
/// only.
const HISTORY_UNIT: u64 = 64 << 10;

/// A range to be verified, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Index of the first entry; `None`: the first of the log. Whole bundles of 256 entries are
    /// checked, and all checkpoints always.
    pub from: Option<u64>,
    /// Index after the last entry; `None`: the end of the log.
    pub to: Option<u64>,
    /// The keys of the log, and of witnesses, that the auditor trusts. Without any those are
    /// taken that the directory names, which the report says.
    pub keys: Vec<VerifierKey>,
    /// True if the details of entries are checked too.
    pub check_details: bool,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            keys: Vec::new(),
            check_details: true,
        }
    }
}

/// Reason why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no trail.
    #[error("there is no audit trail in {}", .0.display())]
    NoTrail(PathBuf),
    /// The directory cannot be opened.
    #[error("{} cannot be read: {error}", .dir.display())]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The range has no entries.
    #[error("no entries are from {from} to {to}: the log has {size}")]
    Range {
        /// Index of the first entry.
        from: u64,
        /// Index after the last entry.
        to: u64,
        /// Number of entries of the log.
        size: u64,
    },
    /// The state is that of another trail or another version.
    #[error("the saved state does not belong to this trail: {0}")]
    State(&'static str),
}

/// The progress of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Units that are done. A unit is a bundle of entries, or 64 KiB of checkpoints.
    pub done: u64,
    /// Units in total; may grow while records of erasure and retention are looked for.
    pub total: u64,
}

/// Verifies a trail step by step.
#[derive(Debug)]
pub struct Verifier {
    files: Files,
    keys: Keys,
    survey: Survey,
    tiles: Option<Tiles>,
    history: Option<HistoryFile>,
    checkers: Vec<Checker>,
    /// Number of entries of the tree.
    size: u64,
    state: State,
}

impl Verifier {
    /// Begins a verification.
    ///
    /// # Errors
    /// There is no trail, or the range has no entries.
    pub fn new(trail: &TrailReader, verification: Verification) -> Result<Self, VerifyError> {
        let dir = trail.dir();
        let files = open(trail)?;
        let is_there = |name: &str| files.exists(name);
        if !["checkpoint", "checkpoints", "tile"]
            .into_iter()
            .any(is_there)
        {
            return Err(VerifyError::NoTrail(dir.to_owned()));
        }
        let (keys, mut faults) = Keys::read(&files, verification.keys.clone());
        // Before the published checkpoint: what the history has by now must be published then,
        // or soon.
        let history = HistoryFile::open(&files);
        let mut history = match history {
            Ok(history) => Some(history),
            Err(reason) => {
                faults.push(Fault::new(FaultKind::History, "checkpoints", reason));
                None
            }
        };
        let published = match history::published(&files) {
            Ok(published) => Some(published),
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        let noted = history.as_mut().and_then(HistoryFile::last);
        let noted = noted.and_then(|line| history::parse_line(&line).ok());
        let head = newest(&keys, published.as_ref(), noted.as_ref());
        let size = head.map_or(0, |head| head.checkpoint.head.size);
        let (from, to) = (
            verification.from.unwrap_or(0),
            verification.to.unwrap_or(size).min(size),
        );
        if head.is_some() && (from > to || (from == to && (verification.from, size) != (None, 0))) {
            let to = verification.to.unwrap_or(size);
            return Err(VerifyError::Range { from, to, size });
        }
        let state = State::new(
            &verification,
            &Found {
                head,
                published: published.as_ref(),
                history_length: history.as_ref().map_or(0, |history| history.length),
                from,
                to,
            },
        );
        let mut verifier = Self::with(files, keys, history, state)?;
        for fault in faults {
            verifier.state.add(fault);
        }
        verifier.tell_survey();
        verifier.tell_edge();
        Ok(verifier)
    }

    /// Goes on with a verification from a saved state.
    ///
    /// # Errors
    /// There is no trail, or the state is not one of this version.
    pub fn resume(trail: &TrailReader, state: State) -> Result<Self, VerifyError> {
        state.check()?;
        let files = open(trail)?;
        let (keys, _) = Keys::read(&files, state.given_keys()?);
        if let (Ok(now), Some(then)) = (history::published(&files), state.head()?)
            && now.checkpoint.origin != then.checkpoint.origin
        {
            return Err(VerifyError::State("it is of another log"));
        }
        let mut history = HistoryFile::open(&files).ok();
        if let Some(history) = &mut history {
            if history.length < state.history_length {
                return Err(VerifyError::State("its history of checkpoints was longer"));
            }
            history.length = state.history_length;
        }
        Self::with(files, keys, history, state)
    }

    fn with(
        files: Files,
        keys: Keys,
        history: Option<HistoryFile>,
        state: State,
    ) -> Result<Self, VerifyError> {
        let head = state.head()?.map(|signed| signed.checkpoint.head);
        let checker = files.another().map(Checker::new);
        let checker = checker.map_err(|error| VerifyError::Unreadable {
            dir: PathBuf::from("."),
            error,
        })?;
        Ok(Self {
            survey: Survey::new(&files, head.map_or(0, |head| head.size)),
            tiles: head.map(|head| Tiles::open(&files, head)),
            checkers: vec![checker],
            size: head.map_or(0, |head| head.size),
            files,
            keys,
            history,
            state,
        })
    }

    /// Sets the number of threads that check bundles.
    ///
    /// # Errors
    /// The directory cannot be opened once more.
    pub fn set_jobs(&mut self, jobs: NonZero<usize>) -> io::Result<()> {
        self.checkers.truncate(jobs.get());
        while self.checkers.len() < jobs.get() {
            self.checkers.push(Checker::new(self.files.another()?));
        }
        Ok(())
    }

    /// Checks that many units at most, one at least.
    pub fn step(&mut self, max_bundles: u64) -> Progress {
        let mut left = max_bundles.max(1);
        while left > 0 && self.state.stage != Stage::Done {
            let used = match self.state.stage {
                Stage::Entries => self.walk(left),
                Stage::History => self.read_history(),
                Stage::Done => left,
            };
            left = left.saturating_sub(used);
        }
        self.progress()
    }

    /// Checks everything that is left.
    pub fn run(&mut self) -> Report {
        while !self.is_done() {
            self.step(u64::MAX);
        }
        self.report()
    }

    /// Returns whether everything was checked.
    pub fn is_done(&self) -> bool {
        self.state.stage == Stage::Done
    }

    /// Returns the progress.
    pub fn progress(&self) -> Progress {
        let state = &self.state;
        let (from, to) = state.bundles();
        let entries = self.survey.any.count(from, to.max(state.next));
        let total = entries + state.history_length.div_ceil(HISTORY_UNIT);
        let walked = self.survey.any.count(from, state.next);
        let done = match state.stage {
            Stage::Done => total,
            _ => walked + state.history.offset / HISTORY_UNIT,
        };
        Progress {
            done: done.min(total),
            total,
        }
    }

    /// Returns the state from which the verification can go on later.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the result so far.
    pub fn report(&self) -> Report {
        let state = &self.state;
        let head = state.head().ok().flatten();
        let size = head.as_ref().map_or(0, |head| head.checkpoint.head.size);
        let root = head.as_ref().map(|head| head.checkpoint.head.root);
        let given = state.keys_given();
        let keys = match given {
            true => &self.keys.given,
            false => &self.keys.listed,
        };
        let complete = self.is_done();
        Report {
            complete,
            sound: complete && state.faults.is_empty(),
            origin: head.map(|head| head.checkpoint.origin),
            size,
            root: root.map(|root| BASE64.encode(&root)).unwrap_or_default(),
            from: state.from,
            to: state.to,
            checked: state.checked,
            details: match (state.check_details, self.survey.has_private) {
                (false, _) => DetailsCheck::NotAsked,
                (true, false) => DetailsCheck::Absent,
                (true, true) => DetailsCheck::Checked,
            },
            erased: state.erased,
            pruned: state.pruned,
            keys: keys.iter().map(ToString::to_string).collect(),
            keys_from: match given {
                true => KeySource::Given,
                false => KeySource::Directory,
            },
            faults: state.faults.clone(),
            more_faults: state.more_faults,
            notes: state.notes.first.clone(),
            more_notes: state.notes.more,
        }
    }

    /// Tells of files that are missing, and of those that are no part of the trail.
    fn tell_survey(&mut self) {
        for fault in std::mem::take(&mut self.survey.faults) {
            self.state.add(fault);
        }
        self.state.notes = std::mem::take(&mut self.survey.notes);
        let (from, to) = self.state.bundles();
        let present_from = self.survey.bundles.next(0).unwrap_or(u64::MAX);
        let missing: Vec<_> = self
            .survey
            .bundles
            .missing(from, to)
            .take(MAX_FAULTS + 1)
            .collect();
        for (first, after) in missing {
            if after <= present_from && present_from != u64::MAX {
                // Retention removes from the beginning on: a record of it is looked for.
                self.state.awaited_prune = Some((first, after));
                continue;
            }
            let id = TileId::full(TileKind::Entries, first);
            let from = first * TILE_WIDTH as u64;
            let to = after.saturating_mul(TILE_WIDTH as u64).min(self.size) - 1;
            let reason = match after - first {
                1 => format!("it is missing, with the entries {from} to {to}"),
                n => format!(
                    "it and the {} bundles behind it are missing, with the entries {from} to {to}",
                    n - 1
                ),
            };
            let fault = Fault::new(FaultKind::Removed, id.to_string(), reason);
            self.state.add(fault.at_entry(from, None));
        }
        for (level, present) in (0_u8..).zip(&self.survey.tiles) {
            let Some((first, after)) = state::tiles_of(level, self.state.from, self.state.to)
            else {
                continue;
            };
            let in_tree =
                |index: &u64| TileId::in_tree(TileKind::Hashes(level), *index, self.size).is_some();
            let after = match in_tree(&(after - 1)) {
                true => after,
                false => after - 1,
            };
            let missing: Vec<_> = present.missing(first, after).take(MAX_FAULTS + 1).collect();
            for (first, after) in missing {
                let id = TileId::in_tree(TileKind::Hashes(level), first, self.size);
                let id = id.unwrap_or(TileId::full(TileKind::Hashes(level), first));
                let reason = match after - first {
                    1 => "it is missing".into(),
                    n => format!("it and the {} tiles behind it are missing", n - 1),
                };
                self.state
                    .add(Fault::new(FaultKind::Tile, id.to_string(), reason));
            }
        }
    }
}

fn open(trail: &TrailReader) -> Result<Files, VerifyError> {
    let dir = trail.dir().to_owned();
    Files::open(&dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => VerifyError::NoTrail(dir),
        _ => VerifyError::Unreadable { dir, error },
    })
}

/// Returns the newer of two checkpoints, if possible one with right signatures.
fn newest<'s>(
    keys: &Keys,
    published: Option<&'s SignedCheckpoint>,
    noted: Option<&'s SignedCheckpoint>,
) -> Option<&'s SignedCheckpoint> {
    let is_signed = |signed: &&SignedCheckpoint| keys.examine(signed).faults.is_empty();
    let size = |signed: &SignedCheckpoint| signed.checkpoint.head.size;
    match (published.filter(is_signed), noted.filter(is_signed)) {
        (Some(published), Some(noted)) if size(noted) > size(published) => Some(noted),
        (Some(published), _) => Some(published),
        (None, Some(noted)) => Some(noted),
        (None, None) => published.or(noted),
    }
}

/// Returns the head of a checkpoint.
fn head_of(signed: &SignedCheckpoint) -> Head {
    signed.checkpoint.head
}
