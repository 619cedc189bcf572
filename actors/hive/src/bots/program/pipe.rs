//! Reading from the pipes of a program.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes read at a time. Fixed: a buffer, whose size changes nothing that can be seen.
pub(in crate::bots) const CHUNK_BYTES: usize = 16 << 10;

/// Reads once. Returns `false` at the end and when the pipe is broken. Cancel safe.
pub(in crate::bots) async fn read_some(
    pipe: &mut (impl AsyncRead + Unpin),
    into: &mut Vec<u8>,
    size: usize,
) -> bool {
    if into.capacity() - into.len() < size / 2 {
        into.reserve(size);
    }
    matches!(pipe.read_buf(into).await, Ok(1..))
}
