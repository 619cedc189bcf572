//! The host: the resources that this process gets from its machine and its kernel, and their
//! state.
//!
//! - Figures: `machine` (processors, memory, load), `pressure` (PSI), `cgroup` (limits of a
//!   container or a service, version 1 and 2), `disk`, and [`process`] (others and this
//!   one). A figure that the host does not show is an `Unknown` with the reason.
//! - Means: open files ([`descriptors`]), [`children`], [`signals`], private directories.
//!
//! No other module reads `/proc` or `/sys`. The code is plain and blocking, and never runs on an
//! arbiter.

pub(crate) mod cgroup;
pub mod children;
pub mod descriptors;
pub(crate) mod directory_watch;
mod disk;
pub(crate) mod families;
pub(crate) mod listeners;
mod machine;
pub(crate) mod pressure;
pub(crate) mod private_dir;
pub mod process;
pub mod signals;
mod unknown;

pub(crate) use cgroup::Cgroup;
pub(crate) use disk::DiskSpace;
pub(crate) use machine::{CpuMeter, Load, Memory};
pub(crate) use pressure::{Pressure, Stall};
pub(crate) use process::Process;
pub(crate) use unknown::Unknown;

/// Returns the share that is in use, in percent; 0 if the total is 0.
#[allow(clippy::cast_precision_loss, reason = "a share")]
fn used_percent(free: u64, all: u64) -> f64 {
    match all {
        0 => 0.0,
        all => 100.0 - free.min(all) as f64 * 100.0 / all as f64,
    }
}

/// Returns a number with two decimals as the kernel wrote it: half the precision shows 0.1
/// as 0.10000000149.
fn hundredths(number: f32) -> f64 {
    (f64::from(number) * 100.0).round() / 100.0
}
