//! Archives of a real database: shipped, restored, damaged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod files;
mod generations;
mod moments;
mod resuming;
mod storage;
mod store;
