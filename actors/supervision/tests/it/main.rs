//! Conformance of the runtime. One file per concept; the names follow OTP's supervisor suite.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod beyond;
mod common;
