//! The stream of a connection with its framer and its clocks.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

use crate::{
    Connection, FramingError, FramingFault, REFUSED_METHOD,
    framer::{Admitted, Remainder, RequestFramer},
    head::hide_expectations,
    pace::Pace,
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Number of bytes that are still read, and discarded, after the last request, so that
/// the answer is not lost to a reset of the connection. Fact: RFC 9112, 9.6: a server
/// reads on for a while before it closes a connection.
const MAX_IGNORED_BYTES: usize = 256 << 10;
/// Number of bytes that are read ahead while a request is not answered, so that the end
/// of the connection is noticed. Fixed: a buffer, whose size changes nothing that can be
/// seen.
const MAX_AHEAD_BYTES: usize = 4 << 10;
/// Time for which reading goes on after the last answer. Fact: RFC 9112, 9.6: a server
/// reads on for a while before it closes a connection.
const LINGER: Duration = Duration::from_secs(1);
/// Time that the first request of a connection may take once the server stops. Fixed: a
/// stop waits for it; a request that is on its way takes less.
const FIRST_WHEN_STOPPING: Duration = Duration::from_secs(1);
/// Time that the next request of a connection may take then: it may be on its way. Fixed:
/// a stop waits for it; a request that is on its way takes less.
const NEXT_WHEN_STOPPING: Duration = Duration::from_millis(100);

/// Limits on the time that a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Time allowed for a head, and for a pause in a body.
    pub head: Duration,
    /// Time allowed for a pause in taking an answer.
    pub write: Duration,
    /// Minimum rate at which the client must send a body, or take an answer, in the long run.
    pub min_bytes_per_second: u64,
}

/// A connection that is framed. `N` is the type of the server's notes on it.
pub struct Stream<T, N> {
    io: T,
    framer: RequestFramer,
    /// The beginning of a head, or bytes that came after a request that is not answered.
    held: BytesMut,
    /// Bytes that go on to the parser next.
    ready: BytesMut,
    end: End,
    /// True if the client sends nothing after the held bytes.
    eof: bool,
    head: Pace,
    body: Pace,
    writes: Pace,
    /// Bytes of an interim answer that are left to write.
    interim: &'static [u8],
    /// Clock of the next request, once the server stops.
    last: Pace,
    stopping: Stopping,
    connection: Rc<Connection<N>>,
}

/// Progress of a stop of the server, which waits only for requests that are on their
/// way.
enum Stopping {
    NotAsked(watch::Receiver<bool>),
    Waiting(Pin<Box<dyn Future<Output = ()>>>),
    Stops,
}

impl Stopping {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::NotAsked(stopping) = self {
            let mut stopping = stopping.clone();
            *self = Self::Waiting(Box::pin(async move {
                // An error means that the sender is gone: the server has stopped as well.
                let _ = stopping.wait_for(|stops| *stops).await;
            }));
        }
        if let Self::Waiting(stops) = self {
            ready!(stops.as_mut().poll(cx));
            *self = Self::Stops;
        }
        Poll::Ready(())
    }
}

/// Result of a read once `ready` is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More bytes, when they come.
    NotYet,
    /// Nothing, though the client may go on sending.
    Silence { ignored: usize },
    /// The end of the stream.
    Eof,
}

