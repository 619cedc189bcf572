//! Streamed answers: made at the speed of the reader, in bounded memory, bounded in
//! number. They end when the server stops, or when the reader loses access.

use std::{
    hash::Hash,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BodyStream, BoxBody, MessageBody},
    http::header::{CONTENT_TYPE, HeaderValue},
    web::Bytes,
};
use deia_hive::Hive;
use deia_model::{Principal, Timestamp};
use futures_util::Stream;
use tokio::sync::{mpsc, watch};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::quotas::{CALLERS, HashedQuotas, QuotaShare},
    server::tls::ClientCert,
};

/// Pieces that may wait for a reader. Fixed: one is sent while the next one is made.
const PIECES_WAITING: usize = 2;

/// No caller has more than this fraction of the slots, but at least one. Fixed: four
/// callers must share the slots before they are used up, however many there are.
const PART: usize = 4;

/// The slots of streams.
pub(crate) struct StreamSlots {
    all: Arc<HashedQuotas>,
    own: Arc<HashedQuotas>,
    times: StreamTimes,
}

/// Times of streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamTimes {
    /// Interval of heartbeats in a stream without events (`server.stream_heartbeat`).
    pub(crate) heartbeat: Duration,
    /// Time after which a reader that takes nothing is disconnected
    /// (`server.slow_reader_timeout`).
    pub(crate) slow_reader: Duration,
}

/// A slot, until this is dropped.
pub(crate) struct StreamSlot {
    times: StreamTimes,
    _all: QuotaShare,
    _own: QuotaShare,
}

impl StreamSlots {
    pub(crate) fn new(max: usize, times: StreamTimes) -> Self {
        Self {
            times,
            all: HashedQuotas::new(1, max),
            own: HashedQuotas::new(CALLERS, max.div_ceil(PART)),
        }
    }

    /// Returns a slot for one more stream of that caller.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when the caller has its share of the slots, or all are taken.
    pub(crate) fn slot(&self, who: &impl Hash) -> Result<StreamSlot, Problem> {
        let full = |whose: &str| {
            let detail = format!("{whose} all the streams that are allowed (server.max_streams)");
            Problem::new(Code::Overloaded, detail)
        };
        let (mut all, mut own) = (self.all.of(&()), self.own.of(who));
        if !own.try_grow_to(1) {
            return Err(full("one caller has"));
        }
        if !all.try_grow_to(1) {
            return Err(full("there are"));
        }
        Ok(StreamSlot {
            times: self.times,
            _all: all,
            _own: own,
        })
    }
}

/// The reason why a stream ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The reader left.
    Unread,
    /// The reader takes nothing, or not fast enough.
    Slow,
    /// The server stops.
    Stopping,
    /// The reader would not be let in any more.
    Refused,
}

/// The reader of a stream, and the access that it has.
pub(crate) struct Reader {
    hive: Hive,
    who: Principal,
    from: Option<IpAddr>,
    changes: watch::Receiver<()>,
    /// The client certificate, if the reader was authenticated by it.
    certificate: Option<ClientCert>,
}

impl Reader {
    pub(crate) fn new(
        hive: &Hive,
        who: &Principal,
        from: Option<IpAddr>,
        certificate: Option<ClientCert>,
    ) -> Self {
        Self {
            hive: hive.clone(),
            who: who.clone(),
            from,
            changes: hive.access().changes(),
            certificate,
        }
    }

    /// Resolves when access may have ended: keys, users or sessions have changed, or a
    /// time limit has passed.
    ///
    /// # Errors
    /// [`Over::Stopping`] when there is no hive any more.
    async fn doubt(&mut self) -> Result<(), Over> {
        let until = self.hive.access().let_in_until(&self.who);
        tokio::select! {
            () = certificate_over(&mut self.certificate) => Ok(()),
            () = reached(until) => Ok(()),
            changed = self.changes.changed() => changed.map_err(|_| Over::Stopping),
        }
    }

    /// Resolves when access has ended.
    async fn lost(&mut self) -> Over {
        loop {
            if let Err(over) = self.may_go_on() {
                return over;
            }
            if let Err(over) = self.doubt().await {
                return over;
            }
        }
    }

    /// Checks that the reader still has the access it was let in with. Changed access, in
    /// any way, ends the stream.
    fn may_go_on(&self) -> Result<(), Over> {
        if self
            .certificate
            .as_ref()
            .is_some_and(|certificate| !certificate.stands())
        {
            return Err(Over::Refused);
        }
        match self.hive.access().still(&self.who, self.from) {
            Ok(now) if now == self.who => Ok(()),
            _ => Err(Over::Refused),
        }
    }
}

/// Resolves at that time by the clock; never when there is none.
async fn reached(time: Option<Timestamp>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    let left = time.millis_since(Timestamp::now());
    // The clock of the machine and that of the timer need not agree to the millisecond:
    // another round waits for the rest.
    tokio::time::sleep(Duration::from_millis(left.max(1))).await;
}

/// Resolves when the certificate is no longer valid; never when there is none.
async fn certificate_over(certificate: &mut Option<ClientCert>) {
    match certificate {
        Some(certificate) => certificate.over().await,
        None => std::future::pending().await,
    }
}

