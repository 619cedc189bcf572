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
        overload::Overload,
    },
};

/// The bulkheads of all classes.
pub(crate) struct Admission {
    bulkheads: Option<PerClass<Bulkhead>>,
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
    pub(crate) fn new(settings: &AdmissionSettings) -> Self {
        let permits = |class| match class {
            RouteClass::Submit => settings.submit,
            RouteClass::Read => settings.read,
            RouteClass::Write => settings.write,
            RouteClass::Stream => settings.stream,
            RouteClass::Admin => settings.admin,
        };
        let bulkhead = |class| Bulkhead {
            permits: Arc::new(Semaphore::new(permits(class) as usize)),
            waiting: AtomicUsize::new(0),
        };
        Self {
            bulkheads: settings.enabled.then(|| PerClass::new(bulkhead)),
            overload: Overload::new(&settings.overload),
            max_waiting: settings.max_waiting as usize,
            max_wait: settings.max_wait,
        }
    }

    /// Waits for a permit of that class. Permits are given out in the order of the
    /// requests.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when too many requests wait already, or this one has waited
    /// too long.
    pub(crate) async fn enter(&self, class: RouteClass) -> Result<Permit, Problem> {
        let Some(bulkheads) = &self.bulkheads else {
            return Ok(Permit(None));
        };
        let bulkhead = bulkheads.get(class);
        if let Ok(permit) = Arc::clone(&bulkhead.permits).try_acquire_owned() {
            self.waited(class, Duration::ZERO);
            return Ok(Permit(Some(permit)));
        }
        let begun = Instant::now();
        let waiting = Waiting(&bulkhead.waiting);
        if bulkhead.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waited(class, self.max_wait);
            return Err(full(class));
        }
        let permit = Arc::clone(&bulkhead.permits).acquire_owned();
        let permit = tokio::time::timeout(self.max_wait, permit).await;
        drop(waiting);
        self.waited(class, begun.elapsed());
        // The semaphore is never closed.
        match permit {
            Ok(Ok(permit)) => Ok(Permit(Some(permit))),
            _ => Err(full(class)),
        }
    }

    /// Notes a wait for a permit. Those of streams are held for long at any load, so a wait for
    /// one is no sign of overload.
    fn waited(&self, class: RouteClass, wait: Duration) {
        if class != RouteClass::Stream {
            self.overload.waited(wait);
        }
    }
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
    use deia_hive::config::OverloadSettings;

    use super::*;

    fn admission(enabled: bool) -> Admission {
        Admission::new(&AdmissionSettings {
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
            },
        })
    }

    #[tokio::test(start_paused = true)]
    async fn full_bulkhead_and_full_queue_answer_overloaded() {
        let all = admission(true);
        let first = all.enter(RouteClass::Submit).await.ok().unwrap();
        let begun = tokio::time::Instant::now();
        let (second, third) =
            tokio::join!(all.enter(RouteClass::Submit), all.enter(RouteClass::Submit));
        for refused in [second, third] {
            assert_eq!(refused.err().unwrap().code(), Code::Overloaded);
        }
        assert_eq!(
            begun.elapsed(),
            Duration::from_secs(5),
            "only one has waited"
        );
        assert!(
            all.enter(RouteClass::Read).await.is_ok(),
            "other classes have other permits"
        );
        let leaves = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (fourth, ()) = tokio::join!(all.enter(RouteClass::Submit), leaves);
        assert!(fourth.is_ok());
    }

    #[tokio::test]
    async fn disabled_admission_admits_everything() {
        let all = admission(false);
        let permits = [
            all.enter(RouteClass::Read).await,
            all.enter(RouteClass::Read).await,
        ];
        assert!(permits.iter().all(Result::is_ok));
    }
}
