//! Callers that wait for something to happen to one of many things.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// Time after which a waiter checks the store itself, because a notice may be lost.
/// Fixed: short enough that nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waiters, by the key of the thing that they wait for.
#[derive(Debug)]
pub(crate) struct Waiters<K>(Arc<Mutex<Waiting<K>>>);

/// Notification for each thing, and the number of its waiters.
type Waiting<K> = HashMap<K, (Arc<Notify>, usize)>;

/// A registered waiter. Create it, then check the store, then wait.
pub(crate) struct Waiter<K: Clone + Eq + Hash> {
    waiters: Waiters<K>,
    key: K,
    notify: Arc<Notify>,
}

impl<K> Clone for Waiters<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Waiters<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> Waiters<K> {
    /// Registers a waiter.
    pub(crate) fn wait_for(&self, key: K) -> Waiter<K> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (notify, waiters) = waiting.entry(key.clone()).or_default();
        *waiters += 1;
        Waiter {
            waiters: self.clone(),
            notify: notify.clone(),
            key,
        }
    }

    /// Wakes the waiters of these things.
    pub(crate) fn wake<'k>(&self, keys: impl Iterator<Item = &'k K>)
    where
        K: 'k,
    {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for key in keys {
            if let Some((notify, _)) = waiting.get(key) {
                notify.notify_waiters();
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl<K: Clone + Eq + Hash> Waiter<K> {
    /// Resolves when the thing has happened, or after `limit`, or when it is time to check
    /// again. Must be created before the store is checked, so that nothing is missed.
    pub(crate) fn woken_within(&self, limit: Duration) -> impl Future<Output = ()> + '_ {
        let notified = self.notify.notified();
        async move {
            // The caller checks in either case.
            let _ = tokio::time::timeout(limit.min(LOOK_EVERY), notified).await;
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Waiter<K> {
    fn drop(&mut self) {
        let mut waiting = self
            .waiters
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiters)) = waiting.get_mut(&self.key) {
            *waiters -= 1;
            if *waiters == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waking_reaches_its_waiters_and_leaves_nothing_behind() {
        let waiters = Waiters::default();
        let (waiter, another) = (waiters.wait_for(1), waiters.wait_for(2));
        let begun = tokio::time::Instant::now();
        let waiting = waiter.woken_within(Duration::from_secs(60));
        waiters.wake([1].iter());
        waiting.await;
        assert_eq!(
            begun.elapsed(),
            Duration::ZERO,
            "what happens between making and awaiting is not missed"
        );
        another.woken_within(Duration::from_millis(5)).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(5));
        drop((waiter, another));
        assert_eq!(waiters.len(), 0);
    }
}
