//! The HTTP API.
//!
//! The guard (`guard::pass`) lets a request in (key, rate, permission, admission), a
//! handler in `api` takes it apart and makes one call of the hive, and the answer gets
//! the headers of every answer. A route is a row of the [`table`](fn@table), and nothing else
//! registers one: no row is without its [`Access`].

mod api;
mod audit_events;
mod body;
mod context;
mod guard;
pub mod openapi;
mod operation;
mod route;
mod server;
mod table;
mod viewer;

pub use self::{
    api::schemas,
    audit_events::audit_events_page,
    body::{
        catalogue::{Code, catalogue_page},
        problem::Problem,
    },
    guard::policy::Access,
    route::{Leaves, Route},
    server::{
        front::front,
        telemetry::ACCESS_TARGET,
        tls::{Tls, TlsError},
    },
    table::table,
};
