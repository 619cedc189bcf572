//! The attempts that a program works on at the same time, and the processor time since they began.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::bots::bot::AttemptKey;

/// The running attempts of a program, each with the processor time of the program when it was first
/// measured during the attempt. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::bots) struct Work(Arc<Mutex<HashMap<AttemptKey, Option<f64>>>>);

impl Work {
    /// Notes that an attempt begins.
    pub(in crate::bots) fn begin(&self, attempt: AttemptKey) {
        self.lock().insert(attempt, None);
    }

    /// Notes that an attempt has ended.
    pub(in crate::bots) fn end(&self, attempt: AttemptKey) {
        self.lock().remove(&attempt);
    }

    /// Returns the processor time that the program has used since the oldest running attempt began,
    /// in seconds, from `used` since its start. Begins to count for attempts that are new.
    pub(super) fn cpu_seconds(&self, used: f64) -> f64 {
        let mut attempts = self.lock();
        attempts
            .values_mut()
            .map(|before| used - *before.get_or_insert(used))
            .fold(0.0, f64::max)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptKey, Option<f64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use deia_model::TaskId;

    use super::*;

    #[test]
    fn processor_time_counts_from_the_oldest_running_attempt() {
        let work = Work::default();
        let attempt = |number| AttemptKey {
            task: TaskId::new(),
            number,
        };
        let (first, second) = (attempt(1), attempt(2));
        let used = |total: f64, expected: f64| {
            let found = work.cpu_seconds(total);
            assert!((found - expected).abs() < 1e-9, "{total}: {found}");
        };
        used(5.0, 0.0);
        work.begin(first);
        used(7.0, 0.0);
        work.begin(second);
        used(8.0, 1.0);
        used(9.0, 2.0);
        work.end(first);
        used(10.0, 2.0);
        work.end(second);
        used(20.0, 0.0);
    }
}
