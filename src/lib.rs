//! deia: a hive of supervised bots behind a durable task queue.
//!
//! This package is the front door: the composition root ([`app`]), the HTTP API
//! ([`http`]) and the command line that operates it ([`cli`]). The hive itself is in
//! `deia-hive`, its durable state in `deia-ledger`, the vocabulary of both in
//! `deia-model`; `deia-supervision` keeps the parts running, and `deia-client` is the
//! client of the API.

pub mod app;
pub mod cli;
pub mod http;
pub mod telemetry;
