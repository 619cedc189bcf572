//! Programs of bots, whatever they are started for: looked up, started in a session of their own,
//! read, and ended with everything that they have started.

pub(in crate::bots) mod environment;
pub(in crate::bots) mod exit;
pub(in crate::bots) mod launch;
pub(in crate::bots) mod lines;
pub(in crate::bots) mod lookup;
pub(in crate::bots) mod pipe;
pub(in crate::bots) mod preflight;
pub(in crate::bots) mod start_failure;
pub(in crate::bots) mod stderr;
