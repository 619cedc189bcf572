//! Detection of arbiters that make no progress, on a thread of its own.
//!
//! Four times within its limit the watchdog asks every arbiter for a sign of life. An arbiter that
//! stays silent for that long while one and the same poll of a child goes on (or none of a child at
//! all, because something else blocks it) is *blocked*. Time is counted in the watchdog's own
//! rounds, so that a process that was stopped as a whole is not taken for a blocked one.

mod stalls;

use std::{
    collections::HashMap,
    sync::{Arc, Weak, mpsc},
    time::Duration,
};

use self::stalls::{Round, Stalls};
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

/// Number of rounds of silence after which an arbiter is blocked. Fixed: of the library,
/// which has no settings.
const ROUNDS: u32 = 4;

/// Ends the watchdog when it is dropped.
pub(crate) struct Guard {
    _end: mpsc::Sender<()>,
}

/// Starts a watchdog over the tree below `root`.
pub(crate) fn start(limit: Duration, root: &Arc<ChildRecord>, shared: &Arc<Shared>) -> Guard {
    let (end, ended) = mpsc::channel();
    let pause = (limit / ROUNDS).max(Duration::from_millis(1));
    let mut watchdog = Watchdog {
        root: Arc::downgrade(root),
        shared: Arc::downgrade(shared),
        silent: HashMap::new(),
        stalls: Stalls::default(),
        pause,
    };
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
        tracing::error!(%error, "no thread for the watchdog: blocked arbiters are not seen");
    }
    Guard { _end: end }
}

struct Watchdog {
    root: Weak<ChildRecord>,
    shared: Weak<Shared>,
    silent: HashMap<SlotId, Silence>,
    stalls: Stalls,
    /// Time that a round takes.
    pause: Duration,
}

/// Silence of one arbiter.
#[derive(Default)]
struct Silence {
    rounds: u32,
    suspect: Option<Suspect>,
    reported: Option<Reported>,
}

/// Cause that was reported of a blocked arbiter.
enum Reported {
    /// This child blocks the arbiter. (The root stands for anything else that blocks the tree's own
    /// arbiter.)
    Child(Arc<ChildRecord>),
    /// Something else blocks the arbiter.
    Arbiter,
}

/// A child inside a poll.
#[derive(Clone)]
struct Suspect {
    supervisor: Arc<ChildRecord>,
    id: ChildId,
    record: Arc<ChildRecord>,
    snapshot: FenceSnapshot,
}

impl Suspect {
    fn is_same_poll(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.record, &other.record) && self.snapshot == other.snapshot
    }
}

impl Silence {
    /// Counts one more silent round, in which `suspect` was seen. Returns true if the arbiter is
    /// blocked now, in which case counting starts again.
    fn goes_on(&mut self, suspect: Option<Suspect>) -> bool {
        let is_same = match (&self.suspect, &suspect) {
            (Some(before), Some(now)) => before.is_same_poll(now),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            self.rounds += 1;
        } else {
            // Another poll, so it did make progress.
            self.rounds = 1;
            self.suspect = suspect;
        }
        let is_blocked = self.rounds >= ROUNDS;
        if is_blocked {
            self.rounds = 0;
        }
        is_blocked
    }

    /// Returns true if the child that was reported is still the suspect.
    fn is_reported(&self) -> bool {
        match (&self.reported, &self.suspect) {
            (None, _) => false,
            (Some(Reported::Child(record)), Some(suspect)) => Arc::ptr_eq(record, &suspect.record),
            (Some(_), _) => true,
        }
    }
}

impl Watchdog {
    /// Checks all arbiters once. Returns true if there still is a tree.
    fn round(&mut self) -> bool {
        let (Some(root), Some(shared)) = (self.root.upgrade(), self.shared.upgrade()) else {
            return false;
        };
        let slots = shared.pool.slots();
        self.silent.retain(|id, silence| {
            let is_used = slots.iter().any(|slot| slot.id == *id);
            if !is_used && let Some(Reported::Child(record)) = &silence.reported {
                record.clear_stuck(); // it has left
            }
            is_used
        });
        for slot in slots {
            self.look_at(&slot, &root, &shared);
        }
        let silent = &self.silent;
        let round = Round {
            shared: &shared,
            pause: self.pause,
            is_silent: &|slot| silent.contains_key(&slot),
        };
        self.stalls.look_at_all(&root, &round);
        true
    }

    fn look_at(&mut self, slot: &ArbiterSlot, root: &Arc<ChildRecord>, shared: &Shared) {
        if slot.is_alive() {
            let silence = self.silent.remove(&slot.id);
            if let Some(reported) = silence.and_then(|silence| silence.reported) {
                slot.set_blocked(false);
                if slot.is_given_up() {
                    return; // it ends now, and nobody waits for it
                }
                recovered(&reported, slot, root, shared);
            }
            return;
        }
        let silence = self.silent.entry(slot.id).or_default();
        if !silence.goes_on(suspect(root, slot.id)) {
            return;
        }
        if slot.id != HERE {
            // Set first, so that no other child is placed there.
            slot.set_blocked(true);
        }
        if !silence.is_reported() {
            if let Some(reported) = &silence.reported {
                recovered(reported, slot, root, shared);
            }
            silence.reported = Some(report(slot, silence.suspect.as_ref(), root, shared));
        }
        if slot.id != HERE {
            // Repeated in each round, because a child may have been placed there since.
            tell(root, slot.id, silence.suspect.as_ref());
        }
    }
}

/// Returns the child on this arbiter that is being polled.
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

