//! The guard before every handler: authentication, rate limits, permissions, admission.

pub(crate) mod admission;
pub(crate) mod class;
pub(crate) mod credentials;
pub(crate) mod csrf;
pub(crate) mod overload;
pub(crate) mod pass;
pub(crate) mod policy;
pub(crate) mod quotas;
pub(crate) mod rate;
pub(crate) mod who;
