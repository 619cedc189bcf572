//! Records of the notices that a store sends.

use std::sync::Arc;

use crate::{CommitNotice, Ledger};

pub(super) type Seen = Arc<std::sync::Mutex<Vec<CommitNotice>>>;

/// Subscribes a sink that records every notice except statistics and events.
pub(super) fn notices_of(ledger: &Ledger) -> Seen {
    seen(ledger, |notice| {
        !matches!(
            notice,
            CommitNotice::LaneStats(_) | CommitNotice::Logged(_) | CommitNotice::EventsAppended(_)
        )
    })
}

/// Subscribes a sink that records the statistics.
pub(super) fn flows_of(ledger: &Ledger) -> Seen {
    seen(ledger, |notice| {
        matches!(notice, CommitNotice::LaneStats(_))
    })
}

pub(super) fn seen(ledger: &Ledger, wanted: fn(&CommitNotice) -> bool) -> Seen {
    let seen = Seen::default();
    let sink = seen.clone();
    ledger.subscribe(Arc::new(move |notices| {
        let wanted = notices.iter().filter(|notice| wanted(notice)).cloned();
        sink.lock().unwrap().extend(wanted);
    }));
    seen
}
