//! deia: a hive of supervised bots behind a durable task queue.
//!
//! This package is the front door: the composition root ([`app`]), the HTTP API
//! ([`http`]), the typed client of that API ([`client`]) and the command line
//! that operates it ([`cli`]). What a hive is and does is in `deia-hive`; how
//! its parts are kept running is in `deia-supervision`.

pub mod app;
pub mod cli;
pub mod client;
pub mod http;
pub mod telemetry;
mod text;
