//! The hive: bots that work through a durable task queue, every moving part an
//! actor under a supervisor.

pub mod actors;
pub mod auth;
pub mod config;
mod error;
mod failpoint;
pub mod guard;
mod hive;
pub mod ledger;
pub mod model;
pub mod store;

pub use error::HiveError;
pub use hive::{FrontFactory, Hive, NewKey, PutBot, Submission};
