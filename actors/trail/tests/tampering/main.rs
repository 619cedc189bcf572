//! Tampering with trails: whatever is changed in a directory is found and named with its
//! place, and nothing in it makes the verifier panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod flips;
mod hostile;
mod random;
mod sound;
mod table;
mod trails;
