//! The attempts at workers, by worker and request: a poll looks at those of its worker only.

use std::collections::HashMap;

use super::{Asker, Out};
use crate::bots::bot::AttemptKey;

/// The attempts at workers that have given a name.
#[derive(Debug, Default)]
pub(super) struct Workers(HashMap<String, AtWorker>);

#[derive(Debug, Default)]
struct AtWorker {
    attempts: usize,
    /// Attempts by the request that was answered with them.
    answers: HashMap<String, Vec<AttemptKey>>,
}

impl Workers {
    pub(super) fn add(&mut self, key: AttemptKey, out: &Out) {
        let Some(worker) = &out.worker else {
            return;
        };
        let at_worker = self.0.entry(worker.clone()).or_default();
        at_worker.attempts += 1;
        if let Some(request) = &out.request {
            let answer = at_worker.answers.entry(request.clone()).or_default();
            answer.push(key);
        }
    }

    pub(super) fn remove(&mut self, key: AttemptKey, out: &Out) {
        let Some((worker, at_worker)) = out
            .worker
            .as_ref()
            .and_then(|name| Some((name, self.0.get_mut(name)?)))
        else {
            return;
        };
        at_worker.attempts = at_worker.attempts.saturating_sub(1);
        if let Some(request) = &out.request
            && let Some(answer) = at_worker.answers.get_mut(request)
        {
            answer.retain(|given| *given != key);
            if answer.is_empty() {
                at_worker.answers.remove(request);
            }
        }
        if at_worker.attempts == 0 {
            self.0.remove(worker);
        }
    }

    /// Returns the number of attempts that a worker has.
    pub(super) fn count(&self, worker: &str) -> usize {
        self.0.get(worker).map_or(0, |it| it.attempts)
    }

    /// Returns the attempts that a request was answered with and that still run.
    pub(super) fn answer(&self, asker: &Asker) -> &[AttemptKey] {
        let answer = asker.worker.as_ref().zip(asker.request.as_ref());
        let answer = answer.and_then(|(worker, request)| self.0.get(worker)?.answers.get(request));
        answer.map_or(&[], Vec::as_slice)
    }

    /// Returns the number of workers that have attempts.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
