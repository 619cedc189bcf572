//! Measures the throughput of the queue: the flows of the last minute, by lane.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use deia_ledger::{CommitNotice, LaneStats};
use deia_model::{Priority, QueueStatus, Rates, TaskType, Waits};

/// Number of parts that the last minute is divided into. Fact: the minute over which
/// rates are taken has so many parts.
const PARTS: usize = 6;
/// Duration of a part. Fact: a sixth of a minute.
const PART: Duration = Duration::from_secs(10);

/// Measures the throughput of the queue. Takes one short lock per commit.
#[derive(Clone)]
pub(crate) struct ThroughputMeter(Arc<Mutex<Window>>);

impl Default for ThroughputMeter {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Window::new(Instant::now()))))
    }
}

impl ThroughputMeter {
    /// Counts the changes of a commit.
    pub(crate) fn committed(&self, notices: &[CommitNotice]) {
        for notice in notices {
            if let CommitNotice::LaneStats(flows) = notice {
                let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                window.add(Instant::now(), flows);
            }
        }
    }

    /// Fills in rates and waits.
    pub(crate) fn fill(&self, queue: &mut QueueStatus) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (covered, lanes) = window.read(Instant::now());
        let mut all = LaneStats::default();
        lanes.values().for_each(|flow| all.merge(flow));
        (queue.rates, queue.waits) = (rates(&all, covered), waits(&all));
        for lane in &mut queue.lanes {
            let key = (lane.task_type.clone(), lane.priority);
            if let Some(flow) = lanes.get(&key) {
                (lane.rates, lane.waits) = (rates(flow, covered), waits(flow));
            }
        }
    }
}

fn rates(flow: &LaneStats, covered: Duration) -> Rates {
    let seconds = covered.as_secs_f64().max(1.0);
    // Two decimals; any more are noise.
    let rate = |n: u32| (f64::from(n) / seconds * 100.0).round() / 100.0;
    Rates {
        submitted_per_second: rate(flow.submitted),
        started_per_second: rate(flow.started),
        completed_per_second: rate(flow.completed),
        failed_per_second: rate(flow.failed),
    }
}

fn waits(flow: &LaneStats) -> Waits {
    Waits {
        started: flow.waits.count(),
        p50_ms: flow.waits.quantile(0.5),
        p95_ms: flow.waits.quantile(0.95),
        p99_ms: flow.waits.quantile(0.99),
    }
}

type LaneKey = (TaskType, Priority);

/// A ring of parts; the newest is being filled.
struct Window {
    began: Instant,
    /// Number of the part that is being filled, counted from the beginning.
    current: u64,
    parts: [HashMap<LaneKey, LaneStats>; PARTS],
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            current: 0,
            parts: Default::default(),
        }
    }

    /// Drops the parts that are more than a minute old.
    fn turn_to(&mut self, now: Instant) {
        let part = (now - self.began).as_secs() / PART.as_secs();
        let stale = part.saturating_sub(self.current).min(PARTS as u64);
        for i in 0..stale {
            self.parts[Self::slot(part - i)].clear();
        }
        self.current = part;
    }

    fn slot(part: u64) -> usize {
        // The remainder is less than PARTS.
        usize::try_from(part % PARTS as u64).unwrap_or(0)
    }

    fn add(&mut self, now: Instant, flows: &[(TaskType, Priority, LaneStats)]) {
        self.turn_to(now);
        let part = &mut self.parts[Self::slot(self.current)];
        for (task_type, priority, flow) in flows {
            let lane = part.entry((task_type.clone(), *priority)).or_default();
            lane.merge(flow);
        }
    }

    /// Returns the counts in the window, and the time that they cover.
    fn read(&mut self, now: Instant) -> (Duration, HashMap<LaneKey, LaneStats>) {
        self.turn_to(now);
        let mut lanes: HashMap<LaneKey, LaneStats> = HashMap::new();
        for (key, flow) in self.parts.iter().flatten() {
            lanes.entry(key.clone()).or_default().merge(flow);
        }
        let age = now - self.began;
        let in_part = Duration::from_secs(age.as_secs() % PART.as_secs());
        let whole = PART * (PARTS as u32 - 1) + in_part;
        (age.min(whole), lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(submitted: u32) -> Vec<(TaskType, Priority, LaneStats)> {
        let flow = LaneStats {
            submitted,
            ..LaneStats::default()
        };
        vec![("a".parse().unwrap(), Priority::P2, flow)]
    }

    #[test]
    fn a_minute_is_kept_and_no_more() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut window = Window::new(began);
        window.add(at(0), &flow(10));
        window.add(at(5), &flow(10));
        let key = ("a".parse().unwrap(), Priority::P2);
        let read = |window: &mut Window, seconds| {
            let (covered, lanes) = window.read(at(seconds));
            (covered.as_secs(), lanes.get(&key).map(|f| f.submitted))
        };
        assert_eq!(read(&mut window, 9), (9, Some(20)));
        window.add(at(30), &flow(1));
        assert_eq!(read(&mut window, 55), (55, Some(21)));
        assert_eq!(read(&mut window, 61), (51, Some(1)));
        assert_eq!(read(&mut window, 95), (55, None));
        window.add(at(10_000), &flow(7));
        assert_eq!(read(&mut window, 10_000), (50, Some(7)));
    }

    #[test]
    fn a_lane_has_its_own_rates() {
        let meter = ThroughputMeter::default();
        meter.committed(&[CommitNotice::LaneStats(flow(3))]);
        let mut queue = QueueStatus::default();
        meter.fill(&mut queue);
        assert!((queue.rates.submitted_per_second - 3.0).abs() < 0.01);
    }
}
