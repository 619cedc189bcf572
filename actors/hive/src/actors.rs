//! The actors of the hive, one room each.

pub(crate) mod bots;
