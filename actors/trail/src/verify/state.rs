//! The state of a verification, which can be saved and resumed.

use std::collections::{BTreeMap, BTreeSet};

use deia_model::Position;
use serde::{Deserialize, Serialize};

use super::{
    Verification, VerifyError,
    entries::Target,
    history::{self, Place},
    report::{Checked, Fault, MAX_FAULTS, Notes},
};
use crate::{checkpoint::SignedCheckpoint, note::VerifierKey, tile::TILE_WIDTH};

/// Version of the form of a state. Fact: the format of saved states.
const VERSION: u32 = 1;
/// Maximum number of targets with erased details whose record is still looked for. Fixed:
/// bounds the memory.
const ERASED_MAX: usize = 262_144;

/// The part of a verification that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Entries,
    History,
    Done,
}

/// An entry with erased details, whose record is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AwaitedErasure {
    pub(super) target: Target,
    pub(super) entry: u64,
    pub(super) event: Position,
    /// Number of entries of the target.
    pub(super) count: u64,
}

/// The checkpoint before the one that is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    /// Number of the line.
    pub(super) line: u64,
    pub(super) size: u64,
    pub(super) root: [u8; 32],
}

/// The state of a verification. It is opaque, and belongs to one trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    given: Vec<String>,
    asked: (Option<u64>, Option<u64>),
    pub(super) check_details: bool,
    pub(super) from: u64,
    pub(super) to: u64,
    head: Option<String>,
    published: Option<String>,
    pub(super) history_length: u64,
    pub(super) stage: Stage,
    /// The next bundle.
    pub(super) next: u64,
    /// Position of the last event, if the entry before the next bundle could be read.
    pub(super) last: Option<Position>,
    /// The last file of details that was told to be unreadable.
    pub(super) told_details: Option<u64>,
    /// Erased details by a hash of their targets.
    #[serde(with = "awaited")]
    pub(super) awaited_erasures: BTreeMap<Target, AwaitedErasure>,
    /// Bundles that are missing from the beginning on: the first and the one after the last.
    pub(super) awaited_prune: Option<(u64, u64)>,
    /// Maximum end of entries that were removed by retention, as entries say.
    pub(super) pruned_to: u64,
    pub(super) history: Place,
    pub(super) before: Option<Before>,
    /// Keys that signed the checkpoint before.
    pub(super) signers: BTreeSet<String>,
    /// Keys that signed checkpoints together.
    pub(super) linked: Vec<BTreeSet<String>>,
    /// Maximum size of a checkpoint of the history whose signatures are right.
    pub(super) newest: u64,
    /// Names of witnesses whose keys are not known.
    pub(super) witnesses: BTreeSet<String>,
    pub(super) checked: Checked,
    pub(super) erased: u64,
    pub(super) pruned: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) more_faults: u64,
    pub(super) notes: Notes,
}

