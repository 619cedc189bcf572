//! Events that an endpoint has taken and not finished.

use std::collections::BTreeMap;

use deia_model::{Position, Timestamp};

/// Keeps the position up to which everything is done, while deliveries end in any order.
#[derive(Debug)]
pub(super) struct Tracker {
    taken_to: Position,
    open: BTreeMap<u64, (u64, Timestamp)>,
}

impl Tracker {
    /// Begins after that position.
    pub(super) fn new(after: Position) -> Self {
        Self {
            taken_to: after,
            open: BTreeMap::new(),
        }
    }

    /// Returns the position up to which events were taken or passed over.
    pub(super) fn taken_to(&self) -> Position {
        self.taken_to
    }

    /// Notes that an event was taken.
    pub(super) fn take(&mut self, event: Position, at: Timestamp) {
        self.taken_to = event;
        self.open.insert(event.seq, (event.timeline, at));
    }

    /// Notes that events up to there were passed over.
    pub(super) fn pass(&mut self, to: Position) {
        if to.seq > self.taken_to.seq || to.timeline > self.taken_to.timeline {
            self.taken_to = to;
        }
    }

    /// Notes that an event is finished.
    pub(super) fn finish(&mut self, seq: u64) {
        self.open.remove(&seq);
    }

    /// Returns the number of events that are not finished.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns the position up to which everything is finished, and the time of the oldest
    /// event after it that was taken.
    pub(super) fn finished_to(&self) -> (Position, Option<Timestamp>) {
        match self.open.first_key_value() {
            None => (self.taken_to, None),
            Some((seq, (timeline, at))) => {
                let before = Position {
                    timeline: *timeline,
                    seq: seq - 1,
                };
                (before, Some(*at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_open_event_holds_the_position() {
        let at = |seq| Position { timeline: 1, seq };
        let time = Timestamp::from_millis;
        let mut tracker = Tracker::new(at(5));
        assert_eq!(tracker.finished_to(), (at(5), None));
        for seq in [7, 9, 12] {
            tracker.take(at(seq), time(seq as i64));
        }
        tracker.pass(at(20));
        assert_eq!(tracker.finished_to(), (at(6), Some(time(7))));
        tracker.finish(9);
        assert_eq!(tracker.finished_to(), (at(6), Some(time(7))));
        tracker.finish(7);
        assert_eq!(tracker.finished_to(), (at(11), Some(time(12))));
        tracker.finish(12);
        assert_eq!(tracker.finished_to(), (at(20), None));
        assert_eq!((tracker.taken_to(), tracker.open()), (at(20), 0));
    }
}
