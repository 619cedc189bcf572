//! Sees arbiters that make no progress, from a thread of its own.
//!
//! Four times within its limit it asks every arbiter for a sign of life. One that stays silent for
//! that long while one and the same poll of a child goes on (or none of a child at all: something
//! else blocks it) is *blocked*. Time is counted in the watchdog's own rounds, so that a process
//! that was stopped as a whole is not taken for a blocked one.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, mpsc},
    time::Duration,
};

use crate::{
    arbiters::{ArbiterSlot, HERE, SlotId},
    events::EventKind,
    fence::FenceSnapshot,
    panic::guard,
    record::{ChildId, ChildRecord},
    signal::{Blocked, BlockedBy, ChildSignal, SignalKind},
    state::Kind,
    supervisor::Shared,
};

/// Rounds of silence after which an arbiter is blocked.
const ROUNDS: u32 = 4;

/// Ends the watchdog when it is dropped.
pub(crate) struct Guard {
    _end: mpsc::Sender<()>,
}

/// Starts a watchdog over the tree below `root`.
pub(crate) fn start(limit: Duration, root: &Arc<ChildRecord>, shared: &Arc<Shared>) -> Guard {
    let (end, ended) = mpsc::channel();
    let mut watchdog = Watchdog {
        root: Arc::downgrade(root),
        shared: Arc::downgrade(shared),
        silent: HashMap::new(),
    };
    let pause = (limit / ROUNDS).max(Duration::from_millis(1));
    let thread = std::thread::Builder::new().name("supervision-watchdog".to_owned());
    let running = thread.spawn(move || {
        while ended.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            // A panic (of a subscriber to the log, say) must not end the watchdog.
            match guard(|| watchdog.round()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(panic) => tracing::error!(error = panic.message, "watchdog round failed"),
            }
        }
    });
    if let Err(error) = running {
        tracing::error!(%error, "no thread for the watchdog: blocked arbiters are not snapshot");
    }
    Guard { _end: end }
}

struct Watchdog {
    root: Weak<ChildRecord>,
    shared: Weak<Shared>,
    silent: HashMap<SlotId, Silence>,
}

/// Of one arbiter.
struct Silence {
    rounds: u32,
    suspect: Option<Suspect>,
    /// Whose blocking was reported.
    reported: Option<Arc<ChildRecord>>,
}

/// A child inside a poll.
#[derive(Clone)]
struct Suspect {
    supervisor: Arc<ChildRecord>,
    id: ChildId,
    record: Arc<ChildRecord>,
    snapshot: FenceSnapshot,
}

impl Silence {
    /// One more silent round, in which `suspect` was seen. Whether the arbiter is blocked now.
    fn goes_on(&mut self, suspect: Option<Suspect>) -> bool {
        let poll = |suspect: &Option<Suspect>| suspect.as_ref().map(|s| (s.id, s.snapshot));
        if poll(&suspect) == poll(&self.suspect) {
            self.rounds += 1;
        } else {
            // Another poll, so it did make progress.
            self.rounds = 1;
            self.suspect = suspect;
        }
        self.rounds >= ROUNDS
    }
}

impl Watchdog {
    /// Looks at all arbiters once. Whether there still is a tree.
    fn round(&mut self) -> bool {
        let (Some(root), Some(shared)) = (self.root.upgrade(), self.shared.upgrade()) else {
            return false;
        };
        let slots = shared.pool.slots();
        self.silent
            .retain(|id, _| slots.iter().any(|slot| slot.id == *id));
        for slot in slots {
            self.look_at(&slot, &root, &shared);
        }
        true
    }

    fn look_at(&mut self, slot: &ArbiterSlot, root: &Arc<ChildRecord>, shared: &Shared) {
        if slot.is_alive() {
            let silence = self.silent.remove(&slot.id);
            if let Some(record) = silence.and_then(|silence| silence.reported) {
                record.set_stuck(false);
                shared.events.emit(record.path(), EventKind::Recovered);
            }
            return;
        }
        let silence = self.silent.entry(slot.id).or_insert(Silence {
            rounds: 0,
            suspect: None,
            reported: None,
        });
        if silence.reported.is_some() || !silence.goes_on(suspect(root, slot.id)) {
            return;
        }
        let blamed = silence.suspect.as_ref();
        silence.reported = Some(report(slot.id, blamed, root, shared));
    }
}

