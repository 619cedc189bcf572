//! Primitives that synchronise threads in the modules that `tests/model` checks, where loom's take
//! their place.

pub(crate) use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
