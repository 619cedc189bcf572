//! Detection of workers that have mail and handle none of it although their arbiter lives, because
//! a handler waits for something that never comes.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    arbiters::SlotId,
    events::EventKind,
    record::{ChildId, ChildRecord},
    signal::{ChildSignal, SignalKind},
    spec::OnStall,
    state::{ChildState, Kind},
    supervisor::Shared,
};

/// All workers that have mail and must be watched, by the addresses of their records.
#[derive(Default)]
pub(super) struct Stalls {
    waiting: HashMap<usize, Waiting>,
    round: u64,
}

struct Waiting {
    record: Arc<ChildRecord>,
    progress: Progress,
    /// Round in which the worker was checked last.
    round: u64,
}

/// Work that a worker has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    incarnation: u64,
    handled: u64,
}

/// Progress of a worker that has mail.
struct Progress {
    done: Done,
    rounds: u32,
    is_reported: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    AsBefore,
    Stalled,
    /// The worker was reported already, and as long again has passed.
    StillStalled,
    Recovered,
}

impl Progress {
    fn new(done: Done) -> Self {
        Self {
            done,
            rounds: 0,
            is_reported: false,
        }
    }

    /// Counts one more round in which the worker had mail.
    fn look(&mut self, done: Done, rounds_allowed: u32) -> Verdict {
        if self.done != done {
            let was_reported = self.is_reported;
            *self = Self::new(done);
            return if was_reported {
                Verdict::Recovered
            } else {
                Verdict::AsBefore
            };
        }
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds < rounds_allowed {
            return Verdict::AsBefore;
        }
        self.rounds = 0;
        if std::mem::replace(&mut self.is_reported, true) {
            Verdict::StillStalled
        } else {
            Verdict::Stalled
        }
    }
}

/// Inputs of one round.
pub(super) struct Round<'a> {
    pub(super) shared: &'a Shared,
    /// Time that a round takes.
    pub(super) pause: Duration,
    pub(super) is_silent: &'a dyn Fn(SlotId) -> bool,
}

impl Stalls {
    /// Checks all workers once.
    pub(super) fn look_at_all(&mut self, root: &Arc<ChildRecord>, round: &Round<'_>) {
        if !round.shared.has_stall_limits.load(Ordering::Relaxed) {
            return;
        }
        self.round += 1;
        self.look_below(root, round);
        let this_round = self.round;
        self.waiting.retain(|_, waiting| {
            let is_waiting = waiting.round == this_round;
            if !is_waiting && waiting.progress.is_reported {
                recovered(&waiting.record, round.shared);
            }
            is_waiting
        });
    }

    fn look_below(&mut self, supervisor: &Arc<ChildRecord>, round: &Round<'_>) {
        for (id, record) in supervisor.children_by_id() {
            match record.kind {
                Kind::Supervisor => self.look_below(&record, round),
                Kind::Worker => self.look_at(supervisor, id, record, round),
            }
        }
    }

    fn look_at(
        &mut self,
        supervisor: &ChildRecord,
        id: ChildId,
        record: Arc<ChildRecord>,
        round: &Round<'_>,
    ) {
        let Some(limit) = record.registration().and_then(|it| it.stall) else {
            return;
        };
        if record.depth() == 0 || record.state() != ChildState::Running {
            return;
        }
        if (round.is_silent)(record.slot()) {
            // The worker cannot handle anything now, through no fault of its own: this round does
            // not count, and those before it still do.
            if let Some(waiting) = self.waiting.get_mut(&Arc::as_ptr(&record).addr()) {
                waiting.round = self.round;
            }
            return;
        }
        let done = Done {
            incarnation: record.incarnation(),
            handled: record.handled(),
        };
        let waiting = self.waiting.entry(Arc::as_ptr(&record).addr());
        let waiting = waiting.or_insert_with(|| Waiting {
            record: Arc::clone(&record),
            progress: Progress::new(done),
            round: 0,
        });
        waiting.round = self.round;
        let rounds_allowed = limit.after.div_duration_f64(round.pause).ceil() as u32;
        match waiting.progress.look(done, rounds_allowed) {
            Verdict::AsBefore => {}
            Verdict::Recovered => recovered(&record, round.shared),
            verdict @ (Verdict::Stalled | Verdict::StillStalled) => {
                if verdict == Verdict::Stalled {
                    record.set_stalled(true);
                    let waiting = record.depth();
                    let events = &round.shared.events;
                    events.emit(record.path(), EventKind::Stalled { waiting });
                }
                // Repeated in each round, because the supervisor may have been busy with the worker
                // otherwise.
                if limit.action == OnStall::Restart {
                    tell(supervisor, id, done.incarnation);
                }
            }
        }
    }
}

