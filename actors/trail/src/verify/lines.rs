//! The walk through the checkpoints of a trail, and the conclusions at its end.

use super::{
    HISTORY_UNIT, Verifier,
    details::name_of,
    head_of,
    history::{self, Entry, Signers},
    report::{Fault, FaultKind},
    state::{Before, Stage},
    tiles::{Proven, Unproven},
};
use crate::{
    checkpoint::SignedCheckpoint,
    details::SEGMENT,
    hash::empty_root,
    proof,
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// The place of a checkpoint.
#[derive(Clone, Copy, Debug)]
enum At {
    Line(u64),
    Published,
}

impl At {
    fn fault(self, kind: FaultKind, reason: impl std::fmt::Display) -> Fault {
        match self {
            Self::Line(line) => Fault::new(kind, "checkpoints", reason).at_line(line),
            Self::Published => Fault::new(kind, "checkpoint", reason),
        }
    }
}

impl Verifier {
    /// Checks a part of the history. Returns the units that this took.
    pub(super) fn read_history(&mut self) -> u64 {
        let Some(mut history) = self.history.take() else {
            self.conclude();
            return 1;
        };
        let end = self.state.history.offset + HISTORY_UNIT;
        let mut is_at_end = false;
        while self.state.history.offset < end && !is_at_end {
            let entry = history.next(&mut self.state.history);
            let line = self.state.history.line;
            match entry {
                Some(Entry::Line(text)) => self.check_line(line, &text),
                Some(Entry::TooLong) => {
                    let reason = "the line is longer than a checkpoint can be";
                    self.state
                        .add(At::Line(line).fault(FaultKind::History, reason));
                }
                Some(Entry::Torn) => self.state.notes.push(|| {
                    format!("checkpoints, line {line}: the line was not written to its end")
                }),
                None => {
                    if self.state.history.offset < history.length {
                        let reason = "the file became shorter, or cannot be read further";
                        self.state
                            .add(At::Line(line).fault(FaultKind::History, reason));
                    }
                    is_at_end = true;
                }
            }
        }
        self.history = Some(history);
        if is_at_end {
            self.conclude();
        }
        1
    }

    fn check_line(&mut self, line: u64, text: &[u8]) {
        let at = At::Line(line);
        match history::parse_line(text) {
            Ok(signed) => {
                let size = head_of(&signed).size;
                let before = self.state.before.as_ref();
                if let Some(before) = before.filter(|before| size < before.size) {
                    let reason = format!(
                        "its size, {size}, is less than that of line {}, {}",
                        before.line, before.size
                    );
                    self.state.add(at.fault(FaultKind::History, reason));
                }
                if self.check_checkpoint(at, &signed) {
                    self.state.newest = self.state.newest.max(size);
                }
                self.state.before = Some(Before {
                    line,
                    size,
                    root: head_of(&signed).root,
                });
            }
            Err(reason) => self.state.add(at.fault(FaultKind::History, reason)),
        }
    }

    /// Checks a checkpoint. Returns whether its signatures are right.
    fn check_checkpoint(&mut self, at: At, signed: &SignedCheckpoint) -> bool {
        self.state.checked.checkpoints += 1;
        if let Ok(Some(head)) = self.state.head()
            && head.checkpoint.origin != signed.checkpoint.origin
        {
            let reason = format!(
                "it is of the log {}, not of {}",
                signed.checkpoint.origin, head.checkpoint.origin
            );
            self.state.add(at.fault(FaultKind::Checkpoint, reason));
        }
        let signers = self.keys.examine(signed);
        for reason in &signers.faults {
            self.state.add(at.fault(FaultKind::Signature, reason));
        }
        self.follow_keys(at, &signers);
        let head = head_of(signed);
        let before = self.state.before.as_ref();
        let is_same =
            before.is_some_and(|before| (before.size, before.root) == (head.size, head.root));
        if !is_same && let Some(reason) = self.contradicts(signed) {
            self.state.add(at.fault(FaultKind::Contradiction, reason));
        }
        signers.faults.is_empty()
    }

    /// Returns how a checkpoint contradicts the tree, if it does.
    fn contradicts(&mut self, signed: &SignedCheckpoint) -> Option<String> {
        let head = head_of(signed);
        if head.size == 0 {
            return (head.root != empty_root())
                .then(|| "its root is not that of a tree without entries".into());
        }
        if head.size > self.size {
            return Some(format!(
                "it is of {} entries, more than the newest checkpoint has",
                head.size
            ));
        }
        let tiles = self.tiles.as_ref()?;
        let proven = Proven {
            tiles,
            files: &self.files,
        };
        match proof::root(&proven, head.size) {
            Ok(root) if root == Some(head.root) => None,
            Ok(_) => Some(format!(
                "its root is not that of the first {} entries: it contradicts the newest checkpoint",
                head.size
            )),
            Err(Unproven) => {
                // The damage to the tiles is told.
                self.state.notes.push(|| {
                    format!("the checkpoint of {} entries cannot be compared, because tiles are damaged", head.size)
                });
                None
            }
        }
    }

    /// Follows the keys from one checkpoint to the next.
    fn follow_keys(&mut self, at: At, signers: &Signers) {
        self.state
            .witnesses
            .extend(signers.unknown.iter().take(100).cloned());
        if signers.keys.is_empty() {
            return;
        }
        self.state.link(&signers.keys);
        let is_first = self.state.signers.is_empty();
        if !is_first && self.state.signers.is_disjoint(&signers.keys) {
            let list = |keys: &std::collections::BTreeSet<String>| {
                keys.iter().cloned().collect::<Vec<_>>().join(", ")
            };
            let reason = format!(
                "it is signed by {}, and no checkpoint before it by that key and {}, which signed the one before",
                list(&signers.keys),
                list(&self.state.signers)
            );
            self.state.add(at.fault(FaultKind::Key, reason));
        }
        self.state.signers = signers.keys.clone();
    }

    /// Draws the conclusions.
    fn conclude(&mut self) {
        if let Some(published) = self.state.published() {
            let is_signed = self.check_checkpoint(At::Published, &published);
            let size = head_of(&published).size;
            if is_signed && size < self.state.newest && self.is_still_older() {
                let reason = format!(
                    "it is of {size} entries, and an earlier one of {}: it was rolled back, or the hive ended while it was published and has not run since",
                    self.state.newest
                );
                self.state
                    .add(At::Published.fault(FaultKind::RolledBack, reason));
            }
        }
        self.conclude_keys();
        self.conclude_removals();
        let witnesses = std::mem::take(&mut self.state.witnesses);
        for name in witnesses {
            self.state.notes.push(|| {
                format!("signatures of the witness {name} were not checked: its key was not given")
            });
        }
        self.state.stage = Stage::Done;
    }

    /// Returns whether the published checkpoint is older than the history by now. A checkpoint
    /// is noted in the history first.
    fn is_still_older(&self) -> bool {
        let again = history::published(&self.files).ok();
        again.is_none_or(|signed| {
            head_of(&signed).size < self.state.newest
                || !self.keys.examine(&signed).faults.is_empty()
        })
    }

    fn conclude_keys(&mut self) {
        let given: Vec<_> = self.keys.given.iter().map(ToString::to_string).collect();
        let is_given = self.state.keys_given();
        let linked = |key: &String| {
            let group = self.state.linked.iter().find(|group| group.contains(key));
            match is_given {
                true => group.is_some_and(|group| given.iter().any(|key| group.contains(key))),
                false => group.is_some(),
            }
        };
        let has_signed = |key: &String| self.state.linked.iter().any(|group| group.contains(key));
        let mut faults = Vec::new();
        let mut notes = Vec::new();
        if is_given && self.state.published().is_some() && !given.iter().any(has_signed) {
            let reason = "no checkpoint is signed by one of the given keys";
            faults.push(At::Published.fault(FaultKind::Signature, reason));
        }
        for (line, key) in (1..).zip(&self.keys.listed) {
            let key = key.to_string();
            if given.contains(&key) {
                continue;
            }
            match (is_given, linked(&key)) {
                (true, true) => notes.push(format!(
                    "the key {key} was not given: checkpoints that a given key signed are signed by it too, which anybody who can write to the directory could arrange; confirm it with the operator"
                )),
                (true, false) => {
                    let reason = "no checkpoint that a given key signed introduces this key";
                    faults.push(Fault::new(FaultKind::Key, "keys", reason).at_line(line));
                }
                (false, true) => {}
                (false, false) => notes.push(format!("no checkpoint is signed by the key {key}")),
            }
        }
        for fault in faults {
            self.state.add(fault);
        }
        for note in notes {
            self.state.notes.push(|| note);
        }
    }

    /// Tells of what was removed or erased without a record of it.
    fn conclude_removals(&mut self) {
        for awaited in std::mem::take(&mut self.state.awaited_erasures).into_values() {
            let (kind, id) = &awaited.target;
            let more = match awaited.count {
                1 => String::new(),
                n => format!(", as those of {} later entries of it", n - 1),
            };
            let reason = format!(
                "the details were erased{more}, and no later entry records the erasure of {kind} {id}"
            );
            let fault = Fault::new(FaultKind::Erased, name_of(awaited.entry / SEGMENT), reason);
            self.state
                .add(fault.at_entry(awaited.entry, Some(awaited.event)));
        }
        if let Some((first, after)) = self.state.awaited_prune.take() {
            let width = TILE_WIDTH as u64;
            match self.state.covers(after) {
                true => self.state.pruned = (after - first) * width,
                false => {
                    let reason = format!(
                        "the entries before {} are missing, and entries record the removal only of those before {}",
                        after * width,
                        self.state.pruned_to
                    );
                    let id = TileId::full(TileKind::Entries, first);
                    let fault = Fault::new(FaultKind::Removed, id.to_string(), reason);
                    self.state.add(fault.at_entry(first * width, None));
                }
            }
        }
    }
}
