//! The queue between requests and the store.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use deia_ledger::metrics::Counter;
use deia_model::{Action, NewEvent};
use serde_json::json;
use tokio::sync::Notify;

/// Maximum number of requests that wait to be recorded. Fixed: bounds the memory while
/// the store is slow; beyond it requests are counted as not recorded.
const CALLS_MAX: usize = 8_192;

/// A request of a caller that was answered. There is no body, no query and no secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// Name of the caller.
    pub user: Arc<str>,
    /// The method.
    pub method: String,
    /// Template of the path, as the OpenAPI document writes it.
    pub route: String,
    /// Status of the answer.
    pub status: u16,
    /// Id of the request.
    pub request_id: String,
    /// Time from the head of the request to its answer, in milliseconds.
    pub duration_ms: u64,
    /// Address that the request came from.
    pub address: Option<IpAddr>,
    /// The W3C trace that the request belongs to.
    pub trace_id: Option<String>,
}

impl ApiCall {
    fn event(&self, lost: u64) -> NewEvent {
        let mut details = json!({
            "method": self.method, "status": self.status, "request_id": self.request_id,
            "duration_ms": self.duration_ms,
        });
        if let Some(address) = self.address {
            details["address"] = address.to_string().into();
        }
        if lost > 0 {
            details["lost"] = lost.into();
        }
        let mut event = NewEvent::new(Action::ApiCall, &*self.user, &*self.route).details(details);
        event.trace_id.clone_from(&self.trace_id);
        match self.status >= 400 {
            true => event.failure(),
            false => event,
        }
    }
}

/// Requests that wait to be recorded.
#[derive(Default)]
pub(super) struct CallLog {
    waiting: Mutex<Waiting>,
    filled: Notify,
    /// Number of requests that were recorded.
    pub(super) recorded: Counter,
    /// Number of requests that were to be recorded, and are not.
    pub(super) lost: Counter,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<ApiCall>,
    /// Number of lost requests that no event has told yet.
    lost: u64,
}

/// Requests that are recorded together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) calls: Vec<ApiCall>,
    /// Number of requests that were lost before these.
    lost: u64,
}

impl Batch {
    /// Returns the events; the first tells how many requests were lost.
    pub(super) fn events(&self) -> Vec<NewEvent> {
        let lost = [self.lost].into_iter().chain(std::iter::repeat(0));
        let calls = self.calls.iter().zip(lost);
        calls.map(|(call, lost)| call.event(lost)).collect()
    }
}

impl CallLog {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request, or counts it as lost if too many wait.
    pub(super) fn note(&self, call: ApiCall) {
        let mut waiting = self.waiting();
        if waiting.calls.len() >= CALLS_MAX {
            waiting.lost += 1;
            self.lost.add(1);
            return;
        }
        waiting.calls.push_back(call);
        if waiting.calls.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Resolves when a request was added to an empty queue.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Removes the oldest requests, `max` at most; `None` if there are none.
    pub(super) fn take(&self, max: usize) -> Option<Batch> {
        let mut waiting = self.waiting();
        let n = waiting.calls.len().min(max);
        let calls: Vec<_> = waiting.calls.drain(..n).collect();
        (!calls.is_empty()).then(|| Batch {
            calls,
            lost: std::mem::take(&mut waiting.lost),
        })
    }

    /// Puts a batch back that could not be recorded yet. The newest requests are lost if
    /// there is no room for all.
    pub(super) fn put_back(&self, batch: Batch) {
        let mut waiting = self.waiting();
        waiting.lost += batch.lost;
        for call in batch.calls.into_iter().rev() {
            waiting.calls.push_front(call);
        }
        let beyond = waiting.calls.len().saturating_sub(CALLS_MAX);
        waiting.calls.truncate(CALLS_MAX);
        self.count_lost(&mut waiting, beyond as u64);
    }

    /// Counts a batch that is not recorded.
    pub(super) fn give_up(&self, batch: &Batch) {
        let mut waiting = self.waiting();
        waiting.lost += batch.lost;
        self.count_lost(&mut waiting, batch.calls.len() as u64);
    }

    fn count_lost(&self, waiting: &mut Waiting, n: u64) {
        waiting.lost += n;
        self.lost.add(n);
    }
}

#[cfg(test)]
mod tests {
    use deia_model::EventResult;

    use super::*;

    fn call(i: usize) -> ApiCall {
        ApiCall {
            user: "ada".into(),
            method: "GET".into(),
            route: "/api/v1/tasks".into(),
            status: 200,
            request_id: format!("req-{i}"),
            duration_ms: 3,
            address: None,
            trace_id: None,
        }
    }

    fn ids(batch: &Batch) -> Vec<String> {
        let events = batch.events();
        let id = |event: &NewEvent| event.details["request_id"].as_str().unwrap().to_owned();
        events.iter().map(id).collect()
    }

    #[test]
    fn event_has_the_request_and_nothing_else() {
        let call = ApiCall {
            address: "192.0.2.7".parse().ok(),
            trace_id: Some("0af7".into()),
            status: 404,
            ..call(1)
        };
        let event = call.event(0);
        let details = json!({"method": "GET", "status": 404, "request_id": "req-1",
            "duration_ms": 3, "address": "192.0.2.7"});
        let expected = NewEvent {
            trace_id: Some("0af7".into()),
            ..NewEvent::new(Action::ApiCall, "ada", "/api/v1/tasks")
                .failure()
                .details(details)
        };
        assert_eq!(event, expected);
        assert_eq!(super::tests::call(2).event(0).result, EventResult::Success);
    }

    #[test]
    fn requests_beyond_the_bound_are_told_in_the_next_event() {
        let log = CallLog::default();
        (0..CALLS_MAX + 3).for_each(|i| log.note(call(i)));
        assert_eq!(log.lost.get(), 3);
        let first = log.take(2).unwrap();
        assert_eq!(ids(&first), ["req-0", "req-1"]);
        let lost: Vec<_> = first
            .events()
            .iter()
            .map(|it| it.details["lost"].clone())
            .collect();
        assert_eq!(lost, [json!(3), json!(null)]);
        let second = log.take(CALLS_MAX).unwrap();
        assert_eq!((second.calls.len(), second.lost), (CALLS_MAX - 2, 0));
        assert_eq!(log.take(1), None);
    }

    #[test]
    fn batch_that_is_put_back_comes_first_again() {
        let log = CallLog::default();
        (0..4).for_each(|i| log.note(call(i)));
        let batch = log.take(2).unwrap();
        log.note(call(4));
        log.put_back(batch);
        let all = log.take(9).unwrap();
        assert_eq!(ids(&all), ["req-0", "req-1", "req-2", "req-3", "req-4"]);
        // Meanwhile the queue has filled up again: the newest have no room.
        (0..CALLS_MAX).for_each(|i| log.note(call(i)));
        log.put_back(all);
        assert_eq!(log.lost.get(), 5);
        let rest = log.take(CALLS_MAX + 1).unwrap();
        assert_eq!((rest.calls.len(), rest.lost), (CALLS_MAX, 5));
        log.give_up(&rest);
        assert_eq!(log.lost.get(), 5 + CALLS_MAX as u64);
        log.note(call(0));
        assert_eq!(log.take(1).unwrap().lost, 5 + CALLS_MAX as u64);
    }
}
