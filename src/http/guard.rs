//! The guard before every handler: who asks, at which rate, with which permission, and
//! whether there is capacity for the request.

pub(crate) mod admission;
pub(crate) mod class;
pub(crate) mod credentials;
pub(crate) mod csrf;
pub(crate) mod pass;
pub(crate) mod policy;
pub(crate) mod quotas;
pub(crate) mod rate;
pub(crate) mod who;