/// State of a trail when its verification began.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) head: Option<&'a SignedCheckpoint>,
    pub(super) published: Option<&'a SignedCheckpoint>,
    pub(super) history_length: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl State {
    pub(super) fn new(verification: &Verification, found: &Found<'_>) -> Self {
        let text = |signed: Option<&SignedCheckpoint>| signed.map(|signed| signed.note.to_text());
        let keys = verification.keys.iter();
        Self {
            version: VERSION,
            given: keys.map(ToString::to_string).collect(),
            asked: (verification.from, verification.to),
            check_details: verification.check_details,
            from: found.from,
            to: found.to,
            head: text(found.head),
            published: text(found.published),
            history_length: found.history_length,
            stage: Stage::Entries,
            next: found.from / TILE_WIDTH as u64,
            last: None,
            told_details: None,
            awaited_erasures: BTreeMap::new(),
            awaited_prune: None,
            pruned_to: 0,
            history: Place::default(),
            before: None,
            signers: BTreeSet::new(),
            linked: Vec::new(),
            newest: 0,
            witnesses: BTreeSet::new(),
            checked: Checked::default(),
            erased: 0,
            pruned: 0,
            faults: Vec::new(),
            more_faults: 0,
            notes: Notes::default(),
        }
    }

    /// Returns what was asked for.
    ///
    /// # Errors
    /// The state was altered.
    pub fn verification(&self) -> Result<Verification, VerifyError> {
        Ok(Verification {
            from: self.asked.0,
            to: self.asked.1,
            keys: self.given_keys()?,
            check_details: self.check_details,
        })
    }

    pub(super) fn check(&self) -> Result<(), VerifyError> {
        match self.version {
            VERSION => Ok(()),
            _ => Err(VerifyError::State("it is of another version of deia")),
        }
    }

    pub(super) fn keys_given(&self) -> bool {
        !self.given.is_empty()
    }

    pub(super) fn given_keys(&self) -> Result<Vec<VerifierKey>, VerifyError> {
        let keys = self.given.iter().map(|key| key.parse());
        keys.collect::<Result<_, _>>()
            .map_err(|_| VerifyError::State("its keys are malformed"))
    }

    /// Returns the checkpoint whose tree is verified.
    pub(super) fn head(&self) -> Result<Option<SignedCheckpoint>, VerifyError> {
        parsed(self.head.as_deref())
    }

    pub(super) fn published(&self) -> Option<SignedCheckpoint> {
        parsed(self.published.as_deref()).ok().flatten()
    }

    /// Returns the first bundle, and the one after the last.
    pub(super) fn bundles(&self) -> (u64, u64) {
        let width = TILE_WIDTH as u64;
        (self.from / width, self.to.div_ceil(width))
    }

    /// Adds a fault.
    pub(super) fn add(&mut self, fault: Fault) {
        match self.faults.len() < MAX_FAULTS {
            true => self.faults.push(fault),
            false => self.more_faults += 1,
        }
    }

    /// Notes an entry whose details are erased. Returns false if there are too many.
    pub(super) fn await_erasure(&mut self, erased: AwaitedErasure) -> bool {
        if let Some(known) = self.awaited_erasures.get_mut(&erased.target) {
            known.count += 1;
            return true;
        }
        let has_room = self.awaited_erasures.len() < ERASED_MAX;
        if has_room {
            self.awaited_erasures.insert(erased.target.clone(), erased);
        }
        has_room
    }

    /// Returns whether a record in a later entry is looked for.
    pub(super) fn is_waiting(&self) -> bool {
        let is_pruned = self
            .awaited_prune
            .is_none_or(|(_, after)| self.covers(after));
        !self.awaited_erasures.is_empty() || !is_pruned
    }

    /// Returns whether entries say that retention has removed the bundles before that one.
    pub(super) fn covers(&self, bundle: u64) -> bool {
        bundle.saturating_mul(TILE_WIDTH as u64) <= self.pruned_to
    }

    /// Notes that keys signed the same checkpoint.
    pub(super) fn link(&mut self, keys: &BTreeSet<String>) {
        let is_apart = |group: &BTreeSet<String>| group.is_disjoint(keys);
        let mut all = keys.clone();
        for group in self.linked.iter().filter(|group| !is_apart(group)) {
            all.extend(group.iter().cloned());
        }
        self.linked.retain(is_apart);
        self.linked.push(all);
    }
}

fn parsed(text: Option<&str>) -> Result<Option<SignedCheckpoint>, VerifyError> {
    let signed = text.map(history::parse).transpose();
    signed.map_err(|_| VerifyError::State("its checkpoint is malformed"))
}

/// Returns the first tile of a level that has hashes of entries in a range, and the one after
/// the last; `None` for an empty range.
pub(super) fn tiles_of(level: u8, from: u64, to: u64) -> Option<(u64, u64)> {
    let last = to.checked_sub(1).filter(|last| *last >= from)?;
    let index = |entry: u64| entry.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
    Some((index(from), index(last) + 1))
}

/// Maps as lists, because the keys are no texts.
mod awaited {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{AwaitedErasure, Target};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Target, AwaitedErasure>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Target, AwaitedErasure>, D::Error> {
        let list = Vec::<AwaitedErasure>::deserialize(deserializer)?;
        let items = list.into_iter().map(|item| (item.target.clone(), item));
        Ok(items.collect())
    }
}
