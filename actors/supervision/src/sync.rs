//! What synchronises threads in the modules that `tests/model` checks. There, loom's take the place
//! of these.

pub(crate) use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
