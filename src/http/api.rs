//! The handlers, one module a resource: each takes the request apart, makes one call of
//! the hive, and answers.

pub(crate) mod alerts;
pub(crate) mod bots;
pub(crate) mod dto;
pub(crate) mod events;
pub(crate) mod filter;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod meta;
pub(crate) mod metrics;
pub(crate) mod outputs;
pub(crate) mod parameters;
pub(crate) mod queue;
pub mod schemas;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod supervisors;
pub(crate) mod system;
pub(crate) mod tasks;
pub(crate) mod users;
