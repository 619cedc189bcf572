//! The statistics: counts, waits and run times by hour, task type and bot.
//!
//! A follower of the event log makes them, so that they survive restarts and count each
//! event once. Losing this subsystem stops the counting, and it is made up for later.

mod follower;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use self::{follower::Statistics, view::history};
