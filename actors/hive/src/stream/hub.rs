//! The state that the reader of the log and all clients share.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use deia_model::Position;
use tokio::sync::watch;

use super::{
    metrics::StreamMetrics,
    ring::{Batch, Covered, LoggedEvent, Ring},
};

/// The newest events, while somebody follows them, and the clients who do.
pub(super) struct Hub {
    /// `None` while nobody follows, and until the reader has begun.
    ring: Mutex<Option<Ring>>,
    pulse: watch::Sender<Pulse>,
    clients: AtomicUsize,
    pub(super) metrics: StreamMetrics,
}

/// A sign to the clients that there is something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    /// True while the reader of the log runs.
    pub(super) running: bool,
    /// Number of changes of the ring.
    beat: u64,
}

impl Hub {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            ring: Mutex::new(None),
            pulse: watch::Sender::new(Pulse::default()),
            clients: AtomicUsize::new(0),
            metrics: StreamMetrics::default(),
        })
    }

    /// Counts a client for as long as the result lives.
    pub(super) fn join(self: &Arc<Self>) -> Membership {
        self.clients.fetch_add(1, Ordering::AcqRel);
        Membership(Arc::clone(self))
    }

    /// Returns the number of clients.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }

    /// Returns a receiver of signs.
    pub(super) fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.subscribe()
    }

    /// Returns the position of the newest event in memory; `None` if the ring is to begin.
    pub(super) fn end(&self) -> Option<Position> {
        self.ring().as_ref().map(Ring::end)
    }

    /// Returns the memory that the events take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.ring().as_ref().map_or(0, Ring::bytes)
    }

    /// Begins an empty ring after that position, if there are clients.
    pub(super) fn begin(&self, at: Position) {
        let mut ring = self.ring();
        let before = match self.clients() {
            0 => ring.take(),
            _ => ring.replace(Ring::new(at)),
        };
        drop(ring);
        drop(before);
        self.beat();
    }

    /// Adds events to the ring, unless all clients have left meanwhile.
    pub(super) fn push(&self, events: Vec<Arc<LoggedEvent>>, max_bytes: usize) {
        let mut ring = self.ring();
        let left_out = ring.as_mut().map(|ring| ring.push(events, max_bytes));
        drop(ring);
        // Clients need not wait for memory to be freed.
        drop(left_out);
        self.beat();
    }

    /// Returns what the ring has after that cursor.
    pub(super) fn after(&self, cursor: Position, most: Batch) -> Covered {
        let ring = self.ring();
        ring.as_ref()
            .map_or(Covered::Outside, |ring| ring.after(cursor, most))
    }

    /// Records whether the reader of the log runs. Clients are told.
    pub(super) fn set_running(&self, running: bool) {
        let ring = self.ring().take();
        drop(ring);
        self.pulse.send_modify(|pulse| {
            pulse.running = running;
            pulse.beat += 1;
        });
    }

    fn beat(&self) {
        self.pulse.send_modify(|pulse| pulse.beat += 1);
    }

    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client among those of the hub, until this is dropped.
pub(super) struct Membership(Arc<Hub>);

impl Membership {
    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.0
    }
}

impl Drop for Membership {
    /// Frees the ring with the last client.
    fn drop(&mut self) {
        if self.0.clients.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut ring = self.0.ring();
        // Another client may have joined since.
        let unused = match self.0.clients() {
            0 => ring.take(),
            _ => None,
        };
        drop(ring);
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ring::tests::event, *};

    const AT: Position = Position {
        timeline: 1,
        seq: 0,
    };

    #[test]
    fn ring_is_there_while_somebody_follows() {
        let hub = Hub::new();
        hub.begin(AT);
        assert_eq!(hub.end(), None, "nobody follows");
        let (one, other) = (hub.join(), hub.join());
        hub.begin(AT);
        hub.push(vec![Arc::new(LoggedEvent::new(event(1, 1), 0))], 1 << 20);
        drop(one);
        assert!(hub.bytes() > 0 && hub.end().is_some_and(|end| end.seq == 1));
        drop(other);
        assert_eq!((hub.bytes(), hub.end(), hub.clients()), (0, None, 0));
        hub.push(vec![Arc::new(LoggedEvent::new(event(1, 2), 0))], 1 << 20);
        assert_eq!(hub.bytes(), 0);
    }

    #[test]
    fn clients_are_told_of_events_and_of_the_end_of_the_reader() {
        let hub = Hub::new();
        let mut pulse = hub.pulse();
        hub.set_running(true);
        assert!(pulse.has_changed().unwrap() && pulse.borrow_and_update().running);
        let _client = hub.join();
        hub.begin(AT);
        hub.push(Vec::new(), 1);
        assert!(pulse.has_changed().unwrap() && pulse.borrow_and_update().running);
        hub.set_running(false);
        assert!(!pulse.borrow_and_update().running);
        assert_eq!(hub.end(), None, "the next reader begins anew");
    }
}
