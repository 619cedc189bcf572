//! Results of a verification.

use std::fmt;

use deia_model::Position;
use serde::{Deserialize, Serialize};

/// Maximum number of faults that are kept; more are counted. Fixed: keeps messages
/// readable.
pub const MAX_FAULTS: usize = 100;
/// Maximum number of notes that are kept; more are counted. Fixed: keeps messages
/// readable.
pub const MAX_NOTES: usize = 100;

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A file cannot be read, or is none that a trail has.
    Unreadable,
    /// A checkpoint is missing or malformed.
    Checkpoint,
    /// A signature is wrong, or is by no known key.
    Signature,
    /// A key changed without the signatures of both, or is unknown.
    Key,
    /// A line of the history of checkpoints is malformed, or is out of order.
    History,
    /// Two checkpoints contradict each other.
    Contradiction,
    /// The published checkpoint is older than one that was published before.
    RolledBack,
    /// The tiles do not have the root of the checkpoint.
    Root,
    /// A hash tile is missing, or does not have the hashes of what is below it.
    Tile,
    /// A bundle does not hold the entries that it should.
    Bundle,
    /// An entry does not have the hash that the tree has of it.
    Altered,
    /// An entry is malformed.
    Entry,
    /// An entry is not behind the one before.
    Order,
    /// Numbers are missing between two entries.
    Gap,
    /// Entries were removed without a record of it.
    Removed,
    /// Details are missing that an entry has the hash of.
    DetailsMissing,
    /// Details do not have the hash that their entry has of them.
    DetailsAltered,
    /// Details were erased without a record of it.
    Erased,
}

/// A fault, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// The file, below the directory of the trail.
    pub file: String,
    /// Number of the line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Index of the entry in the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Position of the event of the entry, as far as it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Position>,
    /// The fault in words.
    pub reason: String,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, file: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            kind,
            file: file.into(),
            line: None,
            entry: None,
            event: None,
            reason: reason.to_string(),
        }
    }

    pub(super) fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    pub(super) fn at_entry(mut self, entry: u64, event: Option<Position>) -> Self {
        self.entry = Some(entry);
        self.event = event;
        self
    }

    /// Returns the place: the file, and the line or the entry within it.
    pub fn place(&self) -> String {
        let mut place = self.file.clone();
        if let Some(line) = self.line {
            place += &format!(", line {line}");
        }
        if let Some(entry) = self.entry {
            place += &format!(", entry {entry}");
        }
        if let Some(event) = self.event {
            place += &format!(" (event {event})");
        }
        place
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.reason)
    }
}

/// The first notes, and the number of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    pub(super) first: Vec<String>,
    pub(super) more: u64,
}

impl Notes {
    pub(super) fn push(&mut self, note: impl FnOnce() -> String) {
        match self.first.len() < MAX_NOTES {
            true => self.first.push(note()),
            false => self.more += 1,
        }
    }
}

/// The source of the keys that signatures were verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The verifier was given them.
    Given,
    /// The directory itself names them: they prove nothing to somebody who does not trust it.
    Directory,
}

/// The extent to which details were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetailsCheck {
    /// They were checked.
    Checked,
    /// It was not asked for.
    NotAsked,
    /// The directory is a copy without them.
    Absent,
}

/// Numbers of what was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// Entries.
    pub entries: u64,
    /// Hash tiles.
    pub tiles: u64,
    /// Checkpoints: those of the history, and the published one.
    pub checkpoints: u64,
    /// Details of entries.
    pub details: u64,
}

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// True if everything was checked that was asked for.
    pub complete: bool,
    /// True if everything was checked and no fault was found.
    pub sound: bool,
    /// The identity of the log; absent if no checkpoint can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Number of entries of the log.
    pub size: u64,
    /// Root of the tree, in Base64.
    pub root: String,
    /// Index of the first entry that was to be checked.
    pub from: u64,
    /// Index after the last entry that was to be checked.
    pub to: u64,
    /// Numbers of what was checked.
    pub checked: Checked,
    /// The extent to which details were checked.
    pub details: DetailsCheck,
    /// Number of entries whose details were erased.
    pub erased: u64,
    /// Number of entries that retention has removed.
    pub pruned: u64,
    /// The keys that signatures were verified with, as vkeys.
    pub keys: Vec<String>,
    /// The source of the keys.
    pub keys_from: KeySource,
    /// The first faults.
    pub faults: Vec<Fault>,
    /// Number of faults beyond these.
    pub more_faults: u64,
    /// Things that are no faults and worth knowing.
    pub notes: Vec<String>,
    /// Number of notes beyond these.
    pub more_notes: u64,
}