/// Reports which child, or what else, blocks the arbiter.
fn report(
    slot: &ArbiterSlot,
    blamed: Option<&Suspect>,
    root: &Arc<ChildRecord>,
    shared: &Shared,
) -> Reported {
    let record = match blamed {
        Some(suspect) => &suspect.record,
        None if slot.id == HERE => root,
        None => {
            let arbiter = Arc::clone(&slot.name);
            let kind = EventKind::ArbiterBlocked { arbiter };
            shared.events.emit(root.path(), kind);
            return Reported::Arbiter;
        }
    };
    let message_type = record.current_message();
    record.set_stuck();
    let kind = EventKind::Stuck { message_type };
    shared.events.emit(record.path(), kind);
    Reported::Child(Arc::clone(record))
}

/// Reports that the arbiter makes progress again. A child that was moved meanwhile has nothing to
/// do with it.
fn recovered(reported: &Reported, slot: &ArbiterSlot, root: &ChildRecord, shared: &Shared) {
    let (path, kind) = match reported {
        Reported::Child(record) if record.clear_stuck() => (record.path(), EventKind::Recovered),
        Reported::Child(_) => return,
        Reported::Arbiter => {
            let arbiter = Arc::clone(&slot.name);
            (root.path(), EventKind::ArbiterRecovered { arbiter })
        }
    };
    shared.events.emit(path, kind);
}

/// Tells all supervisors with children on the arbiter.
fn tell(supervisor: &Arc<ChildRecord>, slot: SlotId, blamed: Option<&Suspect>) {
    let mut is_concerned = false;
    for (_, record) in supervisor.children_by_id() {
        match record.kind {
            Kind::Supervisor => tell(&record, slot, blamed),
            Kind::Worker => is_concerned |= record.slot() == slot,
        }
    }
    let part = supervisor.supervisor.as_ref();
    let Some(signals) = part.and_then(|part| part.signals.get()) else {
        return;
    };
    if is_concerned {
        let blamed = blamed.filter(|suspect| Arc::ptr_eq(&suspect.supervisor, supervisor));
        let blocked_by = blamed.map(|suspect| BlockedBy {
            id: suspect.id,
            snapshot: suspect.snapshot,
            message_type: suspect.record.current_message(),
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
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::{
        arbiters::{ArbiterPool, GroupSizes},
        events::Events,
        fence::Fence,
        spec::Strategy,
        state::ChildState,
    };

    /// The thread of a moved child may come back long after, or never.
    #[test]
    fn a_child_that_was_moved_does_not_recover() {
        let (root, _) = ChildRecord::supervisor("root".to_owned(), Strategy::OneForOne);
        let shared = Shared {
            rules: crate::shedding::Rules::default(),
            totals: Arc::default(),
            events: Events::new(),
            pool: ArbiterPool::new(GroupSizes::default(), crate::Intensity::unlimited()),
            root: Arc::clone(&root),
            has_stall_limits: AtomicBool::new(false),
        };
        for is_moved in [true, false] {
            let mut events = shared.events.subscribe();
            let record = ChildRecord::worker("a".to_owned());
            let suspect = Suspect {
                supervisor: Arc::clone(&root),
                id: 1,
                snapshot: record.fence.snapshot(),
                record: Arc::clone(&record),
            };
            let reported = report(shared.pool.here(), Some(&suspect), &root, &shared);
            assert_eq!(record.state(), ChildState::Stuck);
            if is_moved {
                record.clear_stuck();
            }
            recovered(&reported, shared.pool.here(), &root, &shared);
            assert_eq!(record.state(), ChildState::Declared);
            let told = std::iter::from_fn(|| events.try_recv()).map(|event| event.unwrap().kind);
            let stuck = EventKind::Stuck { message_type: None };
            let expected = [stuck, EventKind::Recovered];
            let expected = &expected[..if is_moved { 1 } else { 2 }];
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn only_one_and_the_same_poll_is_stuck() {
        let (a, b) = (
            ChildRecord::worker("a".to_owned()),
            ChildRecord::worker("b".to_owned()),
        );
        let fence = Fence::default();
        let one = fence.snapshot();
        fence.revoke(one);
        let other = fence.snapshot();
        // Numbers of children are given by their supervisors, so they identify no child across the
        // tree.
        let suspect = |record: &Arc<ChildRecord>, snapshot| {
            Some(Suspect {
                supervisor: Arc::clone(&a),
                id: 1,
                record: Arc::clone(record),
                snapshot,
            })
        };
        let alternating = |one: &Option<Suspect>, other: &Option<Suspect>| {
            vec![vec![one.clone(), other.clone()]; 4].concat()
        };
        let (a_one, a_other) = (suspect(&a, one), suspect(&a, other));
        let b_one = suspect(&b, one);
        // Silence in each round, and the rounds in which the arbiter is found to be blocked.
        let cases = [
            (vec![a_one.clone(); 4], vec![3]),
            (vec![a_one.clone(); 9], vec![3, 7]),
            (vec![None; 4], vec![3]),
            (vec![a_one.clone(); 3], vec![]),
            (alternating(&a_one, &a_other), vec![]),
            (alternating(&a_one, &b_one), vec![]),
            ([vec![None; 3], vec![a_one.clone(); 4]].concat(), vec![6]),
        ];
        for (rounds, expected) in cases {
            let mut silence = Silence::default();
            let mut found = Vec::new();
            for (round, seen) in rounds.into_iter().enumerate() {
                if silence.goes_on(seen) {
                    found.push(round);
                }
            }
            assert_eq!(found, expected);
        }
    }
}
