//! What comes from the network before it is HTTP: every connection is read
//! through a `Stream` that follows the messages, lets pass what RFC 9112 allows
//! and deia wants, and cuts off who is too slow. What it lets pass means the same
//! to every parser: there is one reading of where a message ends.
//!
//! A request that is refused is replaced by one that nobody can send
//! (`REFUSED_METHOD`), so that the answers before it keep their order and the
//! refusal is told like every other problem; nothing after it is read.

mod chunks;
mod guard;
mod head;
mod line;
mod pace;
mod stream;

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    task::Waker,
};

use actix_web::HttpRequest;
use deia_model::BotName;
pub use guard::{Guard, Passed, Rest};
pub use head::{Framing, Head};
pub(super) use stream::{Stream, Timeouts, Transport};

use super::{catalogue::Code, drain::OpenConnection, shares::Share, tls::Shown};

/// Longer than the method of any request that is let pass.
const REFUSED_METHOD: &str = "REFUSED-BY-THE-GUARD-OF-THE-STREAM";

/// Why a request is not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of problem it is.
    pub code: Code,
    /// A sentence without its full stop.
    pub detail: &'static str,
}

impl Refusal {
    const fn malformed(detail: &'static str) -> Self {
        let code = Code::MalformedRequest;
        Self { code, detail }
    }
}

impl Connection {
    /// Why nothing more is read from the connection that a request came on.
    pub(super) fn refusal(request: &HttpRequest) -> Option<Refusal> {
        let connection = request.conn_data::<Rc<Connection>>()?;
        connection.refusal.get().copied()
    }

    /// Whether a request came under TLS.
    pub(super) fn is_secure(request: &HttpRequest) -> bool {
        let connection = request.conn_data::<Rc<Self>>();
        connection.is_some_and(|connection| connection.secure)
    }

    /// The certificate which came with the connection of a request.
    pub(super) fn shown(request: &HttpRequest) -> Option<Shown> {
        request.conn_data::<Rc<Self>>()?.shown.clone()
    }

    /// The bot that it stands for now.
    pub(super) fn bot(request: &HttpRequest) -> Option<BotName> {
        let shown = request.conn_data::<Rc<Self>>()?.shown.as_ref()?;
        shown.bot.clone().filter(|_| shown.stands())
    }

    /// Returns what is missing when neither the request nor its connection proves who asks.
    pub(super) fn missing(request: &HttpRequest) -> &'static str {
        let connection = request.conn_data::<Rc<Self>>();
        match connection.and_then(|connection| connection.shown.as_ref()) {
            None => "the request has no Authorization header",
            Some(shown) if shown.bot.is_none() => {
                "the client certificate stands for no bot (server.tls.client_bots), and the request has no Authorization header"
            }
            Some(_) => {
                "the client certificate has expired or its authority is no longer trusted, and the request has no Authorization header"
            }
        }
    }

    /// The connection ends with the answer to this request.
    pub(super) fn close(request: &HttpRequest) {
        if let Some(connection) = request.conn_data::<Rc<Self>>() {
            connection.closing.set(true);
        }
    }

    /// A request has its answer: the next one may be read.
    pub(super) fn answered(request: &HttpRequest) {
        if let Some(connection) = request.conn_data::<Rc<Self>>() {
            connection.answered.set(connection.answered.get() + 1);
            if let Some(reader) = connection.reader.take() {
                reader.wake();
            }
        }
    }

    fn tell_when_answered(&self, reader: &Waker) {
        self.reader.replace(Some(reader.clone()));
    }

    /// Tells the client of a request, if it waits for that, to send the body.
    pub(super) fn invite(request: &HttpRequest) {
        if let Some(connection) = request.conn_data::<Rc<Self>>()
            && connection.expects.take()
        {
            connection.invited.set(true);
        }
    }

    /// Why the guard put this request in the place of another.
    pub(super) fn stands_for(request: &HttpRequest) -> Option<Refusal> {
        let stands = request.method().as_str() == REFUSED_METHOD;
        stands.then(|| Self::refusal(request)).flatten()
    }
}

/// What handlers know of the connection that a request came on.
#[derive(Default)]
pub(super) struct Connection {
    /// Why nothing more is read from it.
    pub(super) refusal: OnceCell<Refusal>,
    /// Requests that were read from it.
    pub(super) requests: Cell<u64>,
    /// Requests that were answered, at least in their head.
    pub(super) answered: Cell<u64>,
    /// Who waits for that.
    pub(super) reader: RefCell<Option<Waker>>,
    /// The client of the request in hand waits for `100 Continue`.
    pub(super) expects: Cell<bool>,
    /// It is to get that.
    pub(super) invited: Cell<bool>,
    /// Whether it is under TLS.
    pub(super) secure: bool,
    /// The certificate of the client that stands for a bot.
    pub(super) shown: Option<Shown>,
    /// It is closed after the answer in hand.
    pub(super) closing: Cell<bool>,
    /// Its place among those of its address.
    #[allow(dead_code, reason = "held for its drop")]
    pub(super) share: Option<Share>,
    /// Counts it among those that are open.
    #[allow(dead_code, reason = "held for its drop")]
    pub(super) open: Option<OpenConnection>,
}
