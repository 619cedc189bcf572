//! The hive: bots that work through a durable task queue, every moving part an
//! actor under a supervisor.

pub mod auth;
pub mod config;
mod error;
mod hive;
pub mod ledger;
pub mod model;

pub use error::HiveError;
pub use hive::{FrontFactory, Hive, NewKey, PutBot, Submission};
