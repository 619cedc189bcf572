//! The state of one server, shared by all its requests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use actix_web::http::Method;
use arc_swap::ArcSwap;
use deia_hive::{Hive, config::Config};
use tokio::sync::watch;

use crate::http::{
    body::{
        bytes::ByteBudget,
        json::BodyLimits,
        streams::{StreamSlots, StreamTimes},
    },
    guard::{admission::Admission, overload::StoreWaits, rate::Limits},
    server::{drain::ConnectionDrain, metrics::HttpMetrics},
};

/// Returns the OpenAPI document as text.
pub(crate) type DocumentText = fn() -> Result<&'static str, &'static serde_json::Error>;

/// The API of a server. The route table lists handlers, and handlers use this state: so
/// the state is given its part of the table instead of looking it up.
pub(crate) struct Api {
    /// The method and path of each row of the table.
    pub(crate) routes: Vec<(Method, &'static str)>,
    /// Returns the OpenAPI document as text.
    pub(crate) description: DocumentText,
}

/// The state that all handlers share.
pub(crate) struct ServerState {
    pub(crate) hive: Hive,
    /// Made anew when their settings change.
    pub(crate) limits: ArcSwap<Limits>,
    /// Made anew when its settings change. Requests in progress keep the permits that they have.
    pub(crate) admission: ArcSwap<Admission>,
    pub(crate) body: BodyLimits,
    pub(crate) metrics: HttpMetrics,
    /// Returns the OpenAPI document as text.
    pub(crate) description: DocumentText,
    /// The settings from which those parts were made.
    made_with: ArcSwap<Config>,
    /// Logs every answer when set.
    pub(crate) access_log: AtomicBool,
    pub(crate) bodies: ByteBudget,
    pub(crate) answers: ByteBudget,
    /// The slots of streams.
    pub(crate) streams: StreamSlots,
    /// Turns `true` when the server stops: long polls and streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
    /// The open connections.
    pub(crate) connections: Arc<ConnectionDrain>,
}

/// Returns the reader of the waits for the writer of the store.
fn store_waits(hive: &Hive) -> StoreWaits {
    let operations = hive.operations().clone();
    Arc::new(move || operations.waits_for_writer())
}

impl ServerState {
    pub(crate) fn new(hive: Hive, api: Api, stopping: watch::Receiver<bool>) -> Self {
        let config = hive.config();
        let bytes = |size| usize::try_from(size).unwrap_or(usize::MAX);
        let body = BodyLimits {
            max_bytes: bytes(config.server.max_body_bytes.as_u64()),
            max_pause: config.server.request_head_timeout,
            max_time: config.server.request_body_timeout,
        };
        Self {
            limits: ArcSwap::from_pointee(Limits::new(&config.limits)),
            admission: ArcSwap::from_pointee(Admission::new(
                &config.server.admission,
                store_waits(&hive),
            )),
            body,
            metrics: HttpMetrics::new(api.routes),
            description: api.description,
            access_log: AtomicBool::new(config.logging.access),
            bodies: ByteBudget::new(
                "request bodies",
                bytes(config.server.max_bytes_in_flight.as_u64()),
                body.max_bytes,
            ),
            answers: ByteBudget::new(
                "unread answers",
                bytes(config.server.max_unread_bytes.as_u64()),
                0,
            ),
            made_with: ArcSwap::new(Arc::clone(&config)),
            streams: StreamSlots::new(
                config.server.max_streams as usize,
                StreamTimes {
                    heartbeat: config.server.stream_heartbeat,
                    slow_reader: config.server.slow_reader_timeout,
                },
            ),
            stopping,
            connections: ConnectionDrain::new(),
            hive,
        }
    }

    /// Makes the parts anew whose settings differ. Budgets of callers are whole again then.
    pub(crate) fn adopt(&self, now: Arc<Config>) {
        let before = self.made_with.swap(Arc::clone(&now));
        if now.limits != before.limits {
            self.limits.store(Arc::new(Limits::new(&now.limits)));
        }
        let admission = &now.server.admission;
        if *admission != before.server.admission {
            let after = self
                .admission
                .load()
                .with(&before.server.admission, admission);
            self.admission.store(Arc::new(after));
        }
        self.access_log.store(now.logging.access, Relaxed);
    }
}
