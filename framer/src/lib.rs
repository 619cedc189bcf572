//! Framing of HTTP/1.1 connections ahead of the parser: every connection is read
//! through a [`Stream`] that follows the messages, lets pass the bytes that RFC 9112
//! allows and the server wants, and cuts off clients that are too slow. The bytes that
//! pass mean the same to every parser: there is only one reading of where a message ends.
//!
//! A request that is refused is replaced by one that nobody can send
//! ([`REFUSED_METHOD`]), so that the answers before it keep their order and the
//! refusal is reported like every other problem; nothing after it is read.
//!
//! The crate depends on no server: it reads and writes through tokio's traits, and
//! gives the reason for a refusal as a [`FramingFault`] of its own.

mod chunks;
mod connection;
mod error;
mod framer;
mod head;
mod line;
mod pace;
mod stream;

pub use connection::Connection;
pub use error::{FramingError, FramingFault, REFUSED_METHOD};
pub use framer::{Admitted, Remainder, RequestFramer};
pub use head::{Framing, Head};
pub use stream::{Stream, Timeouts};
