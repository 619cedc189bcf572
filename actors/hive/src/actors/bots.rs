//! Bots: how they are run, and what runs them.

pub(crate) mod attempt;
pub(crate) mod command;
pub(crate) mod guardian;
pub(crate) mod log;
pub(crate) mod simulated;
