//! The audit trail: every event becomes an entry of a transparency log that public tools check.
//!
//! The writer is a follower of the event log that the log waits for: what is not in the trail is
//! not pruned. The trail itself is in files ([`deia_trail`]), so that an auditor needs nothing of
//! deia. While the trail cannot be written, administrative changes are refused; tasks go on.
//! Losing the writer loses nothing: the trail says how far it is.

mod api;
mod events;
mod export;
pub(crate) mod index;
mod indexer;
mod key;
mod metrics;
mod opening;
mod plan;
mod pruning;
pub(crate) mod query;
mod rotation;
mod shipped;
mod state;
mod statistics;
#[cfg(test)]
mod tests;
mod verification;
mod work;
mod writer;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use api::ApiNeeds;
pub use api::{AuditApi, AuditExport};
use deia_ledger::{BoxFuture, CommitNotice};
use deia_supervision::{Handle, StartError, child};
use deia_trail::TrailReader;

use self::{
    indexer::{Indexed, Indexer},
    query::AuditReads,
    verification::{TrailVerifier, Verifications},
    work::Work,
    writer::{AuditWriter, EventsAppended, Told},
};
pub(crate) use self::{opening::align, state::TrailState};
use crate::{
    access::AccessApi,
    metrics::Exposition,
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// The subsystem of the audit trail.
pub(crate) struct Audit {
    api: AuditApi,
    writer: Handle<AuditWriter>,
    told: Told,
    work: Work,
    indexed: Indexed,
}

impl Audit {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder, access: &AccessApi) -> Self {
        let state = Arc::new(TrailState::new(Instant::now()));
        let work = Work::new(deps, state);
        let told = Told::default();
        let (held, heard) = (work.clone(), told.clone());
        let (spec, writer) = child("audit", move || {
            let built = AuditWriter::new(held.clone(), heard.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.core(spec);
        let config = deps.settings.get();
        let reads = Arc::new(AuditReads::new(
            TrailReader::new(config.audit_dir()),
            &config.audit_index_path(),
        ));
        let indexed = Indexed::default();
        let (followed, noted) = (work.clone(), indexed.clone());
        let (spec, _) = child("audit-index", move || {
            let built = Indexer::new(followed.clone(), noted.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.service(spec);
        let verifications = Verifications::default();
        let (settings, ledger) = (deps.settings.clone(), deps.ledger.clone());
        let shown = verifications.clone();
        let (spec, verifier) = child("audit-verifier", move || {
            let built = TrailVerifier::new(settings.clone(), ledger.clone(), shown.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.service(spec);
        Self {
            api: AuditApi::new(ApiNeeds {
                work: work.clone(),
                access: access.clone(),
                reads,
                verifier,
                verifications,
            }),
            writer,
            told,
            work,
            indexed,
        }
    }

    pub(crate) fn api(&self) -> &AuditApi {
        &self.api
    }
}

impl Subsystem for Audit {
    fn on_commit(&self, notices: &[CommitNotice]) {
        let newest = notices.iter().filter_map(|notice| match notice {
            CommitNotice::EventsAppended(seq) => Some(*seq),
            _ => None,
        });
        let Some(newest) = newest.max() else {
            return;
        };
        self.work.state.appended(newest);
        // A message that finds no room is harmless: the writer looks periodically.
        if !self.told.swap(true, Ordering::AcqRel) && self.writer.tell(EventsAppended).is_err() {
            self.told.store(false, Ordering::Release);
        }
    }

    fn metrics(&self, out: &mut Exposition) {
        metrics::write(&self.work.state, &self.indexed, out);
    }

    /// Enters the last events, so that a copy of the directory has everything.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.work.enter_last())
    }
}