/// The child on this arbiter that is being polled.
fn suspect(supervisor: &Arc<ChildRecord>, slot: SlotId) -> Option<Suspect> {
    for (id, record) in supervisor.children_by_id() {
        if record.kind == Kind::Supervisor {
            let found = suspect(&record, slot);
            if found.is_some() {
                return found;
            }
        } else if record.slot() == slot {
            let snapshot = record.fence.snapshot();
            if snapshot.is_inside() {
                let supervisor = Arc::clone(supervisor);
                return Some(Suspect {
                    supervisor,
                    id,
                    record,
                    snapshot,
                });
            }
        }
    }
    None
}

/// Says who blocks the arbiter, and has its children moved; who was blamed.
fn report(
    slot: SlotId,
    blamed: Option<&Suspect>,
    root: &Arc<ChildRecord>,
    shared: &Shared,
) -> Arc<ChildRecord> {
    let record = blamed.map_or(root, |suspect| &suspect.record);
    let message_type = blamed.and_then(|suspect| suspect.record.current_message());
    record.set_stuck(true);
    shared
        .events
        .emit(record.path(), EventKind::Stuck { message_type });
    if slot != HERE {
        tell(root, slot, blamed, message_type);
    }
    Arc::clone(record)
}

/// Tells all supervisors with children on the arbiter.
fn tell(
    supervisor: &Arc<ChildRecord>,
    slot: SlotId,
    blamed: Option<&Suspect>,
    message_type: Option<&'static str>,
) {
    let mut concerned = false;
    for (_, record) in supervisor.children_by_id() {
        match record.kind {
            Kind::Supervisor => tell(&record, slot, blamed, message_type),
            Kind::Worker => concerned |= record.slot() == slot,
        }
    }
    let signals = supervisor.supervisor.as_ref();
    let Some(signals) = signals.and_then(|part| part.signals.get()) else {
        return;
    };
    if concerned {
        let blocked_by = blamed
            .filter(|suspect| Arc::ptr_eq(&suspect.supervisor, supervisor))
            .map(|suspect| BlockedBy {
                id: suspect.id,
                snapshot: suspect.snapshot,
                message_type,
            });
        let _ = signals.send(ChildSignal {
            id: 0,
            incarnation: 0,
            kind: SignalKind::Blocked(Blocked { slot, blocked_by }),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::Fence;

    #[test]
    fn only_one_and_the_same_poll_is_stuck() {
        let record = ChildRecord::worker("a".to_owned());
        let fence = Fence::default();
        let asleep = fence.snapshot();
        let suspect = |id, snapshot| {
            let (supervisor, record) = (Arc::clone(&record), Arc::clone(&record));
            Some(Suspect {
                supervisor,
                id,
                record,
                snapshot,
            })
        };
        fence.revoke(asleep);
        let (one, other) = (asleep, fence.snapshot());
        // What each round sees, and in which the arbiter is found to be blocked.
        let cases = [
            (vec![suspect(1, one); 4], Some(3)),
            (vec![None; 4], Some(3)),
            (
                vec![suspect(1, one), suspect(1, one), suspect(1, one)],
                None,
            ),
            (
                [one, other]
                    .repeat(4)
                    .iter()
                    .map(|snapshot| suspect(1, *snapshot))
                    .collect(),
                None,
            ),
            (
                [1, 2]
                    .repeat(4)
                    .iter()
                    .map(|id| suspect(*id, one))
                    .collect(),
                None,
            ),
            ([vec![None; 3], vec![suspect(1, one); 4]].concat(), Some(6)),
        ];
        for (rounds, expected) in cases {
            let mut silence = Silence {
                rounds: 0,
                suspect: None,
                reported: None,
            };
            let found = rounds
                .into_iter()
                .position(|snapshot| silence.goes_on(snapshot));
            assert_eq!(found, expected);
        }
    }
}
