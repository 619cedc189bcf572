//! The state of one server, shared by all its requests.

use std::{sync::Arc, time::Duration};

use actix_web::http::Method;
use deia_hive::Hive;
use tokio::sync::watch;

use crate::http::{
    body::{
        bytes::ByteBudget,
        json::BodyLimits,
        streams::{StreamSlots, StreamTimes},
    },
    guard::{admission::Admission, rate::Limits},
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
    pub(crate) limits: Limits,
    pub(crate) admission: Admission,
    pub(crate) body: BodyLimits,
    pub(crate) metrics: HttpMetrics,
    /// Returns the OpenAPI document as text.
    pub(crate) description: DocumentText,
    /// Logs every answer when set.
    pub(crate) access_log: bool,
    pub(crate) bodies: ByteBudget,
    pub(crate) answers: ByteBudget,
    pub(crate) max_wait: Duration,
    /// The slots of streams.
    pub(crate) streams: StreamSlots,
    /// Turns `true` when the server stops: long polls and streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
    /// The open connections.
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
                "request bodies",
                bytes(config.server.max_bytes_in_flight.as_u64()),
                body.max_bytes,
            ),
            answers: ByteBudget::new(
                "unread answers",
                bytes(config.server.max_unread_bytes.as_u64()),
                0,
            ),
            max_wait: config.server.max_wait,
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
}
