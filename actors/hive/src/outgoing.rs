//! The guarded way out of the hive: requests to URLs that others have chosen.
//!
//! [`ReachPolicy`] decides, purely, which URLs and addresses may be reached. [`OutgoingClient`]
//! is the only place that resolves names and connects for such URLs, and it connects to
//! addresses that the policy has passed only.

mod address;
mod client;
mod error;
mod exchange;
mod incoming;
mod lookup;
mod policy;
mod refusal;
mod retry_after;
pub(crate) mod signature;
mod spelling;
mod target;

pub(crate) use client::{OutgoingClient, OutgoingOptions, OutgoingRequest, system_tls};
pub(crate) use error::ExchangeError;
#[cfg(test)]
pub(crate) use exchange::Answered;
pub(crate) use exchange::{Exchange, ExchangeLimits, HeadLimits};
pub(crate) use incoming::Incoming;
#[cfg(test)]
pub(crate) use lookup::LookupError;
pub(crate) use lookup::SystemLookup;
pub(crate) use policy::ReachPolicy;
#[cfg(test)]
pub(crate) use refusal::RefusalReason;
pub(crate) use target::TargetUrl;
