//! The server: from the listener to the application, and the state that all requests
//! share.

pub(crate) mod connection;
pub(crate) mod drain;
pub(crate) mod front;
pub(crate) mod listen;
pub(crate) mod metrics;
pub(crate) mod request_id;
pub(crate) mod security_headers;
pub(crate) mod state;
pub(crate) mod telemetry;
pub(crate) mod tls;
