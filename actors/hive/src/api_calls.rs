//! Requests of callers as events of the log, as far as `audit.api_calls` says.
//!
//! A request leaves its record in a bounded queue and waits for nothing; one actor writes
//! the records, batch by batch, so that at most one batch is before the store. Records
//! beyond the bound are lost and counted. Losing this subsystem delays the events.

mod log;
mod recorder;
mod sample;

use std::sync::Arc;

use deia_ledger::BoxFuture;
use deia_supervision::{StartError, child};
pub use log::ApiCall;

use self::{log::CallLog, recorder::CallRecorder};
use crate::{
    config::{ApiCallMode, Settings},
    metrics::{Exposition, table},
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// The subsystem of recorded requests.
pub(crate) struct ApiCalls {
    api: ApiCallsApi,
    recorder: CallRecorder,
}

/// Interface of the subsystem to the HTTP server.
#[derive(Clone)]
pub struct ApiCallsApi {
    settings: Settings,
    log: Arc<CallLog>,
    /// Id of the hive: other hives sample other requests.
    hive_id: Arc<str>,
}

impl ApiCalls {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder) -> Self {
        let log = Arc::<CallLog>::default();
        let recorder = CallRecorder::new(log.clone(), deps.ledger.clone());
        let built = recorder.clone();
        let (spec, _) = child("api-calls", move || {
            let built = built.clone();
            async move { Ok::<_, StartError>(built) }
        });
        tree.service(spec);
        let api = ApiCallsApi {
            settings: deps.settings.clone(),
            log,
            hive_id: deps.ledger.hive_id().into(),
        };
        Self { api, recorder }
    }

    pub(crate) fn api(&self) -> &ApiCallsApi {
        &self.api
    }
}

impl ApiCallsApi {
    /// Returns whether a request with that id is recorded.
    pub fn is_recorded(&self, request_id: &str) -> bool {
        let audit = &self.settings.get().audit;
        match audit.api_calls {
            ApiCallMode::Off => false,
            ApiCallMode::Sampled => sample::takes(&self.hive_id, request_id, audit.api_sample),
            ApiCallMode::Full => true,
        }
    }

    /// Records a request that was answered. Takes a short lock, and does no I/O.
    pub fn note(&self, call: ApiCall) {
        self.log.note(call);
    }
}

impl Subsystem for ApiCalls {
    fn metrics(&self, out: &mut Exposition) {
        let log = &self.api.log;
        for (result, count) in [("recorded", &log.recorded), ("lost", &log.lost)] {
            out.count(&table::API_CALLS, [result], count.get());
        }
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.recorder.write_rest())
    }
}
