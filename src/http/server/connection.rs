//! The connection that a request came on: its refusal by the framer, its TLS, and the
//! certificate of its client.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_rt::net::TcpStream;
use actix_web::HttpRequest;
use deia_framer::{FramingError, REFUSED_METHOD};
use deia_model::BotName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::http::{
    guard::quotas::QuotaShare,
    server::{drain::OpenConnection, tls::ClientCert},
};

/// A connection behind the framer.
pub(crate) type Stream = deia_framer::Stream<Transport, Peer>;
type Connection = Rc<deia_framer::Connection<Peer>>;

/// Facts about the other side of a connection.
pub(crate) struct Peer {
    /// The certificate of the client that stands for a bot.
    pub(crate) certificate: Option<ClientCert>,
    /// True if it is under TLS.
    pub(crate) secure: bool,
    /// The share among the connections of its address.
    #[allow(dead_code, reason = "held for its drop")]
    pub(crate) share: QuotaShare,
    /// The count among open connections.
    #[allow(dead_code, reason = "held for its drop")]
    pub(crate) open: OpenConnection,
}

/// The connection, plain or under TLS.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the same with either transport.
macro_rules! either {
    ($transport:expr, $io:ident => $done:expr) => {
        match $transport.get_mut() {
            Transport::Plain($io) => $done,
            Transport::Tls($io) => $done,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

fn of(request: &HttpRequest) -> Option<&Connection> {
    request.conn_data::<Connection>()
}

/// Returns why nothing more is read from the connection that a request came on.
pub(crate) fn refusal(request: &HttpRequest) -> Option<FramingError> {
    of(request)?.refusal()
}

/// Returns why the framer put this request in the place of another.
pub(crate) fn stands_for(request: &HttpRequest) -> Option<FramingError> {
    let stands = request.method().as_str() == REFUSED_METHOD;
    stands.then(|| refusal(request)).flatten()
}

/// Returns whether a request came under TLS.
pub(crate) fn is_secure(request: &HttpRequest) -> bool {
    of(request).is_some_and(|connection| connection.note.secure)
}

/// Returns the certificate which came with the connection of a request.
pub(crate) fn certificate(request: &HttpRequest) -> Option<ClientCert> {
    of(request)?.note.certificate.clone()
}

/// Returns the bot that the connection of a request stands for now.
pub(crate) fn bot(request: &HttpRequest) -> Option<BotName> {
    let certificate = of(request)?.note.certificate.as_ref()?;
    certificate.bot.clone().filter(|_| certificate.stands())
}

/// Returns the detail of a request that neither headers nor certificate authenticate.
pub(crate) fn missing(request: &HttpRequest) -> &'static str {
    match of(request).and_then(|connection| connection.note.certificate.as_ref()) {
        None => "the request has no Authorization header",
        Some(certificate) if certificate.bot.is_none() => {
            "the client certificate belongs to no bot (server.tls.client_bots), and the request \
             has no Authorization header"
        }
        Some(_) => {
            "the client certificate has expired or its authority is no longer trusted, and the request has no Authorization header"
        }
    }
}

/// Ends the connection with the answer to this request.
pub(crate) fn close(request: &HttpRequest) {
    if let Some(connection) = of(request) {
        connection.close();
    }
}

/// Notes that a request has its answer: the next one may be read.
pub(crate) fn answered(request: &HttpRequest) {
    if let Some(connection) = of(request) {
        connection.answered();
    }
}

/// Tells the client of a request, if it waits for that, to send the body.
pub(crate) fn invite(request: &HttpRequest) {
    if let Some(connection) = of(request) {
        connection.invite();
    }
}

/// Returns the address that a request comes from.
pub(crate) fn address(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip())
}
