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

pub(crate) use client::{
    OutgoingClient, OutgoingOptions, OutgoingRequest, is_reserved_header, system_tls, tls_trusting,
};
pub(crate) use error::ExchangeError;
pub(crate) use exchange::{Answered, Exchange, ExchangeLimits, HeadLimits, Phase};
pub(crate) use incoming::Incoming;
pub(crate) use lookup::{Lookup, LookupError, SystemLookup};
pub(crate) use policy::ReachPolicy;
pub(crate) use refusal::{ReachRefusal, RefusalReason};
pub(crate) use target::{Scope, TargetHost, TargetUrl};
