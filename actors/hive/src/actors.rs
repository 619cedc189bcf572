//! The actors of the hive, one module each.

pub(crate) mod access;
pub(crate) mod bots;
pub(crate) mod dispatch;
pub(crate) mod followers;
pub(crate) mod issuers;
pub(crate) mod ledger;
pub(crate) mod retention;
pub(crate) mod scheduler;
