//! The hive: bots that work through a durable task queue, every moving part an
//! actor under a supervisor.
//!
//! [`Hive`] is the only door. Behind it, a request becomes a command to the
//! [`deia_ledger`], which applies it in one transaction together with
//! the events that it causes; actors hold nothing that cannot be rebuilt from
//! there.

mod actors;
pub mod auth;
pub mod config;
mod error;
pub mod guard;
mod hive;
pub mod host;
pub mod metrics;
pub mod runner;
mod secrets;
mod statistics;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
mod tree;

pub use actors::bots::{
    log::{LogFollower, LogPiece, LogStart},
    output::TaskOutput,
};
pub use error::HiveError;
pub use hive::{
    AdminKeyReset, DataDirError, Exposed, FrontFactory, Hive, HiveStartError, KeyRotation, NewKey,
    NewUser, OpenedLogin, PartAction, PutBot, RestartCheck, SecretRotation, Submission,
    check_secrets_key, exposed, is_in_use, refuse_links, reset_admin_key, rotate_secrets_key,
    store_options,
};
pub use secrets::SealError;