impl<T, N> Stream<T, N>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    /// Guards a connection. Once `stopping` turns true, only requests that are on
    /// their way are read.
    pub fn new(io: T, note: N, timeouts: Timeouts, stopping: watch::Receiver<bool>) -> Self {
        let rate = timeouts.min_bytes_per_second;
        // The handler that waits for the body is to be the first to notice a pause.
        let body = timeouts.head + Duration::from_secs(1);
        Self {
            io,
            framer: RequestFramer::default(),
            held: BytesMut::new(),
            ready: BytesMut::new(),
            end: End::NotYet,
            eof: false,
            head: Pace::new(timeouts.head, u64::MAX),
            body: Pace::new(body, rate),
            writes: Pace::new(timeouts.write, rate),
            interim: &[],
            last: Pace::new(FIRST_WHEN_STOPPING, u64::MAX),
            stopping: Stopping::NotAsked(stopping),
            connection: Rc::new(Connection::new(note)),
        }
    }

    /// Returns the connection as the handlers of its requests see it.
    pub fn connection(&self) -> Rc<Connection<N>> {
        Rc::clone(&self.connection)
    }

    /// Inspects the bytes that came, which are in `buf` from `before` on, and leaves there
    /// only those that may go on.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        if self.framer.in_body() {
            self.body.moved(buf.filled().len() - before);
        }
        if !self.held.is_empty() {
            self.held.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            return self.inspect_held();
        }
        let (begun, passed) = self.pass(&buf.filled()[before..]);
        if begun {
            hide_expectations(&mut buf.filled_mut()[before..before + passed.bytes]);
        }
        if passed.rest == Remainder::Held {
            self.held
                .extend_from_slice(&buf.filled()[before + passed.bytes..]);
        }
        buf.set_filled(before + passed.bytes);
        self.follow(passed);
    }

    /// Inspects the held bytes in the same way.
    fn inspect_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let (begun, passed) = self.pass(&held);
        self.held = held;
        self.ready = self.held.split_to(passed.bytes);
        if begun {
            hide_expectations(&mut self.ready);
        }
        self.follow(passed);
    }

    /// Passes a piece through the framer. Returns whether a request with an expectation
    /// begins in it: that is met when its body is wanted (see [`Connection::invite`]).
    fn pass(&mut self, piece: &[u8]) -> (bool, Admitted) {
        let before = self.framer.requests();
        let passed = self.framer.pass(piece);
        let begun = self.framer.requests() != before;
        if begun {
            self.connection.expects.set(self.framer.expects());
        }
        (begun && self.framer.expects(), passed)
    }

    /// Writes the rest of an interim answer. The parser flushes, and so calls this, only
    /// when everything before the interim answer is written.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A body that has come needs no invitation.
        if self.connection.invited.take() && self.framer.in_body() {
            self.interim = CONTINUE;
        }
        while !self.interim.is_empty() {
            let interim = self.interim;
            match ready!(Pin::new(&mut self.io).poll_write(cx, interim))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.interim = &interim[bytes..],
            }
        }
        Poll::Ready(Ok(()))
    }

    fn follow(&mut self, passed: Admitted) {
        if self.connection.requests.replace(self.framer.requests()) != self.framer.requests() {
            // Each body has the time for its first bytes.
            self.body.reset();
            self.last = Pace::new(NEXT_WHEN_STOPPING, u64::MAX);
        }
        if passed.bytes > 0 || self.held.is_empty() {
            self.head.reset();
        }
        match passed.rest {
            Remainder::Held => {}
            Remainder::Ignored => self.end = End::Silence { ignored: 0 },
            Remainder::Refused(refusal) => self.refuse(refusal, false),
            Remainder::Broken(refusal) => self.refuse(refusal, true),
        }
    }

    fn refuse(&mut self, refusal: FramingError, in_body: bool) {
        // Only the first refusal counts.
        let _ = self.connection.refusal.set(refusal);
        self.held.clear();
        self.framer.end();
        if in_body {
            self.end = End::Eof;
            return;
        }
        let request =
            format!("{REFUSED_METHOD} / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n");
        self.ready.extend_from_slice(request.as_bytes());
        self.end = End::Silence { ignored: 0 };
    }

    /// Returns true if the bytes that came next must wait. The parser gets one request at a
    /// time: it would queue further ones, and decides on the form of an answer by the request
    /// that it read last.
    fn is_withheld(&self) -> bool {
        !self.framer.in_body() && self.framer.requests() > self.connection.answered.get()
    }

    /// Reads a little of what comes before the current request is answered.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.tell_when_answered(cx.waker());
        if self.eof || self.held.len() >= MAX_AHEAD_BYTES {
            return Poll::Pending;
        }
        let mut scratch = [0; MAX_AHEAD_BYTES];
        let mut buf = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.held.extend_from_slice(buf.filled());
        self.eof = buf.filled().is_empty();
        if self.eof && self.held.is_empty() {
            self.end = End::Eof;
        }
        self.head.reset();
        Poll::Ready(Ok(()))
    }

    /// Ready once the client has sent nothing for too long.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.framer.in_body() {
            ready!(self.body.poll_over(cx));
            let detail = "the body came too slowly";
            self.refuse(
                FramingError {
                    fault: FramingFault::TooSlow,
                    detail,
                },
                true,
            );
        } else if !self.held.is_empty() {
            ready!(self.head.poll_over(cx));
            let detail = "the head came too slowly";
            self.refuse(
                FramingError {
                    fault: FramingFault::TooSlow,
                    detail,
                },
                false,
            );
        } else if self.stopping.poll(cx).is_ready() {
            ready!(self.last.poll_over(cx));
            self.end = End::Eof;
        } else if self.framer.requests() == 0 {
            ready!(self.head.poll_over(cx));
            self.end = End::Eof;
        } else {
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Reads and discards bytes that nobody wants, so that the answer arrives.
    fn poll_ignore(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while let End::Silence { ignored } = self.end {
            if ignored > MAX_IGNORED_BYTES {
                return Poll::Pending;
            }
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            self.end = match buf.filled().len() {
                0 => End::Eof,
                more => End::Silence {
                    ignored: ignored + more,
                },
            };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.writes.moved(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending => {
                ready!(self.writes.poll_over(cx));
                let error = io::Error::new(io::ErrorKind::TimedOut, "the answer is not read");
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<T, N> AsyncRead for Stream<T, N>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !this.ready.is_empty() {
                let bytes = this.ready.len().min(buf.remaining());
                buf.put_slice(&this.ready[..bytes]);
                this.ready.advance(bytes);
                return Poll::Ready(Ok(()));
            }
            match this.end {
                End::NotYet => {}
                End::Silence { .. } => return this.poll_ignore(cx),
                End::Eof => return Poll::Ready(Ok(())),
            }
            if this.is_withheld() {
                ready!(this.poll_ahead(cx))?;
                continue;
            }
            if this.framer.is_between() && !this.held.is_empty() {
                this.head.reset();
                this.inspect_held();
                continue;
            }
            if this.eof {
                this.end = End::Eof;
                continue;
            }
            let before = buf.filled().len();
            match Pin::new(&mut this.io).poll_read(cx, buf) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if buf.filled().len() == before => {
                    this.end = End::Eof;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {
                    this.inspect(buf, before);
                    if buf.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending => ready!(this.poll_too_slow(cx)),
            }
        }
    }
}

impl<T, N> AsyncWrite for Stream<T, N>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // An answer must not begin before an interim answer is written to its end.
        let written = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.io).poll_write(cx, bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.poll_written(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.io).poll_flush(cx),
            other => other,
        };
        let flushed = flushed.map(|done| done.map(|()| 0));
        self.poll_written(cx, flushed).map(|done| done.map(|_| ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        ready!(self.poll_written(cx, shut.map(|done| done.map(|()| 0))))?;
        let connection = &self.connection;
        if connection.refusal.get().is_none() && !connection.closing.get() {
            return Poll::Ready(Ok(()));
        }
        if !matches!(self.end, End::Silence { .. }) {
            self.end = End::Silence { ignored: 0 };
            self.head = Pace::new(LINGER, u64::MAX);
        }
        let this = &mut *self;
        match this.poll_ignore(cx) {
            Poll::Pending => this.head.poll_over(cx).map(Ok),
            over => over.map(|_| Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