/// A slot for a stream, with all else that the stream needs.
pub(crate) struct StreamPlace {
    pub(crate) slot: StreamSlot,
    pub(crate) reader: Reader,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// The last piece of a stream, which needs no capacity.
type LastPiece = Arc<Mutex<Option<Bytes>>>;

/// The writing end of a stream.
pub(crate) struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    last: LastPiece,
    stopping: watch::Receiver<bool>,
    sent: Instant,
    reader: Reader,
    slot: StreamSlot,
}

impl Sink {
    /// Sends a piece as soon as the reader has capacity for it.
    pub(crate) async fn send(&mut self, piece: impl Into<Bytes>) -> Result<(), Over> {
        self.send_within(piece, self.slot.times.slow_reader).await
    }

    /// Sends a piece like [`send`](Self::send), to a reader that takes earlier ones in that
    /// time. A piece that the reader has no capacity for is not sent at all.
    pub(crate) async fn send_within(
        &mut self,
        piece: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<(), Over> {
        self.reader.may_go_on()?;
        let sending = tokio::time::timeout(limit, self.pieces.send(Ok(piece.into())));
        tokio::select! {
            biased;
            sent = sending => match sent {
                Ok(Ok(())) => {
                    self.sent = Instant::now();
                    Ok(())
                }
                Ok(Err(_)) => Err(Over::Unread),
                Err(_) => Err(Over::Slow),
            },
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(Over::Stopping),
            over = self.reader.lost() => Err(over),
        }
    }

    /// Waits for `what`, or until the stream is over.
    pub(crate) async fn wait<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            () = self.pieces.closed() => Err(Over::Unread),
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(Over::Stopping),
            over = self.reader.lost() => Err(over),
            come = what => Ok(come),
        }
    }

    /// Waits, and sends a heartbeat (a comment of Server-Sent Events) when one is due.
    pub(crate) async fn pause(&mut self, pause: Duration) -> Result<(), Over> {
        if self.sent.elapsed() >= self.slot.times.heartbeat {
            self.send(": heartbeat\n\n").await?;
        }
        self.wait(tokio::time::sleep(pause)).await
    }

    /// Ends the answer with these bytes, behind all pieces that the reader has yet to take.
    pub(crate) fn end_with(self, piece: impl Into<Bytes>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(piece.into());
    }

    /// Ends the answer: in order if it is complete, and otherwise so that the reader knows that
    /// it is not.
    pub(crate) async fn close(&mut self, ended: Result<(), Over>) {
        match ended {
            Err(Over::Stopping) => self.break_off("the server stops").await,
            Err(Over::Refused) => self.break_off("the key is not accepted any more").await,
            Err(Over::Slow) => self.break_off("the reader is too slow").await,
            Ok(()) | Err(Over::Unread) => {}
        }
    }

    /// Aborts the answer, so that the reader knows that it is incomplete.
    pub(crate) async fn break_off(&mut self, why: &'static str) {
        let broken = self.pieces.send(Err(io::Error::other(why)));
        // A reader that left needs no error.
        let _ = tokio::time::timeout(self.slot.times.slow_reader, broken).await;
    }
}

impl StreamPlace {
    /// Returns an answer of that type whose body `make` writes.
    pub(crate) fn streamed<Fut>(
        self,
        content_type: &'static str,
        make: impl FnOnce(Sink) -> Fut + 'static,
    ) -> HttpResponse
    where
        Fut: Future<Output = ()> + 'static,
    {
        let (pieces, made) = mpsc::channel(PIECES_WAITING);
        let last = LastPiece::default();
        let sink = Sink {
            pieces,
            last: Arc::clone(&last),
            stopping: self.stopping,
            sent: Instant::now(),
            reader: self.reader,
            slot: self.slot,
        };
        actix_web::rt::spawn(make(sink));
        let body = futures_util::stream::unfold((made, last), async |(mut made, last)| {
            let piece = match made.recv().await {
                Some(piece) => piece,
                None => Ok(last.lock().unwrap_or_else(PoisonError::into_inner).take()?),
            };
            Some((piece, (made, last)))
        });
        with_body(content_type, body)
    }
}

/// Returns the answer to a HEAD request where GET streams. A body that goes on would keep the
/// connection from its next request, though none of it is sent.
pub(crate) fn headers_only(content_type: &'static str) -> HttpResponse {
    let nothing = futures_util::stream::empty::<io::Result<Bytes>>();
    with_body(content_type, nothing)
}

/// Gives the body of an answer its length. A body that turns out shorter breaks the connection
/// off.
pub(crate) fn with_length(answer: HttpResponse, length: u64) -> HttpResponse {
    answer.map_body(|_, body| BoxBody::new(WithLength { body, length }))
}

/// A body of known length.
struct WithLength {
    body: BoxBody,
    length: u64,
}

impl MessageBody for WithLength {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

fn with_body(
    content_type: &'static str,
    body: impl Stream<Item = io::Result<Bytes>> + 'static,
) -> HttpResponse {
    let mut answer = HttpResponse::Ok().body(BodyStream::new(Box::pin(body)));
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
