//! Answers that are made while they are read: as fast as the reader, in bounded
//! memory, bounded in number, and over when the server stops or when who reads
//! would not be let in any more.

use std::{
    io,
    net::IpAddr,
    pin::pin,
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    body::BodyStream,
    http::header::{CONTENT_TYPE, HeaderValue},
    web::Bytes,
};
use deia_hive::{Hive, auth::Principal};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::call::Call;
use super::problem::Problem;

/// How often a stream of events gives a sign of life when there is no event.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is cut off.
const SLOW_READER_AFTER: Duration = Duration::from_secs(60);
/// Pieces that may wait for the reader.
const PIECES_WAITING: usize = 2;

/// Why an answer is made no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Nobody reads it, or too slowly.
    Unread,
    /// The server stops.
    Stopping,
    /// Who reads it would not be let in any more.
    Refused,
}

/// Who reads, and by what right.
struct Reader {
    hive: Hive,
    who: Principal,
    from: Option<IpAddr>,
    changes: watch::Receiver<()>,
}

impl Reader {
    fn of(call: &Call) -> Self {
        Self {
            hive: call.hive().clone(),
            who: call.who.clone(),
            from: call.address(),
            changes: call.hive().access_changes(),
        }
    }

    /// Whether they have the right still. One that has changed in any way is not
    /// the one they were let in with.
    fn may_go_on(&self) -> Result<(), Over> {
        match self.hive.still(&self.who, self.from) {
            Ok(now) if now == self.who => Ok(()),
            _ => Err(Over::Refused),
        }
    }
}

/// Where the pieces of an answer go.
pub(super) struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    stopping: watch::Receiver<bool>,
    sent: Instant,
    reader: Reader,
    _slot: OwnedSemaphorePermit,
}

impl Sink {
    /// Hands over a piece as soon as the reader has room for it.
    pub(super) async fn send(&mut self, piece: impl Into<Bytes>) -> Result<(), Over> {
        self.reader.may_go_on()?;
        let sending = tokio::time::timeout(SLOW_READER_AFTER, self.pieces.send(Ok(piece.into())));
        tokio::select! {
            biased;
            sent = sending => match sent {
                Ok(Ok(())) => {
                    self.sent = Instant::now();
                    Ok(())
                }
                _ => Err(Over::Unread),
            },
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(Over::Stopping),
        }
    }

    /// Waits for that, or until there is nobody to wait for.
    pub(super) async fn wait<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Over> {
        let mut what = pin!(what);
        loop {
            self.reader.may_go_on()?;
            tokio::select! {
                biased;
                () = self.pieces.closed() => return Err(Over::Unread),
                _ = self.stopping.wait_for(|stopping| *stopping) => return Err(Over::Stopping),
                changed = self.reader.changes.changed() => changed.map_err(|_| Over::Stopping)?,
                come = &mut what => return Ok(come),
            }
        }
    }

    /// Waits a little, with a heartbeat (a comment of Server-Sent Events) when it
    /// is time for one.
    pub(super) async fn pause(&mut self, pause: Duration) -> Result<(), Over> {
        if self.sent.elapsed() >= HEARTBEAT_EVERY {
            self.send(": heartbeat\n\n").await?;
        }
        self.wait(tokio::time::sleep(pause)).await
    }

    /// Breaks the answer off, so that the reader knows that it is not whole.
    pub(super) async fn break_off(&mut self, why: &'static str) {
        let broken = self.pieces.send(Err(io::Error::other(why)));
        // A reader that is not there need not know.
        let _ = tokio::time::timeout(SLOW_READER_AFTER, broken).await;
    }
}

/// An answer of that type whose body `make` makes.
///
/// # Errors
/// There are as many streams already as there may be.
pub(super) fn streamed<Fut>(
    call: &Call,
    content_type: &'static str,
    make: impl FnOnce(Sink) -> Fut + 'static,
) -> Result<HttpResponse, Problem>
where
    Fut: Future<Output = ()> + 'static,
{
    let (pieces, reader) = mpsc::channel(PIECES_WAITING);
    let sink = Sink {
        pieces,
        stopping: call.stop_signal(),
        sent: Instant::now(),
        reader: Reader::of(call),
        _slot: call.stream_slot()?,
    };
    actix_web::rt::spawn(make(sink));
    let body = futures_util::stream::unfold(reader, async |mut reader| {
        reader.recv().await.map(|piece| (piece, reader))
    });
    let mut answer = HttpResponse::Ok().body(BodyStream::new(Box::pin(body)));
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(answer)
}
