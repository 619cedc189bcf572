//! Waiters for the end of tasks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deia_ledger::CommitNotice;
use deia_model::TaskId;
use tokio::sync::Notify;

/// Time after which a waiter checks the store itself, because a notice may be lost.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waiters for the end of tasks.
#[derive(Clone, Default)]
pub(crate) struct TaskWatch(Arc<Mutex<Waiting>>);

/// Notification for each task, and the number of its waiters.
type Waiting = HashMap<TaskId, (Arc<Notify>, usize)>;

/// A registered waiter. Create it, then check the store, then wait.
pub(crate) struct Waiter {
    watch: TaskWatch,
    task: TaskId,
    notify: Arc<Notify>,
}

impl TaskWatch {
    /// Registers a waiter for a task.
    pub(crate) fn wait_for(&self, task: TaskId) -> Waiter {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (notify, waiters) = waiting.entry(task).or_default();
        *waiters += 1;
        Waiter {
            watch: self.clone(),
            task,
            notify: notify.clone(),
        }
    }

    /// Wakes the waiters of the tasks that ended.
    pub(crate) fn committed(&self, notices: &[CommitNotice]) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for notice in notices {
            if let CommitNotice::Finished(task) = notice
                && let Some((notify, _)) = waiting.get(task)
            {
                notify.notify_waiters();
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Waiter {
    /// Resolves when the task has ended, or when it is time to check again. Must be created
    /// before the store is checked, so that no end is missed.
    pub(crate) fn ended_or_look_again(&self, limit: Duration) -> impl Future<Output = ()> + '_ {
        let notified = self.notify.notified();
        async move {
            // The caller checks in either case.
            let _ = tokio::time::timeout(limit.min(LOOK_EVERY), notified).await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiters)) = waiting.get_mut(&self.task) {
            *waiters -= 1;
            if *waiters == 0 {
                waiting.remove(&self.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_end_wakes_its_waiters_and_leaves_nothing_behind() {
        let watch = TaskWatch::default();
        let (task, other) = (TaskId::new(), TaskId::new());
        let (waiter, another) = (watch.wait_for(task), watch.wait_for(other));
        let begun = tokio::time::Instant::now();
        let waiting = waiter.ended_or_look_again(Duration::from_secs(60));
        watch.committed(&[CommitNotice::Finished(task)]);
        waiting.await;
        assert_eq!(
            begun.elapsed(),
            Duration::ZERO,
            "an end between making and awaiting is not missed"
        );
        another.ended_or_look_again(Duration::from_millis(5)).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(5));
        drop((waiter, another));
        assert_eq!(watch.len(), 0);
    }
}
