//! Answers that are made while they are read: as fast as the reader, in bounded
//! memory, bounded in number, and over when the server stops or when who reads
//! would not be let in any more.

use std::{
    hash::Hash,
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    body::BodyStream,
    http::header::{CONTENT_TYPE, HeaderValue},
    web::Bytes,
};
use deia_hive::Hive;
use deia_model::{Principal, Timestamp};
use tokio::sync::{mpsc, watch};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::quotas::{CALLERS, HashedQuotas, QuotaShare},
    server::tls::ClientCert,
};

/// How often a stream of events gives a sign of life when there is no event.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is cut off.
const SLOW_READER_AFTER: Duration = Duration::from_secs(60);
/// Pieces that may wait for the reader.
const PIECES_WAITING: usize = 2;

/// No caller has more than this part of the places, but at least one.
const PART: usize = 4;

/// The places of streams.
pub(crate) struct StreamSlots {
    all: Arc<HashedQuotas>,
    own: Arc<HashedQuotas>,
}

/// One of them, as long as this lives.
pub(crate) struct StreamSlot {
    _all: QuotaShare,
    _own: QuotaShare,
}

impl StreamSlots {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            all: HashedQuotas::new(1, max),
            own: HashedQuotas::new(CALLERS, max.div_ceil(PART)),
        }
    }

    /// A place for one more stream of that caller.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when it has its share already, or nobody finds one.
    pub(crate) fn place(&self, who: &impl Hash) -> Result<StreamSlot, Problem> {
        let full = |whose: &str| {
            let detail = format!("{whose} as many streams as there may be (server.max_streams)");
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
            _all: all,
            _own: own,
        })
    }
}

/// Why an answer is made no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nobody reads it, or too slowly.
    Unread,
    /// The server stops.
    Stopping,
    /// Who reads it would not be let in any more.
    Refused,
}

/// Who reads, and by what right.
pub(crate) struct Reader {
    hive: Hive,
    who: Principal,
    from: Option<IpAddr>,
    changes: watch::Receiver<()>,
    /// The certificate that they came with, if that is what they came with.
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

    /// Resolves when they may have the right no longer: keys, users or sessions have
    /// changed, or it ends by the clock.
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

    /// Resolves when they have the right no longer.
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

    /// Whether they have the right still. One that has changed in any way is not
    /// the one they were let in with.
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

/// Resolves at that time by the clock; never without one.
async fn reached(time: Option<Timestamp>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    let left = time.millis_since(Timestamp::now());
    // The clock of the machine and that of the timer need not agree to the
    // millisecond: the rest is waited for in another round.
    tokio::time::sleep(Duration::from_millis(left.max(1))).await;
}

/// Resolves when the certificate does not stand any more; never without one.
async fn certificate_over(certificate: &mut Option<ClientCert>) {
    match certificate {
        Some(certificate) => certificate.over().await,
        None => std::future::pending().await,
    }
}

/// Where the pieces of an answer go.
pub(crate) struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    stopping: watch::Receiver<bool>,
    sent: Instant,
    reader: Reader,
    _place: StreamSlot,
}

impl Sink {
    /// Hands over a piece as soon as the reader has room for it.
    pub(crate) async fn send(&mut self, piece: impl Into<Bytes>) -> Result<(), Over> {
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
            over = self.reader.lost() => Err(over),
        }
    }

    /// Waits for that, or until there is nobody to wait for.
    pub(crate) async fn wait<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            () = self.pieces.closed() => Err(Over::Unread),
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(Over::Stopping),
            over = self.reader.lost() => Err(over),
            come = what => Ok(come),
        }
    }

    /// Waits a little, with a heartbeat (a comment of Server-Sent Events) when it
    /// is time for one.
    pub(crate) async fn pause(&mut self, pause: Duration) -> Result<(), Over> {
        if self.sent.elapsed() >= HEARTBEAT_EVERY {
            self.send(": heartbeat\n\n").await?;
        }
        self.wait(tokio::time::sleep(pause)).await
    }

    /// Breaks the answer off, so that the reader knows that it is not whole.
    pub(crate) async fn break_off(&mut self, why: &'static str) {
        let broken = self.pieces.send(Err(io::Error::other(why)));
        // A reader that is not there need not know.
        let _ = tokio::time::timeout(SLOW_READER_AFTER, broken).await;
    }
}

/// An answer of that type whose body `make` makes.
pub(crate) fn streamed<Fut>(
    content_type: &'static str,
    reader: Reader,
    place: StreamSlot,
    stopping: watch::Receiver<bool>,
    make: impl FnOnce(Sink) -> Fut + 'static,
) -> HttpResponse
where
    Fut: Future<Output = ()> + 'static,
{
    let (pieces, made) = mpsc::channel(PIECES_WAITING);
    let sink = Sink {
        pieces,
        stopping,
        sent: Instant::now(),
        reader,
        _place: place,
    };
    actix_web::rt::spawn(make(sink));
    let body = futures_util::stream::unfold(made, async |mut made| {
        made.recv().await.map(|piece| (piece, made))
    });
    let mut answer = HttpResponse::Ok().body(BodyStream::new(Box::pin(body)));
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
