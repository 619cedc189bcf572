//! Admission of requests: each class of routes has a bulkhead of permits, and a bounded
//! queue before it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deia_hive::config::AdmissionSettings;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::{
        class::{PerClass, RouteClass},
        overload::{Overload, StoreWaits},
    },
};

/// The bulkheads of all classes.
pub(crate) struct Admission {
    /// True unless every request is admitted.
    enabled: bool,
    bulkheads: Arc<PerClass<Bulkhead>>,
    /// Refusal of requests while they wait too long.
    pub(crate) overload: Overload,
    max_waiting: usize,
    max_wait: Duration,
}

struct Bulkhead {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A permit to work on one request, until this is dropped.
pub(crate) struct Permit(
    #[allow(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

/// A waiting request, counted until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(settings: &AdmissionSettings, store_waits: StoreWaits) -> Self {
        let bulkhead = |class| Bulkhead {
            permits: Arc::new(Semaphore::new(permits(settings, class))),
            waiting: AtomicUsize::new(0),
        };
        Self {
            enabled: settings.enabled,
            bulkheads: Arc::new(PerClass::new(bulkhead)),
            overload: Overload::new(&settings.overload, store_waits),
            max_waiting: settings.max_waiting as usize,
            max_wait: settings.max_wait,
        }
    }

    /// Returns the same with other settings. Permits that are held stay held: fewer permits
    /// are there only once enough of them were given back.
    pub(crate) fn with(&self, before: &AdmissionSettings, now: &AdmissionSettings) -> Self {
        for class in RouteClass::ALL {
            let bulkhead = self.bulkheads.get(class);
            bulkhead.resize(permits(before, class), permits(now, class));
        }
        Self {
            enabled: now.enabled,
            bulkheads: Arc::clone(&self.bulkheads),
            overload: self.overload.with(&now.overload),
            max_waiting: now.max_waiting as usize,
            max_wait: now.max_wait,
        }
    }

    /// Waits for a permit of that class. Permits are given out in the order of the
    /// requests. The wait of a request that is never refused for overload is no sign of it.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when too many requests wait already, or this one has waited
    /// too long.
    pub(crate) async fn enter(&self, class: RouteClass, is_sign: bool) -> Result<Permit, Problem> {
        if !self.enabled {
            return Ok(Permit(None));
        }
        let bulkhead = self.bulkheads.get(class);
        let waited = |wait: Duration| {
            if is_sign {
                self.overload.waited(class, wait);
            }
        };
        if let Ok(permit) = Arc::clone(&bulkhead.permits).try_acquire_owned() {
            waited(Duration::ZERO);
            return Ok(Permit(Some(permit)));
        }
        let begun = Instant::now();
        let waiting = Waiting(&bulkhead.waiting);
        if bulkhead.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            waited(self.max_wait);
            return Err(full(class));
        }
        let permit = Arc::clone(&bulkhead.permits).acquire_owned();
        let permit = tokio::time::timeout(self.max_wait, permit).await;
        drop(waiting);
        waited(begun.elapsed());
        // The semaphore is never closed.
        match permit {
            Ok(Ok(permit)) => Ok(Permit(Some(permit))),
            _ => Err(full(class)),
        }
    }
}

impl Bulkhead {
    /// Adds permits, or takes some away: those that are free at once, the others in the order of
    /// the requests that wait.
    fn resize(&self, before: usize, now: usize) {
        if now >= before {
            self.permits.add_permits(now - before);
            return;
        }
        let fewer = before - now;
        let held = fewer - self.permits.forget_permits(fewer);
        let Ok(held) = u32::try_from(held) else {
            return;
        };
        let permits = Arc::clone(&self.permits);
        if held > 0 {
            tokio::spawn(async move {
                if let Ok(returned) = permits.acquire_many_owned(held).await {
                    returned.forget();
                }
            });
        }
    }
}

/// Returns the number of permits of a class.
fn permits(settings: &AdmissionSettings, class: RouteClass) -> usize {
    let permits = match class {
        RouteClass::Submit => settings.submit,
        RouteClass::Read => settings.read,
        RouteClass::Write => settings.write,
        RouteClass::Stream => settings.stream,
        RouteClass::Admin => settings.admin,
    };
    permits as usize
}

#[cold]
fn full(class: RouteClass) -> Problem {
    let class = class.as_str();
    Problem::new(
        Code::Overloaded,
        format!("all permits of the class {class} are taken (server.admission.{class})"),
    )
}

#[cfg(test)]
mod tests {
    use deia_hive::{TurnWaits, config::OverloadSettings};

    use super::*;

    fn admission(enabled: bool) -> Admission {
        Admission::new(&settings(enabled), Arc::new(TurnWaits::default))
    }

    fn settings(enabled: bool) -> AdmissionSettings {
        AdmissionSettings {
            enabled,
            submit: 1,
            read: 1,
            write: 1,
            stream: 1,
            admin: 1,
            max_waiting: 1,
            max_wait: Duration::from_secs(5),
            shed_retry_after: Duration::from_secs(5),
            overload: OverloadSettings {
                enabled: false,
                max_mean_wait: Duration::from_millis(20),
                window: Duration::from_secs(1),
                window_requests: 2_000,
                min_requests: 20,
                step_down: 0.05,
                step_up: 0.01,
                share_slack: 1.5,
                reshuffle_every: Duration::from_secs(3_600),
                sample_every: 16,
                refusal_delay: Duration::ZERO,
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn full_bulkhead_and_full_queue_answer_overloaded() {
        let all = admission(true);
        let first = all.enter(RouteClass::Submit, true).await.ok().unwrap();
        let begun = tokio::time::Instant::now();
        let (second, third) = tokio::join!(
            all.enter(RouteClass::Submit, true),
            all.enter(RouteClass::Submit, true)
        );
        for refused in [second, third] {
            assert_eq!(refused.err().unwrap().code(), Code::Overloaded);
        }
        assert_eq!(
            begun.elapsed(),
            Duration::from_secs(5),
            "only one has waited"
        );
        assert!(
            all.enter(RouteClass::Read, true).await.is_ok(),
            "other classes have other permits"
        );
        let leaves = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (fourth, ()) = tokio::join!(all.enter(RouteClass::Submit, true), leaves);
        assert!(fourth.is_ok());
    }

    #[tokio::test]
    async fn disabled_admission_admits_everything() {
        let all = admission(false);
        let permits = [
            all.enter(RouteClass::Read, true).await,
            all.enter(RouteClass::Read, true).await,
        ];
        assert!(permits.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn permits_that_are_held_count_after_a_change_of_their_number() {
        let three = AdmissionSettings {
            submit: 3,
            ..settings(true)
        };
        let before = Admission::new(&three, Arc::new(TurnWaits::default));
        let submit = async |all: &Admission| all.enter(RouteClass::Submit, true).await.ok();
        let held = [submit(&before).await, submit(&before).await];
        assert!(held.iter().all(Option::is_some));
        // The free permit goes at once, another when it is given back.
        let after = before.with(&three, &settings(true));
        assert!(submit(&after).await.is_none(), "two of one are held");
        let [first, second] = held;
        drop(first);
        assert!(submit(&after).await.is_none(), "one of one is held");
        drop(second);
        let third = submit(&after).await;
        assert!(third.is_some());
        let more = after.with(&settings(true), &three);
        assert!(submit(&more).await.is_some(), "two more are there");
    }
}
