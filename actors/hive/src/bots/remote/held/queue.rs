//! The order in which attempts wait: any of them may leave at once, however many wait.

use std::collections::{BTreeMap, HashMap};

use crate::bots::bot::AttemptKey;

/// The attempts that wait for a worker, the oldest first.
#[derive(Debug, Default)]
pub(in super::super) struct Queue {
    by_turn: BTreeMap<u64, AttemptKey>,
    turns: HashMap<AttemptKey, u64>,
    next: u64,
}

/// A place in a queue, for one that is put back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn(u64);

impl Queue {
    pub(in super::super) fn len(&self) -> usize {
        self.by_turn.len()
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.by_turn.is_empty()
    }

    pub(super) fn push_back(&mut self, key: AttemptKey) {
        let turn = Turn(self.next);
        self.next += 1;
        self.put_back(turn, key);
    }

    pub(super) fn pop_front(&mut self) -> Option<(Turn, AttemptKey)> {
        let (turn, key) = self.by_turn.pop_first()?;
        self.turns.remove(&key);
        Some((Turn(turn), key))
    }

    /// Puts an attempt back where it was.
    pub(super) fn put_back(&mut self, turn: Turn, key: AttemptKey) {
        self.by_turn.insert(turn.0, key);
        self.turns.insert(key, turn.0);
    }

    pub(super) fn remove(&mut self, key: AttemptKey) {
        if let Some(turn) = self.turns.remove(&key) {
            self.by_turn.remove(&turn);
        }
    }
}
