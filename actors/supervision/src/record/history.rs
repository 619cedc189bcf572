//! History of a child.

use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{ChildRecord, EXITS_KEPT, ExitRecord, RESTARTS_KEPT};
use crate::{exit::ExitReason, fence::Lease, health::Health, shedding::Suspended};

impl ChildRecord {
    pub(crate) fn record_start(&self, now: Instant) {
        let mut history = self.history();
        history.started_at = Some(now);
        history.busy_before_ns = self.busy_ns();
    }

    pub(crate) fn set_suspended(&self, suspended: Option<Suspended>) {
        self.history().suspended = suspended;
    }

    /// Sets the health of the run that holds `lease`. Returns true if the supervisor must be
    /// signalled that there is something new. An abandoned run cannot set the health of its
    /// successor.
    pub(crate) fn set_health(&self, lease: &Lease, health: Health) -> bool {
        let mut history = self.history();
        if !lease.is_held() || history.health.as_ref() == Some(&health) {
            return false;
        }
        history.health = Some(health);
        !std::mem::replace(&mut history.health_signalled, true)
    }

    /// Returns the health to be reported after a signal, if it is different from the last.
    pub(crate) fn take_health(&self) -> Option<Health> {
        let mut history = self.history();
        history.health_signalled = false;
        let health = history.health.clone()?;
        let told = history.health_told.replace(health.clone());
        (told.unwrap_or_default() != health).then_some(health)
    }

    pub(crate) fn record_restart(&self, now: Instant) {
        self.restarts.fetch_add(1, Relaxed);
        if let Some(registration) = self.registration.get() {
            registration.totals.add_restart();
        }
        let mut history = self.history();
        if history.restarts.len() == RESTARTS_KEPT {
            history.restarts.pop_front();
        }
        history.restarts.push_back(now);
    }

    pub(crate) fn record_exit(&self, reason: &ExitReason) {
        let record = ExitRecord {
            reason: reason.clone(),
            at: Timestamp::now(),
            incarnation: self.incarnation(),
        };
        let monitors = {
            let mut history = self.history();
            history.started_at = None;
            history.health = None;
            history.health_told = None;
            history.health_signalled = false;
            if history.exits.len() == EXITS_KEPT {
                history.exits.pop_front();
            }
            history.exits.push_back(record);
            std::mem::take(&mut history.monitors)
        };
        for monitor in monitors {
            let _ = monitor.send(reason.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// However often the health of a child changes, one signal is on its way at a time.
    #[test]
    fn health_is_signalled_once_until_it_is_looked_at() {
        let record = ChildRecord::worker("a".to_owned());
        let lease = Lease::of(&record);
        let signals = |record: &Arc<ChildRecord>| {
            let moods = [Health::degraded("slow"), Health::Healthy].into_iter();
            let signalled = moods.cycle().take(101);
            let signalled = signalled.map(|health| record.set_health(&lease, health));
            signalled.filter(|signalled| *signalled).count()
        };
        assert_eq!(signals(&record), 1);
        assert_eq!(record.take_health(), Some(Health::degraded("slow")));
        assert_eq!(record.take_health(), None, "it is told already");
        assert_eq!(signals(&record), 1);
        assert_eq!(record.take_health(), None, "it is as it was");
        record.fence.end_lease();
        assert_eq!(signals(&record), 0, "of a run that was abandoned");
    }
}