fn recovered(record: &ChildRecord, shared: &Shared) {
    record.set_stalled(false);
    shared.events.emit(record.path(), EventKind::Recovered);
}

fn tell(supervisor: &ChildRecord, id: ChildId, incarnation: u64) {
    let part = supervisor.supervisor.as_ref();
    if let Some(signals) = part.and_then(|part| part.signals.get()) {
        let kind = SignalKind::Stalled;
        let _ = signals.send(ChildSignal {
            id,
            incarnation,
            kind,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::{Verdict::*, *};
    use crate::{
        StartError, Strategy,
        arbiters::{ArbiterPool, GroupSizes},
        events::Events,
        intensity::Intensity,
        record::Registration,
        shedding::Rules,
        spec::StallLimit,
    };

    struct Nobody;

    impl actix::Actor for Nobody {
        type Context = crate::Context<Self>;
    }

    #[test]
    fn only_a_child_that_handles_nothing_for_long_enough_is_stalled() {
        let done = |incarnation, handled| Done {
            incarnation,
            handled,
        };
        // Work seen in each round, and the verdict; three rounds are allowed.
        let cases: [&[(Done, Verdict)]; 5] = [
            &[
                (done(1, 5), AsBefore),
                (done(1, 5), AsBefore),
                (done(1, 5), Stalled),
                (done(1, 5), AsBefore),
                (done(1, 5), AsBefore),
                (done(1, 5), StillStalled),
                (done(1, 5), AsBefore),
                (done(1, 6), Recovered),
            ],
            &[
                (done(1, 5), AsBefore),
                (done(1, 5), AsBefore),
                (done(1, 5), Stalled),
                (done(1, 5), AsBefore),
                (done(1, 6), Recovered),
                (done(1, 6), AsBefore),
            ],
            &[
                (done(1, 5), AsBefore),
                (done(1, 5), AsBefore),
                (done(1, 6), AsBefore),
                (done(1, 6), AsBefore),
                (done(1, 6), AsBefore),
                (done(1, 6), Stalled),
            ],
            &[
                (done(1, 5), AsBefore),
                (done(1, 5), AsBefore),
                (done(2, 5), AsBefore),
                (done(2, 5), AsBefore),
            ],
            &[
                (done(1, 5), AsBefore),
                (done(1, 5), AsBefore),
                (done(1, 5), Stalled),
                (done(2, 5), Recovered),
            ],
        ];
        for rounds in cases {
            let mut progress = Progress::new(done(1, 5));
            for (index, (done, expected)) in rounds.iter().enumerate() {
                assert_eq!(progress.look(*done, 3), *expected, "round {index}");
            }
        }
    }

    /// Rounds in which its arbiter is silent neither count nor make the others forgotten.
    #[test]
    fn a_missed_heartbeat_is_no_recovery() {
        let (root, _) = ChildRecord::supervisor("root".to_owned(), Strategy::OneForOne);
        let (child, _handle) = crate::child("a", || async { Ok::<_, StartError>(Nobody) });
        let record = Arc::clone(&child.record);
        let limit = StallLimit {
            after: Duration::from_secs(3),
            action: OnStall::Report,
        };
        record.attach(Registration {
            path: "root/a".into(),
            policy: Arc::new(child.policy.clone()),
            window: None,
            stall: Some(limit),
            totals: Arc::default(),
        });
        record.set_state(ChildState::Running);
        record.set_depth(1);
        if let Some(mut index) = root.child_index() {
            index.by_id.insert(1, Arc::clone(&record));
        }
        let shared = Shared {
            rules: Rules::default(),
            totals: Arc::default(),
            events: Events::new(),
            pool: ArbiterPool::new(GroupSizes::default(), Intensity::unlimited()),
            root: Arc::clone(&root),
            has_stall_limits: AtomicBool::new(true),
        };
        let mut events = shared.events.subscribe();
        let mut stalls = Stalls::default();
        let mut look = |silent: bool| {
            let round = Round {
                shared: &shared,
                pause: Duration::from_secs(1),
                is_silent: &|_| silent,
            };
            stalls.look_at_all(&root, &round);
            events.try_recv().map(|event| event.unwrap().kind)
        };
        for silent in [false, false, true, true] {
            assert_eq!(look(silent), None);
            assert!(!record.is_stalled());
        }
        let stalled = EventKind::Stalled { waiting: 1 };
        assert_eq!(look(false), Some(stalled));
        assert_eq!(look(true), None, "it has not recovered");
        assert!(record.is_stalled());
        record.set_depth(0);
        assert_eq!(look(false), Some(EventKind::Recovered));
    }
}
