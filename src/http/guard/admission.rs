//! Admission of requests: each class of routes has places, and a bounded queue before
//! them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deia_hive::config::AdmissionSettings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::class::{Class, PerClass},
};

/// The places of all classes.
pub(crate) struct Admission {
    bulkheads: Option<PerClass<Bulkhead>>,
    max_waiting: usize,
    max_wait: Duration,
}

struct Bulkhead {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place, as long as this lives.
pub(crate) struct Place(
    #[allow(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

/// One that waits, as long as this lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(settings: &AdmissionSettings) -> Self {
        let places = |class| match class {
            Class::Submit => settings.submit,
            Class::Read => settings.read,
            Class::Write => settings.write,
            Class::Stream => settings.stream,
            Class::Admin => settings.admin,
        };
        let bulkhead = |class| Bulkhead {
            places: Arc::new(Semaphore::new(places(class) as usize)),
            waiting: AtomicUsize::new(0),
        };
        Self {
            bulkheads: settings.enabled.then(|| PerClass::new(bulkhead)),
            max_waiting: settings.max_waiting as usize,
            max_wait: settings.max_wait,
        }
    }

    /// A place for a request of that class, in the order of their coming.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when too many wait already, or this one has waited too long.
    pub(crate) async fn enter(&self, class: Class) -> Result<Place, Problem> {
        let Some(bulkheads) = &self.bulkheads else {
            return Ok(Place(None));
        };
        let bulkhead = bulkheads.get(class);
        if let Ok(place) = Arc::clone(&bulkhead.places).try_acquire_owned() {
            return Ok(Place(Some(place)));
        }
        let waiting = Waiting(&bulkhead.waiting);
        if bulkhead.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(full(class));
        }
        let place = Arc::clone(&bulkhead.places).acquire_owned();
        let place = tokio::time::timeout(self.max_wait, place).await;
        drop(waiting);
        // The semaphore is never closed.
        match place {
            Ok(Ok(place)) => Ok(Place(Some(place))),
            _ => Err(full(class)),
        }
    }
}

#[cold]
fn full(class: Class) -> Problem {
    let class = class.as_str();
    Problem::new(
        Code::Overloaded,
        format!(
            "as many requests of the class {class} are in hand as may be (server.admission.{class})"
        ),
    )
}

#[cfg(test)]
mod tests {
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
        })
    }

    #[tokio::test(start_paused = true)]
    async fn one_works_one_waits_and_the_third_is_told_to_come_back() {
        let all = admission(true);
        let first = all.enter(Class::Submit).await.ok().unwrap();
        let begun = tokio::time::Instant::now();
        let (second, third) = tokio::join!(all.enter(Class::Submit), all.enter(Class::Submit));
        for refused in [second, third] {
            assert_eq!(refused.err().unwrap().code(), Code::Overloaded);
        }
        assert_eq!(
            begun.elapsed(),
            Duration::from_secs(5),
            "only one has waited"
        );
        assert!(
            all.enter(Class::Read).await.is_ok(),
            "other classes have other places"
        );
        let leaves = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (fourth, ()) = tokio::join!(all.enter(Class::Submit), leaves);
        assert!(fourth.is_ok());
    }

    #[tokio::test]
    async fn it_can_be_turned_off() {
        let all = admission(false);
        let places = [all.enter(Class::Read).await, all.enter(Class::Read).await];
        assert!(places.iter().all(Result::is_ok));
    }
}
