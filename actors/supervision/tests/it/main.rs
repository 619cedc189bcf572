//! Conformance of the runtime. One file per concept; the names follow OTP's supervisor suite.

mod beyond;
mod common;
