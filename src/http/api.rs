//! The handlers, one module a resource: each takes the request apart, makes one call of
//! the hive, and answers.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod bots;
pub(crate) mod config;
pub(crate) mod degradation;
pub(crate) mod dto;
pub(crate) mod events;
pub(crate) mod filter;
pub(crate) mod health;
pub(crate) mod keys;
mod live_events;
mod live_outputs;
pub(crate) mod logs;
pub(crate) mod messages;
pub(crate) mod meta;
pub(crate) mod metrics;
pub(crate) mod outputs;
pub(crate) mod parameters;
pub(crate) mod queue;
pub(crate) mod recovery;
pub mod schemas;
pub(crate) mod secrets;
pub(crate) mod sessions;
mod sse;
pub(crate) mod supervisors;
pub(crate) mod system;
pub(crate) mod task_sessions;
pub(crate) mod tasks;
pub(crate) mod users;
pub(crate) mod webhooks;
pub(crate) mod work;
