//! The bytes of a connection before they are HTTP: every connection is read
//! through a [`Stream`] that follows the messages, lets pass what RFC 9112 allows
//! and the server wants, and cuts off who is too slow. What it lets pass means the
//! same to every parser: there is one reading of where a message ends.
//!
//! A request that is refused is replaced by one that nobody can send
//! ([`REFUSED_METHOD`]), so that the answers before it keep their order and the
//! refusal is told like every other problem; nothing after it is read.
//!
//! The crate knows no server: it reads and writes through tokio's traits, and says
//! why it refuses in a [`FramingFault`] of its own.

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
