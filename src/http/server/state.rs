//! The state of one server, shared by all its requests.

use std::{sync::Arc, time::Duration};

use actix_web::http::Method;
use deia_hive::Hive;
use tokio::sync::watch;

use crate::http::{
    body::{bytes::ByteBudget, json::BodyLimits, streams::StreamSlots},
    guard::{admission::Admission, rate::Limits},
    server::{drain::ConnectionDrain, metrics::HttpMetrics},
};

/// Returns the OpenAPI document as text.
pub(crate) type DocumentText = fn() -> Result<&'static str, &'static serde_json::Error>;

/// The API that a server has. The route table lists handlers, which reach this state: so
/// the state is given what it needs of the table.
pub(crate) struct Api {
    /// The method and path of each row of the table.
    pub(crate) routes: Vec<(Method, &'static str)>,
    /// Returns the OpenAPI document as text.
    pub(crate) description: DocumentText,
}

/// What all handlers share.
pub(crate) struct ServerState {
    pub(crate) hive: Hive,
    pub(crate) limits: Limits,
    pub(crate) admission: Admission,
    pub(crate) body: BodyLimits,
    pub(crate) metrics: HttpMetrics,
    /// Returns the OpenAPI document as text.
    pub(crate) description: DocumentText,
    /// Whether every answer is logged.
    pub(crate) access_log: bool,
    pub(crate) bodies: ByteBudget,
    pub(crate) answers: ByteBudget,
    pub(crate) max_wait: Duration,
    /// Places for streams.
    pub(crate) streams: StreamSlots,
    /// Turns `true` when the server stops: long polls and streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
    /// The connections that requests come on.
    pub(crate) connections: Arc<ConnectionDrain>,
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
            limits: Limits::new(&config.limits),
            admission: Admission::new(&config.server.admission),
            body,
            metrics: HttpMetrics::new(api.routes),
            description: api.description,
            access_log: config.logging.access,
            bodies: ByteBudget::new(
                "bodies in hand",
                bytes(config.server.max_bytes_in_flight.as_u64()),
                body.max_bytes,
            ),
            answers: ByteBudget::new(
                "answers that are not read yet",
                bytes(config.server.max_unread_bytes.as_u64()),
                0,
            ),
            max_wait: config.server.max_wait,
            streams: StreamSlots::new(config.server.max_streams as usize),
            stopping,
            connections: ConnectionDrain::new(),
            hive,
        }
    }
}
