//! Conformance of the runtime. One file per concept; the names follow OTP's supervisor suite.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod abandoned;
mod administration;
mod askers;
mod auto_shutdown;
mod beyond;
mod blocking;
mod bounces;
mod common;
mod declaring;
mod dynamic;
mod endurance;
mod fairness;
mod futures;
mod ignoring;
mod logging;
mod mail;
mod model;
mod monitors;
mod panics;
mod panics_elsewhere;
mod placement;
mod restart_types;
mod robustness;
mod shedding;
mod stalls;
mod start;
mod stop;
mod stop_race;
mod stopping;
mod strategies;
mod suspend;
mod testing;
mod waiting;
mod watchdog;
